"""Taps on a network's output: what each loss sends back to it is measured and weighted on its way.

A tap is the identity. It stands between the output y and one loss, and it sees that loss's gradient `g_i = dL_i/dy`
when somebody else back-propagates the sum of the losses. There are two forms:

- held: a tap measures `n_i` and passes `f_i g_i` on, with the factor that was decided on at the step before.
- gate: the taps of an output hand their `g_i` to a gate between them and the output. It runs after the last of them and
  before any of the network's own backward pass, decides, and passes `sum_i f_i g_i` on.

Taps copy the output. A view would break a loss that edits its input in place.

What holds what: a `TappedOutput` holds tensors of the graph and lives as long as the output; the graph holds an
`Arrivals`, which holds none. So a graph that nobody back-propagates dies with the output.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from .output_gradients import HALF, sample_norms, weighted_sum

Factors = Mapping[str, float]


class Receiver(Protocol):
    """Who decides on what the taps measure."""

    def factor(self, name: str) -> float:
        """Factor of a loss in force."""
        ...

    def loss_scale(self, device: torch.device) -> Tensor | None:
        """What gradients are multiplied by now, a scalar on a device; None for 1."""
        ...

    def receive(self, arrivals: "Arrivals", names: Iterable[str]) -> None:
        """Gradients of these losses have come from an output; called before they are measured."""
        ...

    def decide(self, came: frozenset[str]) -> Factors | None:
        """Factors for what came to the gate of an output in one pass; None to leave the step out."""
        ...


class Arrivals:
    """What the losses of one output have sent back.

    Args:
        receiver: Is told of it.
        gated: The taps hand their gradients to a gate.
        after: How many outputs had sent something when this one was tapped first.
    """

    def __init__(self, receiver: Receiver, *, gated: bool, after: int):
        self.receiver = receiver
        self.gated = gated
        self.after = after
        self.names: set[str] = set()
        """Losses that have a tap on this output."""
        self.values: dict[str, Tensor] = {}
        """L_i of each loss that was noted."""
        self.norms: dict[str, Tensor] = {}
        """n_i of each loss whose gradient has come, without the loss scale."""
        self.scale: Tensor | None = None
        """Loss scale of what has come."""
        self._waiting: dict[str, Tensor] = {}
        """What has come to the gate and was not passed on yet."""

    def arrive(self, name: str, gradient: Tensor) -> Tensor | None:
        """A loss's gradient has come to its tap; returns what goes on from there."""
        if not self.gated:
            self.receiver.receive(self, (name,))
            self._measure(name, gradient)
            factor = self.receiver.factor(name)
            return gradient if factor == 1 else gradient * factor
        wide = gradient.float() if gradient.dtype in HALF else gradient
        self._waiting[name] = wide
        return None

    def combine(self) -> Tensor | None:
        """The gate's turn: all gradients of this backward pass are there."""
        gradients, self._waiting = self._waiting, {}
        if not gradients:
            return None
        self.receiver.receive(self, gradients)
        for name, gradient in gradients.items():
            self._measure(name, gradient)
        factors = self.receiver.decide(frozenset(gradients))
        if factors is None:
            return torch.zeros_like(next(iter(gradients.values())))
        return weighted_sum((factors[name], gradient) for name, gradient in gradients.items())

    def _measure(self, name: str, gradient: Tensor) -> None:
        norm = sample_norms(gradient).mean()
        self.scale = self.receiver.loss_scale(gradient.device)
        self.norms[name] = norm if self.scale is None else norm / self.scale


class TappedOutput:
    """The taps of one output, as it is now.

    Args:
        output: y.
        arrivals: Takes what comes back to it.
    """

    def __init__(self, output: Tensor, arrivals: Arrivals):
        self.arrivals = arrivals
        self._version = output._version
        self._gate = _Gate.through(output, arrivals) if arrivals.gated else None
        self._taps: dict[str, Tensor] = {}

    def still(self, output: Tensor) -> bool:
        """Whether the output is what it was; edited in place it is another one."""
        return output._version == self._version

    def tap(self, name: str, output: Tensor) -> Tensor:
        """The output for one loss; the same tensor for the same name, so that its gradients add up."""
        if name not in self._taps:
            self.arrivals.names.add(name)
            self._taps[name] = _Tap.through(output if self._gate is None else self._gate, self.arrivals, name)
        return self._taps[name]


class _Tap(torch.autograd.Function):
    @staticmethod
    def through(output: Tensor, owner: Arrivals, name: str) -> Tensor:
        return cast(Tensor, _Tap.apply(output, owner, name))  # pyright: ignore[reportUnknownMemberType]

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        output, ctx.owner, ctx.name = arguments
        return output.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled():
            raise RuntimeError(
                f"the gradient of {ctx.name} is to be differentiated again (create_graph=True), and it runs through a "
                "tap of the loss balance: second gradients would be wrong. Do not tap this loss."
            )
        return ctx.owner.arrive(ctx.name, gradients[0]), None, None


class _Gate(torch.autograd.Function):
    @staticmethod
    def through(output: Tensor, owner: Arrivals) -> Tensor:
        return cast(Tensor, _Gate.apply(output, owner))  # pyright: ignore[reportUnknownMemberType]

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        output, ctx.owner = arguments
        ctx.set_materialize_grads(False)
        ctx.dtype = output.dtype
        return output.clone()

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        combined: Tensor | None = ctx.owner.combine()
        return None if combined is None else combined.to(ctx.dtype), None
