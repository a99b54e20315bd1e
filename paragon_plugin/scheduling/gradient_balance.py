"""Signal `gradient`: hold each loss at its target share of the gradient on the output.

With n_i the gradient magnitude of loss i with its base weight, u_i its calibration and t_i its target share,

    m_i* = t_i T / (u_i n_i),    T = sum_R n_j / sum_R t_j

where R are the losses whose baseline windows ended first, together, but adversarial ones; where all losses start
together and none is adversarial, T = sum_j n_j. While no bound is active every loss has exactly its target share, and
the total contribution of R is what the configured weights give, so the effective learning rate does not change. A loss
that joins later is measured against that total: however wrong its unit, the balance of the others is not touched.

Under `auto` and `baseline` the losses that do not compare with the target (adversarial ones, regularizations) have no
target. For them u_i = m_i = 1, and the shares t_i are those of the others among themselves. Under `auto` their share of
each step has limits (`share_limits`): a largest one and, for adversarial losses, a smallest one, that over
`share_tolerance`. Under `baseline` it has a largest one where `share_ceiling` is written. Where the user gives an
adversarial loss a share by number, it has a target like any other, and its limit is `ROOM` times that: its gradient may
grow a thousandfold while its discriminator learns.

The idea of balancing gradients where the losses meet is that of EnCodec's loss balancer (Defossez et al. 2022,
arXiv:2210.13438, appendix A); calibration, bounds, late losses and state are this project's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .calibration import Parameters
from .moving_average import LogAverage
from .options import DynamicLossScheduling, LossRole, Role
from .readings import LossInfo, Reading
from .roles import COMPARING, typical_limits
from .shares import known_roles, normalised, target_shares
from .signals import Calibration, Limit, Signal, outside_dead_band

VANISHED = 1e-6
"""A calibrated contribution below this part of its target freezes its multiplier."""
LARGEST_CALIBRATION = 1e20
"""Of a larger one the gradient is no float32 number that means anything."""
ROOM = 1.5
"""An adversarial loss with a target may exceed it by this factor at a step, for its gradient is noisy."""


class GradientBalance(Signal):
    """See the module's docstring.

    Args:
        losses: The scheduled losses.
        options: Target rule and its bounds.

    Raises:
        OptionError: The rule is `auto` and the role of a loss is not known.
    """

    def __init__(self, losses: Sequence[LossInfo], options: DynamicLossScheduling):
        self.options = options
        self.roles: dict[str, LossRole] = {loss.name: loss.role for loss in losses}
        self.base_weights = {loss.name: loss.base_weight for loss in losses}
        self.magnitudes = {loss.name: LogAverage() for loss in losses}
        self.targets: dict[str, float] = {}
        self.factors: dict[str, float] = {}
        self.reference: list[str] = []
        self._by_number = options.target_rule not in ("auto", "baseline")
        if options.target_rule == "auto" and len(losses) > 1:
            known_roles(self.roles)

    def holds(self, name: str) -> bool:
        return self._by_number or self.roles[name] in COMPARING

    def observe(self, name: str, reading: Reading, parameters: Parameters, window: bool) -> bool:
        norm = reading.gradient_norm
        if norm <= 0:
            return False
        if name in self.factors and norm * self.factors[name] < VANISHED * self.targets[name] * self._total():
            return False
        self.magnitudes[name].update(norm, parameters.momentum, window=window)
        return True

    def calibrate(self, names: Sequence[str], parameters: Parameters) -> dict[str, Calibration]:
        before = {name: share * self._total() for name, share in self.targets.items()}
        magnitude = {name: self.magnitudes[name].window_mean for name in names}
        measured = normalised(before | magnitude)
        wanted = target_shares(measured, self.roles, self.base_weights, self.options)
        known = before or magnitude
        anchor = [name for name in known if self.roles[name] != "adversarial"] or list(known)
        total = math.fsum(known[name] for name in anchor) / math.fsum(wanted[name] for name in anchor)
        contribution = {name: min(wanted[name] * total, LARGEST_CALIBRATION * magnitude[name]) for name in names}
        if not self.reference:
            self.reference = anchor
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

    def limits(self, names: Sequence[str]) -> list[Limit]:
        limits: list[Limit] = []
        for role in ("adversarial", "regularization"):
            own = tuple(name for name in names if self.roles[name] == role)
            if not own:
                continue
            least, largest = self._bounds(role, own, names)
            if largest < 1:
                limits.append(Limit(own, largest, least))
        return limits

    def _bounds(self, role: Role, own: Sequence[str], names: Sequence[str]) -> tuple[float, float]:
        """Smallest and largest share of the losses of a role together; 0 and 1 are no limits."""
        if self.options.target_rule == "auto":
            return typical_limits(self.options)[role]
        if not self._by_number:
            return 0.0, self.options.share_ceiling or 1.0
        if role != "adversarial":
            return 0.0, 1.0
        targets = target_shares(dict.fromkeys(names, 1.0), self.roles, self.base_weights, self.options)
        return 0.0, ROOM * math.fsum(targets[name] for name in own)

    def _total(self) -> float:
        """T of the module's docstring; 0 before the first calibration."""
        if not self.reference:
            return 0.0
        magnitude = math.fsum(self.magnitudes[name].mean for name in self.reference)
        return magnitude / math.fsum(self.targets[name] for name in self.reference)

    def state_dict(self) -> dict[str, Any]:
        return {
            "magnitudes": {name: asdict(average) for name, average in self.magnitudes.items()},
            "targets": dict(self.targets),
            "factors": dict(self.factors),
            "reference": list(self.reference),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, average in state["magnitudes"].items():
            self.magnitudes[name] = LogAverage.restored(average)
        self.targets = dict(state["targets"])
        self.factors = dict(state["factors"])
        self.reference = list(state["reference"])
