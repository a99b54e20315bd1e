"""Taps on the modules of redux's training step; see `scheduling.taps` for what a tap is."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...scheduling import LossBalance


def tap_criterion(balance: LossBalance, label: str, criterion: nn.Module) -> None:
    """Tap a criterion that is called with the network's output first, and note its value.

    A mapping as result counts as redux counts it: the sum of the entries that are above 0.
    """

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return (balance.tap(label, args[0]), *args[1:]), kwargs

    def after(_: nn.Module, __: Any, result: Any) -> None:
        if torch.is_grad_enabled():
            balance.note_value(label, total(result))

    criterion.register_forward_pre_hook(before, with_kwargs=True)
    criterion.register_forward_hook(after)


def tap_discriminator(balance: LossBalance, label: str, net_d: nn.Module, criterion: nn.Module) -> None:
    """Tap the adversarial loss where the discriminator takes the network's output, and note its value.

    Args:
        balance: Of the network's losses.
        label: Of the adversarial loss.
        net_d: The discriminator. In its own turn it gets images without a graph, which are not tapped.
        criterion: The adversarial loss, called with `is_disc=False` in the network's turn.
    """

    def before(_: nn.Module, args: tuple[Any, ...]) -> Any:
        return (balance.tap(label, args[0]), *args[1:]) if args[0].requires_grad else None

    def after(_: nn.Module, __: Any, kwargs: dict[str, Any], result: Any) -> None:
        if kwargs.get("is_disc") is False and torch.is_grad_enabled():
            balance.note_value(label, total(result))

    net_d.register_forward_pre_hook(before)
    criterion.register_forward_hook(after, with_kwargs=True)


def total(result: Tensor | Mapping[str, Tensor]) -> Tensor:
    """The value of a criterion's result, a scalar."""
    if isinstance(result, Mapping):
        return torch.stack([entry.detach().float().clamp(min=0) for entry in result.values()]).sum()
    return result.detach()
