"""Which ParagonSR2 size a built network is, through the wrappers that training puts around it."""

import functools

import torch
from torch import nn

from ....nets.paragonsr2 import SIZES, ParagonSR2, build_paragonsr2
from ....nets.released import ReleasedParagonSR2
from ....scheduling.presets import nearest_size


def bare(net: nn.Module) -> nn.Module:
    """The network inside DataParallel, DistributedDataParallel and compiled wrappers, nested in any order."""
    while True:
        inner = getattr(net, "_orig_mod", None)
        if inner is None and isinstance(net, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = net.module
        if inner is None:
            return net
        net = inner


def trainable_parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


@functools.cache
def size_table() -> dict[str, int]:
    """Trainable parameters of each size at x2, counted without allocating them."""
    with torch.device("meta"):
        return {size: trainable_parameters(build_paragonsr2(size, scale=2)) for size in SIZES}


def detect_size(net: nn.Module) -> tuple[str, str]:
    """The ParagonSR2 size of a network, and how it was found, in words.

    Exact for the eight sizes; a released tier and any other architecture has the nearest size by trainable parameters,
    on a log scale.
    """
    net = bare(net)
    if isinstance(net, ParagonSR2):
        return net.variant, f"network is paragonsr2_{net.variant}"
    count = trainable_parameters(net)
    size = nearest_size(count, size_table())
    name = f"paragonsr2_{net.tier}" if isinstance(net, ReleasedParagonSR2) else type(net).__name__
    return size, f"{name} has {count:,} trainable parameters, the nearest size is paragonsr2_{size}"
