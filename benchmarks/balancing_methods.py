"""Ways to weigh losses, as they plug into a model of ours: constant weights, our scheduler, and published methods.

Dynamic weight averaging (Liu et al., CVPR 2019), uncertainty weighting (Kendall et al., CVPR 2018) and FAMO (Liu et
al., NeurIPS 2023) are TorchJD's. The gradient-share balancer is EnCodec's (Défossez et al., arXiv 2210.13438): each
loss's gradient on the output, divided by its running norm, times its weight's part of all weights.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from paragon_plugin.scheduling.output_gradients import OutputGradients

OURS: dict[str, dict[str, Any]] = {
    "constant": {"enabled": False},
    "auto": {"enabled": True, "auto_calibrate": True},
    "baseline": {"enabled": True, "auto_calibrate": True, "target": "baseline"},
    "weights": {"enabled": True, "auto_calibrate": True, "target": "weights"},
    "typical": {"enabled": True, "auto_calibrate": True, "share_tolerance": 1.0},
    "auto-4": {"enabled": True, "auto_calibrate": True, "share_tolerance": 4.0},
}
"""Methods that are an option block."""

PUBLISHED = ("dwa", "uncertainty", "famo", "balancer")
METHODS = (*OURS, *PUBLISHED)

EPOCH = 50
"""Iterations between two steps of dynamic weight averaging, which counts in epochs."""


def block_of(method: str) -> dict[str, Any]:
    """The option block to build a model with."""
    return OURS.get(method, {"enabled": False})


def plug_in(method: str, model: Any) -> Callable[[int], None]:
    """Let a published method weigh the model's losses; returns what to call after each iteration."""
    if method in OURS:
        return lambda _: None
    losses = model.losses
    if method == "balancer":
        losses._backward_sum = _Balancer(losses).backward
        return lambda _: None
    from torchjd.scalarization import DWA, FAMO, UW

    count = sum(1 for term in losses.terms.values() if term.weight != 0)
    scalarizer = {"dwa": DWA, "uncertainty": lambda: UW(count), "famo": lambda: FAMO(count)}[method]()
    seen: dict[str, Any] = {}

    def backward(group: Sequence[Any], output: Tensor, inputs: Any) -> None:
        values = losses._evaluate(group, output, inputs)
        losses._log_values({name: value.detach() for name, value in values.items()})
        seen["group"] = group
        scalarizer(torch.stack([value.float() for value in values.values()])).backward()

    def after(iteration: int) -> None:
        if method == "dwa" and iteration % EPOCH == 0:
            scalarizer.step()
        if method == "famo":
            with torch.no_grad():
                values = losses._evaluate(seen["group"], model.net_g(model.lq), model.loss_inputs())
                scalarizer.update(torch.stack([value.float() for value in values.values()]))

    if method == "uncertainty":
        rate = model.optimizer_g.param_groups[0]["lr"]
        model.optimizer_g.add_param_group({"params": list(scalarizer.parameters()), "initial_lr": rate})
        model.schedulers[0].base_lrs.append(rate)
    losses._backward_sum = backward
    return after


class _Balancer:
    """`G = sum_i (w_i / sum_j w_j) g_i / <n_i>` with <n_i> a bias-corrected running mean of coefficient 0.999."""

    def __init__(self, losses: Any):
        self.losses = losses
        self.sums: dict[str, float] = {}
        self.weight = 0.0

    def backward(self, group: Sequence[Any], output: Tensor, inputs: Any) -> None:
        gradients = OutputGradients(output)
        gradients.add(lambda y: self.losses._evaluate(group, y, inputs))
        self.losses._log_values(gradients.values)
        self.weight = 0.999 * self.weight + 1
        factors = {}
        total = sum(abs(self.losses.terms[name].weight) for name in gradients.values)
        for name, norm in gradients.norms().items():
            self.sums[name] = 0.999 * self.sums.get(name, 0.0) + float(norm)
            share = abs(self.losses.terms[name].weight) / total
            factors[name] = share / (self.sums[name] / self.weight + 1e-12)
        gradients.backward(factors)
