"""Exchange between the ranks of a distributed run, apart from gradients. With one process it costs nothing."""

import datetime
import functools
import os
import subprocess
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist

from ..errors import OptionError

PATIENCE = datetime.timedelta(days=2)
"""How long ranks wait for rank 0, which validates alone."""


def is_first_rank(launcher: str) -> bool:
    """Whether this process is rank 0, before anything distributed has begun."""
    return launcher == "none" or os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"


def as_torchrun(port: int | None) -> None:
    """Give a process that srun started what torchrun would have given it.

    Args:
        port: Of rank 0; None for MASTER_PORT, or else 29500.

    Raises:
        KeyError: A variable that srun sets is missing.
    """
    given = os.environ
    ours = {"RANK": given["SLURM_PROCID"], "WORLD_SIZE": given["SLURM_NTASKS"], "LOCAL_RANK": given["SLURM_LOCALID"]}
    if "MASTER_ADDR" not in given:
        hosts = subprocess.run(
            ["scontrol", "show", "hostnames", given["SLURM_NODELIST"]], capture_output=True, text=True, check=True
        )
        ours["MASTER_ADDR"] = hosts.stdout.split()[0]
    ours["MASTER_PORT"] = str(port or given.get("MASTER_PORT", 29500))
    given.update(ours)


def distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


@functools.cache
def _cpu_group() -> Any:
    """A group for plain values: over NCCL they would need the GPU and wait for it."""
    return dist.group.WORLD if dist.get_backend() == "gloo" else dist.new_group(backend="gloo", timeout=PATIENCE)


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


def refuse_differences(here: Mapping[str, str]) -> None:
    """Ranks that were given different things do not begin to train. Every rank must call it.

    Args:
        here: What this rank was given, as text by option path.

    Raises:
        OptionError: Some rank has another text than rank 0 somewhere; the same error on all ranks.
    """
    given = of_all_ranks(dict(here))
    problem = from_first_rank(_difference(given) if given is not None else None)
    if problem is not None:
        raise OptionError(*problem)


def _difference(given: list[dict[str, str]]) -> tuple[str, str] | None:
    """Where ranks differ, and how, in words."""
    first = given[0]
    for rank, other in enumerate(given):
        for path in {**first, **other}:
            one, another = first.get(path, "nothing"), other.get(path, "nothing")
            if one != another:
                return path, f"rank {rank} has {another}, rank 0 has {one}: all ranks must read the same"
    return None
