"""Registers our parts in the host's registries."""

from collections.abc import Callable
from typing import Any, TypeVar

Part = TypeVar("Part", bound=Callable[..., Any])


def register(registry: Any) -> Callable[[Part], Part]:
    """Decorator: register a class or function under its name; a name that is taken stays with who has it.

    Args:
        registry: One of `basicsr.utils.registry`.
    """

    def decorate(part: Part) -> Part:
        if part.__name__ not in registry:
            registry.register(part)
        return part

    return decorate
