"""Back-propagates each loss to the network's output, where all losses meet.

With y the output and L_i the losses, `g_i = dL_i/dy` needs no pass through the network. Combined with factors f_i,
`y.backward(sum_i f_i g_i)` then goes through the network once and gives the same parameter gradients as
`(sum_i f_i L_i).backward()`.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import cast

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


class OutputGradients:
    """Gradients of each loss on the output, at one step.

    Args:
        output: Network output y (B, C, H, W), attached to the network's graph. Of half precision, the losses see a
            float32 copy, so that gradients add up in float32.
        loss_scale: Scalar that everything is multiplied by on its way back, against underflow in float16: the
            gradients held here and those on the parameters carry it, `norms` do not.
    """

    def __init__(self, output: Tensor, loss_scale: Tensor | None = None):
        self.output = output
        self.loss_scale = loss_scale
        self.values: dict[str, Tensor] = {}
        self.gradients: dict[str, Tensor] = {}

    @cached_property
    def leaf(self) -> Tensor:
        """A copy of the output that losses are evaluated on, apart from the network's graph."""
        output = self.output.detach()
        return (output.float() if output.dtype in HALF else output).requires_grad_()

    def add(self, compute: Callable[[Tensor], Mapping[str, Tensor]]) -> None:
        """Evaluate losses that share a sub-graph, and back-propagate each of them to the output.

        The shared graph (one VGG pass for content and style) is kept until the last of them is done, then freed
        before the next group is evaluated.

        Args:
            compute: Takes a leaf copy of the output and returns scalar losses by name.

        Raises:
            ValueError: A loss does not depend on the output.
        """
        losses = compute(self.leaf)
        for position, (name, loss) in enumerate(losses.items(), start=1):
            if not loss.requires_grad:
                raise _independent(name)
            scale = self.loss_scale
            if scale is not None:  # in float32: the scale alone, 2^16 at first, is infinite in float16
                loss, scale = loss.float(), scale.float()
            (gradient,) = torch.autograd.grad(loss, self.leaf, scale, retain_graph=position < len(losses))
            self.values[name] = loss.detach()
            self.gradients[name] = gradient

    def take(self, losses: Mapping[str, Tensor]) -> None:
        """Back-propagate losses to the output that they were evaluated on.

        Their graphs stay until nobody holds the losses any more, for any two of them may share a pass.

        Args:
            losses: Scalars by name, computed from the output itself.

        Raises:
            ValueError: A loss does not depend on the output.
        """
        for name, loss in losses.items():
            if not loss.requires_grad:
                raise _independent(name)
            scale = self.loss_scale
            if scale is not None:
                loss, scale = loss.float(), scale.float()
            gradients = torch.autograd.grad(loss, self.output, scale, retain_graph=True, allow_unused=True)
            gradient = cast("Tensor | None", gradients[0])
            if gradient is None:
                raise _independent(name)
            self.values[name] = loss.detach()
            self.gradients[name] = gradient.float() if gradient.dtype in HALF else gradient

    def norms(self) -> dict[str, Tensor]:
        """n_i = mean over samples of the L2 norm of g_i, in float32 at least; a scalar each, on the device."""
        norms = {name: sample_norms(gradient).mean() for name, gradient in self.gradients.items()}
        return norms if self.loss_scale is None else {name: norm / self.loss_scale for name, norm in norms.items()}

    def backward(
        self, factors: Mapping[str, float], others: Tensor | None = None, *, poison: Tensor | None = None
    ) -> None:
        """Back-propagate `sum_i f_i g_i` from the output through the network; zeros where no loss is active.

        Args:
            factors: By loss.
            others: A scalar that is back-propagated in the same pass, as it is.
            poison: A scalar that is 0, or NaN where the gradients are to be NaN, so that a scaler leaves the step out.
        """
        terms = [(factors[name], gradient) for name, gradient in self.gradients.items()]
        combined = weighted_sum(terms) if terms else torch.zeros_like(self.output)
        if poison is not None:
            combined = combined * (1 + poison.to(combined.dtype))
        combined = combined.to(self.output.dtype)
        if others is None:
            torch.autograd.backward(self.output, combined)
        else:
            scale = torch.ones_like(others) if self.loss_scale is None else self.loss_scale.to(others.dtype)
            torch.autograd.backward([self.output, others], [combined, scale])


def sample_norms(gradient: Tensor) -> Tensor:
    """L2 norm of each sample (B,), in float32 at least."""
    dtype = torch.promote_types(gradient.dtype, torch.float32)
    vector_norm = cast("Callable[..., Tensor]", torch.linalg.vector_norm)  # pyright: ignore[reportUnknownMemberType]
    return vector_norm(gradient.reshape(gradient.shape[0], -1), dim=1, dtype=dtype)


def _independent(name: str) -> ValueError:
    return ValueError(f"{name} does not depend on the network's output: nothing to train")


def weighted_sum(terms: Iterable[tuple[float, Tensor]]) -> Tensor:
    """`sum_i f_i g_i`; a factor of exactly 1 costs nothing."""
    total: Tensor | None = None
    for factor, gradient in terms:
        if total is None:
            total = gradient if factor == 1 else gradient * factor
        else:
            total = torch.add(total, gradient, alpha=factor)
    assert total is not None, "at least one loss"
    return total
