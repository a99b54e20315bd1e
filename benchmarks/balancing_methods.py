"""Ways to weigh losses in a training loop: constant weights, our scheduler, and published methods.

Dynamic weight averaging (Liu et al., CVPR 2019), uncertainty weighting (Kendall et al., CVPR 2018), FAMO (Liu et al.,
NeurIPS 2023) and IMTL-G (Liu et al., ICLR 2021) are TorchJD's. The gradient-share balancer is EnCodec's (Défossez et
al., arXiv 2210.13438): each loss's gradient on the output, divided by its running norm, times its weight's part of all
weights. IMTL-G too sees the gradients on the output, where its authors see those on shared features.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from paragon_plugin.scheduling import LossBalance
from paragon_plugin.scheduling.output_gradients import OutputGradients, sample_norms

OURS: dict[str, dict[str, Any]] = {
    "fidelity": {"prefer": "fidelity"},
    "balanced": {"prefer": "balanced"},
    "perceptual": {"prefer": "perceptual"},
    "typical": {"share_tolerance": 1.0},
    "baseline": {"target": "baseline"},
}
"""Options of the scheduler beside `enabled` and `auto_calibrate`."""

PUBLISHED = ("dwa", "uncertainty", "famo", "imtl-g", "balancer")
METHODS = ("constant", *OURS, *PUBLISHED)

RATES: dict[str, tuple[float, ...]] = {
    "uncertainty": (2e-4, 2e-3, 2e-2, 2e-1),
    "famo": (2.5e-3, 2.5e-2, 2.5e-1, 2.5),
}
"""Learning rates of a method's own weights that are tried; the first of uncertainty weighting is the network's, the
second of FAMO its default."""

EPOCH = 50
"""Iterations between two steps of dynamic weight averaging, which counts in epochs."""


def gradient_sizes(losses: Mapping[str, Tensor], output: Tensor) -> dict[str, float]:
    """By loss: mean over the batch of the norm of its gradient on the output. The graph stays."""
    gradients = {name: torch.autograd.grad(loss, output, retain_graph=True)[0] for name, loss in losses.items()}
    return {name: float(sample_norms(gradient).mean()) for name, gradient in gradients.items()}


class Weigher:
    """Constant weights: `sum_i w_i L_i` is back-propagated. The other methods replace that."""

    incidents = 0
    """Corrections by our stability monitor."""

    def __init__(self, weights: Mapping[str, float]):
        self.weights = dict(weights)

    def weighted(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.weights[name] * loss for name, loss in losses.items()}

    def backward(self, losses: Mapping[str, Tensor], output: Tensor, /) -> None:  # noqa: ARG002
        """Back-propagate unweighted losses of a network's output."""
        torch.stack(list(self.weighted(losses).values())).sum().backward()

    def after_step(self, losses_again: Callable[[], Mapping[str, Tensor]]) -> None:
        """The optimizer has stepped; `losses_again` gives the losses of the same batch with the new weights."""


def weigher(
    method: str,
    weights: Mapping[str, float],
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    total: int,
    rate: float | None = None,
) -> Weigher:
    """The method of a name, ready for a run of so many iterations; `rate` is one of `RATES`."""
    if method in OURS:
        return _Scheduled(weights, OURS[method], network, total)
    own = {"constant": Weigher, "balancer": _Balancer, "imtl-g": _Impartial}
    return own[method](weights) if method in own else _Scalarized(method, weights, optimizer, rate)


class _Scheduled(Weigher):
    def __init__(self, weights: Mapping[str, float], options: dict[str, Any], network: nn.Module, total: int):
        super().__init__(weights)
        block = {"enabled": True, "auto_calibrate": True, **options}
        self.balance = LossBalance(weights, block, total_iter=total, network=network)

    def backward(self, losses: Mapping[str, Tensor], output: Tensor, /) -> None:
        self.balance.backward(losses, output)
        step = self.balance.last_step
        self.incidents += sum(decision.kind == "corrected" for decision in step.decisions) if step else 0


class _Scalarized(Weigher):
    """A method of TorchJD that turns the weighted losses into one."""

    def __init__(self, method: str, weights: Mapping[str, float], optimizer: torch.optim.Optimizer, rate: float | None):
        super().__init__(weights)
        from torchjd.scalarization import DWA, FAMO, UW

        self.method = method
        count, rate = len(weights), rate or RATES.get(method, (0.0,))[0]
        make = {"dwa": DWA, "uncertainty": lambda: UW(count), "famo": lambda: FAMO(count, lr=rate)}
        self.scalarizer: Any = make[method]()
        self.iteration = 0
        if method == "uncertainty":
            optimizer.add_param_group({"params": list(self.scalarizer.parameters()), "lr": rate})

    def _stacked(self, losses: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([value.float() for value in self.weighted(losses).values()])

    def backward(self, losses: Mapping[str, Tensor], _output: Tensor, /) -> None:
        self.scalarizer(self._stacked(losses)).backward()

    def after_step(self, losses_again: Callable[[], Mapping[str, Tensor]]) -> None:
        self.iteration += 1
        if self.method == "dwa" and self.iteration % EPOCH == 0:
            self.scalarizer.step()
        if self.method == "famo":
            with torch.no_grad():
                self.scalarizer.update(self._stacked(losses_again()))


class _Balancer(Weigher):
    """`G = sum_i (w_i / sum_j w_j) g_i / <n_i>` with <n_i> a bias-corrected running mean of coefficient 0.999."""

    def __init__(self, weights: Mapping[str, float]):
        super().__init__(weights)
        self.sums = dict.fromkeys(weights, 0.0)
        self.weight = 0.0

    def backward(self, losses: Mapping[str, Tensor], output: Tensor, /) -> None:
        gradients = OutputGradients(output)
        gradients.take(self.weighted(losses))
        self.weight = 0.999 * self.weight + 1
        total = sum(map(abs, self.weights.values()))
        factors = {}
        for name, norm in gradients.norms().items():
            self.sums[name] = 0.999 * self.sums[name] + float(norm)
            factors[name] = abs(self.weights[name]) / total / (self.sums[name] / self.weight + 1e-12)
        gradients.backward(factors)


class _Impartial(Weigher):
    """IMTL-G: factors with which the sum of the gradients has the same projection on the direction of each."""

    def __init__(self, weights: Mapping[str, float]):
        super().__init__(weights)
        from torchjd.aggregation import IMTLG

        self.aggregate: Any = IMTLG()

    def backward(self, losses: Mapping[str, Tensor], output: Tensor, /) -> None:
        gradients = [torch.autograd.grad(loss, output, retain_graph=True)[0] for loss in self.weighted(losses).values()]
        output.backward(self.aggregate(torch.stack([g.flatten() for g in gradients])).view_as(output))
