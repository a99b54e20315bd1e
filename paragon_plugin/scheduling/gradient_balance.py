"""Signal `gradient`: hold each loss at its target share of the gradient on the output.

With n_i the gradient magnitude of loss i with its base weight, u_i its calibration and t_i its target share,

    m_i* = t_i T / (u_i n_i),    T = sum_R n_j / sum_R t_j

where R are the losses whose baseline windows ended first, together; where all losses start together, T = sum_j n_j.
While no bound is active every loss has exactly its target share, and the total contribution of R is what the
configured weights give, so the effective learning rate does not change. A loss that joins later is measured against
that total: however wrong its unit, the balance of the others is not touched.

The idea of balancing gradients where the losses meet is that of EnCodec's loss balancer (Defossez et al. 2022,
arXiv:2210.13438, appendix A); calibration, bounds, late losses and state are this project's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .calibration import Parameters
from .moving_average import LogAverage
from .options import DynamicLossScheduling, Role
from .readings import LossInfo, Reading
from .shares import normalised, target_shares
from .signals import Calibration, outside_dead_band

VANISHED = 1e-6
"""A calibrated contribution below this part of the total freezes its multiplier."""
LARGEST_CALIBRATION = 1e9
"""No unit is this wrong: a gradient that small is rounding, and must not be blown up."""


class GradientBalance:
    """See the module's docstring.

    Args:
        losses: The scheduled losses.
        options: Target rule and its bounds.
    """

    def __init__(self, losses: Sequence[LossInfo], options: DynamicLossScheduling):
        self.options = options
        self.roles: dict[str, Role] = {loss.name: loss.role for loss in losses}
        self.base_weights = {loss.name: loss.base_weight for loss in losses}
        self.magnitudes = {loss.name: LogAverage() for loss in losses}
        self.targets: dict[str, float] = {}
        self.factors: dict[str, float] = {}
        self.reference: list[str] = []

    def observe(self, name: str, reading: Reading, parameters: Parameters, window: bool) -> bool:
        norm = reading.gradient_norm
        if norm <= 0 or (name in self.factors and norm * self.factors[name] < VANISHED * self._total()):
            return False
        self.magnitudes[name].update(norm, parameters.momentum, window=window)
        return True

    def calibrate(self, names: Sequence[str], parameters: Parameters) -> dict[str, Calibration]:
        before = {name: share * self._total() for name, share in self.targets.items()}
        magnitude = {name: self.magnitudes[name].window_mean for name in names}
        measured = normalised(before | magnitude)
        wanted = target_shares(measured, self.roles, self.base_weights, self.options)
        if not self.targets:
            self.reference = list(names)
            contribution = {name: wanted[name] * math.fsum(magnitude.values()) for name in names}
        else:
            anchor = [name for name in before if self.roles[name] != "adversarial"] or list(before)
            scale = sum(before[name] for name in anchor) / sum(wanted[name] for name in anchor)
            contribution = {name: wanted[name] * scale for name in names}
            if self.options.target_rule == "auto":  # one that joins leaves the others of its role less of their cap
                before |= {name: min(c, wanted[name] * scale) for name, c in before.items() if name not in anchor}
        for name in names:
            upwards = self.options.adversarial_max_calibration if self._limited_upwards(name) else LARGEST_CALIBRATION
            contribution[name] = min(contribution[name], upwards * magnitude[name])
        self.targets = normalised(before | contribution)

        results: dict[str, Calibration] = {}
        for name in names:
            factor = contribution[name] / magnitude[name]
            if not outside_dead_band(1.0, factor, parameters.adaptation_threshold):
                factor = 1.0
            self.factors[name] = factor
            results[name] = Calibration(factor, measured[name], self.targets[name])
        return results

    def desired(self, name: str, multiplier: float, parameters: Parameters) -> float:
        wanted = self.targets[name] * self._total() / (self.factors[name] * self.magnitudes[name].mean)
        wanted = min(max(wanted, parameters.min_weight), parameters.max_weight)
        return wanted if outside_dead_band(multiplier, wanted, parameters.adaptation_threshold) else multiplier

    def target(self, name: str) -> float | None:
        return self.targets.get(name)

    def _total(self) -> float:
        """T of the module's docstring; 0 before the first calibration."""
        if not self.reference:
            return 0.0
        magnitude = math.fsum(self.magnitudes[name].mean for name in self.reference)
        return magnitude / math.fsum(self.targets[name] for name in self.reference)

    def _limited_upwards(self, name: str) -> bool:
        return self.roles[name] == "adversarial" and self.options.target_rule in ("auto", "baseline")

    def state_dict(self) -> dict[str, Any]:
        return {
            "magnitudes": {name: asdict(average) for name, average in self.magnitudes.items()},
            "targets": dict(self.targets),
            "factors": dict(self.factors),
            "reference": list(self.reference),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, average in state["magnitudes"].items():
            restored: dict[str, Any] = {**average, "window": list(average["window"])}
            self.magnitudes[name] = LogAverage(**restored)
        self.targets = dict(state["targets"])
        self.factors = dict(state["factors"])
        self.reference = list(state["reference"])
