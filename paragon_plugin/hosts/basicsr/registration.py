"""Registers our networks, losses, data sets and models in the host's registries: the one place where that happens."""

from collections.abc import Callable, Iterable
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, MODEL_REGISTRY

from ... import losses
from . import data, models
from .archs import ENTRY_POINTS


def register_parts() -> None:
    """Register everything under its name. A name that exists already is not replaced."""
    _register(ARCH_REGISTRY, ENTRY_POINTS.values())
    _register(LOSS_REGISTRY, (getattr(losses, name) for name in losses.__all__))
    _register(DATASET_REGISTRY, (getattr(data, name) for name in data.__all__))
    _register(MODEL_REGISTRY, (getattr(models, name) for name in models.__all__))


def _register(registry: Any, parts: Iterable[Callable[..., Any]]) -> None:
    for part in parts:
        if part.__name__ not in registry:
            registry.register(part)
