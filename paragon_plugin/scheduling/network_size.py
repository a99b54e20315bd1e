"""How large a network is, for the preset that auto-calibration takes."""

from torch import nn

from .presets import PRESETS, nearest_size

_WRAPPERS: tuple[type[nn.Module], ...] = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def bare(net: nn.Module) -> nn.Module:
    """The network inside DataParallel, DistributedDataParallel and compiled wrappers, nested in any order."""
    while True:
        inner: nn.Module | None = getattr(net, "_orig_mod", None)
        if inner is None and isinstance(net, _WRAPPERS):
            inner = net.get_submodule("module")
        if inner is None:
            return net
        net = inner


def trainable_parameters(net: nn.Module) -> int:
    """Number of the parameters that require a gradient."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def detect_size(net: nn.Module) -> tuple[str, str]:
    """The ParagonSR2 size of a network, and how it was found, in words.

    One of the eight sizes says so itself (`registered_name`). Any other network has the nearest size by trainable
    parameters, see `presets.nearest_size`.
    """
    net = bare(net)
    name = str(getattr(net, "registered_name", type(net).__name__))
    size = name.removeprefix("paragonsr2_")
    if size in PRESETS and size != name:
        return size, f"network is {name}"
    count = trainable_parameters(net)
    size = nearest_size(count)
    return size, f"{name} has {count:,} trainable parameters, the nearest size is paragonsr2_{size}"
