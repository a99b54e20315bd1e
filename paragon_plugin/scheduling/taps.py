"""Taps on a network's output: what each loss sends back to it is measured and weighted on its way.

A tap is the identity. It stands between the output y and one loss, and it sees that loss's gradient `g_i = dL_i/dy`
when somebody else back-propagates the sum of the losses. There are two forms:

- held: a tap measures `n_i` and passes `f_i g_i` on, with the factor that was decided on at the step before.
- gate: the taps of an output hand their `g_i` to a gate between them and the output. It runs after the last of them and
  before any of the network's own backward pass, decides, and passes `sum_i f_i g_i` on.

Taps copy the output. A view would break a loss that edits its input in place.
"""

import weakref
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .output_gradients import HALF, sample_norms, weighted_sum

Factors = Mapping[str, float]


class Scale(Protocol):
    """Gives the factor that gradients carry now, a scalar on a device; None for 1."""

    def __call__(self, device: torch.device) -> Tensor | None: ...


class TappedOutput:
    """The taps of one output.

    Args:
        output: y.
        factor: Gives the factor in force by loss.
        scale: The loss scale that gradients carry.
        decide: Called by the gate with what its taps measured; returns factors by loss, or None to leave the step
            out. None here: no gate, the taps are held.
    """

    def __init__(
        self,
        output: Tensor,
        *,
        factor: Callable[[str], float],
        scale: Scale,
        decide: Callable[["TappedOutput"], Factors | None] | None,
    ):
        self.factor = factor
        self.scale = scale
        self.decide = decide
        self.alive = weakref.ref(output)
        """Gives the output while somebody holds it."""
        self.norms: dict[str, Tensor] = {}
        """n_i of each loss whose gradient has come, without the loss scale."""
        self.gradients: dict[str, Tensor] = {}
        """What has come to the gate and was not passed on yet."""
        self.taps: dict[str, Tensor] = {}
        self._below = output if decide is None else _Gate.through(output, self)

    def tap(self, name: str) -> Tensor:
        """The output for one loss; the same tensor for the same name, so that its gradients add up."""
        if name not in self.taps:
            self.taps[name] = _Tap.through(self._below, self, name)
        return self.taps[name]

    def release(self) -> None:
        """Let go of the output's graph."""
        self.taps.clear()
        self.gradients.clear()
        self._below = torch.empty(0)

    def arrive(self, name: str, gradient: Tensor) -> Tensor | None:
        """A loss's gradient has come to its tap; returns what goes on from there."""
        if self.decide is None:
            self._measure(name, gradient)
            factor = self.factor(name)
            return gradient if factor == 1 else gradient * factor
        wide = gradient.float() if gradient.dtype in HALF else gradient
        self.gradients[name] = self.gradients[name] + wide if name in self.gradients else wide
        return None

    def combine(self) -> Tensor | None:
        """The gate's turn: all gradients of this backward pass are there."""
        gradients = dict(self.gradients)
        self.gradients.clear()
        if not gradients:
            return None
        for name, gradient in gradients.items():
            self._measure(name, gradient)
        assert self.decide is not None
        factors = self.decide(self)
        if factors is None:
            return torch.zeros_like(next(iter(gradients.values())))
        return weighted_sum((factors[name], gradient) for name, gradient in gradients.items())

    def _measure(self, name: str, gradient: Tensor) -> None:
        norm = sample_norms(gradient).mean()
        scale = self.scale(gradient.device)
        self.norms[name] = norm if scale is None else norm / scale


class _Tap(torch.autograd.Function):
    @staticmethod
    def through(output: Tensor, owner: TappedOutput, name: str) -> Tensor:
        return cast(Tensor, _Tap.apply(output, owner, name))  # pyright: ignore[reportUnknownMemberType]

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        output, ctx.owner, ctx.name = arguments
        return output.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return ctx.owner.arrive(ctx.name, gradients[0]), None, None


class _Gate(torch.autograd.Function):
    @staticmethod
    def through(output: Tensor, owner: TappedOutput) -> Tensor:
        return cast(Tensor, _Gate.apply(output, owner))  # pyright: ignore[reportUnknownMemberType]

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        output, ctx.owner = arguments
        ctx.set_materialize_grads(False)
        ctx.dtype = output.dtype
        return output.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *_: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        combined: Tensor | None = ctx.owner.combine()
        return None if combined is None else combined.to(ctx.dtype), None
