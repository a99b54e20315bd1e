"""What the ranks of a distributed run tell each other beside gradients; with one process all of it costs nothing."""

import functools
from typing import Any

import torch
import torch.distributed as dist


def distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


@functools.cache
def _cpu_group() -> Any:
    """A group for plain values: over NCCL they would need the GPU and wait for it."""
    return dist.group.WORLD if dist.get_backend() == "gloo" else dist.new_group(backend="gloo")


def any_rank(value: bool) -> bool:
    """Whether it is true on some rank; the same answer on all. Every rank must ask."""
    if not distributed():
        return value
    flag = torch.tensor([int(value)])
    dist.all_reduce(flag, dist.ReduceOp.MAX, group=_cpu_group())
    return bool(flag.item())


def of_all_ranks(value: Any) -> list[Any] | None:
    """On rank 0 the value of each rank, elsewhere None. Every rank must call it."""
    if not distributed():
        return [value]
    values = [None] * dist.get_world_size() if dist.get_rank() == 0 else None
    dist.gather_object(value, values, dst=0, group=_cpu_group())
    return values


def from_first_rank(value: Any) -> Any:
    """Rank 0's value, on every rank. Every rank must call it."""
    if not distributed():
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0, group=_cpu_group())
    return values[0]
