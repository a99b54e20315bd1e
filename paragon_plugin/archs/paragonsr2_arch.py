"""Registers each row of the size table as `paragonsr2_<size>`."""

from collections.abc import Callable
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY

from ..hosts.basicsr.registration import register
from ..nets.paragonsr2 import SIZES, ParagonSR2, build_paragonsr2


def _entry_point(size: str) -> Callable[..., ParagonSR2]:
    def build(**options: Any) -> ParagonSR2:
        return build_paragonsr2(size, **options)

    build.__name__ = build.__qualname__ = f"paragonsr2_{size}"
    build.__doc__ = f"ParagonSR2 {size}: see `nets.paragonsr2.build_paragonsr2` for its options and errors."
    return build


ENTRY_POINTS = {size: _entry_point(size) for size in SIZES}
for _build in ENTRY_POINTS.values():
    register(ARCH_REGISTRY)(_build)
