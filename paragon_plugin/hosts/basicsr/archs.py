"""The networks that are registered: `paragonsr2_<size>` and `paragonsr2_<tier>` for each row of their tables."""

from collections.abc import Callable
from typing import Any

from torch import nn

from ...nets.paragonsr2 import SIZES, build_paragonsr2
from ...nets.released import TIERS, build_released


def _entry_point(variant: str, builder: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    def build(**options: Any) -> nn.Module:
        return builder(variant, **options)

    build.__name__ = build.__qualname__ = f"paragonsr2_{variant}"
    build.__doc__ = f"ParagonSR2 {variant}: see `{builder.__module__}.{builder.__name__}` for its options and errors."
    return build


ENTRY_POINTS = {size: _entry_point(size, build_paragonsr2) for size in SIZES} | {
    tier: _entry_point(tier, build_released) for tier in TIERS
}
"""By size or tier."""
