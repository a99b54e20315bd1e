"""The networks in redux's registry: `paragonsr2_<size>` and `paragonsr2_<tier>`."""

from collections.abc import Callable
from typing import Any

from torch import nn

from ...nets.paragonsr2 import SIZES, build_paragonsr2
from ...nets.released import TIERS, build_released
from ...resilience.checkpoints import METADATA, network_metadata


def register_networks() -> None:
    """Register the networks; a name that the checkout or spandrel has already stays with it."""
    from traiNNer.utils.registry import (  # pyright: ignore[reportMissingImports]
        ARCH_REGISTRY,
        SPANDREL_REGISTRY,
        TESTARCH_REGISTRY,
    )

    for build in ENTRY_POINTS:
        if not any(build.__name__ in registry for registry in (SPANDREL_REGISTRY, ARCH_REGISTRY, TESTARCH_REGISTRY)):
            ARCH_REGISTRY.register(build)


def _entry_point(variant: str, builder: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    name = f"paragonsr2_{variant}"

    def build(**options: Any) -> nn.Module:
        net = builder(variant, **options)
        # redux saves a network's `hyperparameters` with its weights.
        net.__dict__["hyperparameters"] = {METADATA: network_metadata({"type": name, **options}, net).plain()}
        return net

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"ParagonSR2 {variant}: see `{builder.__module__}.{builder.__name__}` for its options and errors."
    return build


ENTRY_POINTS = [_entry_point(size, build_paragonsr2) for size in SIZES]
ENTRY_POINTS += [_entry_point(tier, build_released) for tier in TIERS]
"""What is registered, under its `__name__`."""
