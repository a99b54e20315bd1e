"""Follows training (its phase, its data, its stability) and says which parameters are in force."""

import math
from collections.abc import Mapping
from typing import Any

from ..errors import OptionError, suggestion
from .calibration import Parameters, Phase, effective_parameters, training_phase
from .complexity import DatasetComplexity
from .decisions import Decision, Kind
from .options import DynamicLossScheduling
from .presets import MANUAL, PRESETS, nearest_size
from .stability import StabilityMonitor

_ISSUES = {
    "exponential_loss_growth": "the losses have doubled (exponential_loss_growth)",
    "high_loss_variance": "the losses vary strongly (high_loss_variance)",
    "recovered": "training has been quiet",
}


class AutoCalibration:
    """The state behind `calibration.effective_parameters`. Without `auto_calibrate` nothing changes over the run.

    Args:
        options: The option block.
        total_iter: Length of the run.
        size: ParagonSR2 size whose preset applies, or a number of trainable parameters for the nearest one.
    """

    def __init__(self, options: DynamicLossScheduling, *, total_iter: int, size: str | int):
        size = nearest_size(size) if isinstance(size, int) else size
        if size not in PRESETS:
            raise OptionError("size", f"no ParagonSR2 size '{size}'{suggestion(size, PRESETS)}")
        self.options = options
        self.enabled = options.auto_calibrate
        self.total_iter = total_iter
        self.preset, self.source = (PRESETS[size], f"preset {size}") if self.enabled else (MANUAL, "default")
        self.complexity = DatasetComplexity(options.complexity_cutoffs)
        self.stability = StabilityMonitor(total_iter)
        self.phase: Phase | None = None
        self._cached: tuple[object, Parameters] | None = None

    @property
    def wants_complexity(self) -> bool:
        """Whether the complexity score of the batch is still needed."""
        return self.enabled and self.complexity.decided is None

    def parameters(self, iteration: int) -> Parameters:
        """Effective parameters at an iteration, from what is known now."""
        return self._parameters(training_phase(iteration, self.total_iter) if self.enabled else None)

    def _parameters(self, phase: Phase | None) -> Parameters:
        key = (phase, self.complexity.decided, self.stability.correction)
        if self._cached is None or self._cached[0] != key:
            computed = effective_parameters(
                self.preset,
                self.source,
                total_iter=self.total_iter,
                phase=phase,
                dataset=self.complexity.decided,
                correction=self.stability.correction,
                manual=self.options,
            )
            self._cached = (key, computed)
        return self._cached[1]

    def follow(self, iteration: int, values: Mapping[str, float], complexity: float | None) -> list[Decision]:
        """Take in one step; returns what changed.

        Args:
            iteration: Current iteration.
            values: Absolute base-weighted value of each active loss that tells of the training's state.
            complexity: Complexity score of the batch, while `wants_complexity`.
        """
        if not self.enabled:
            return []
        decisions: list[Decision] = []
        phase = training_phase(iteration, self.total_iter)
        before = self._parameters(self.phase or phase)

        def changed(kind: Kind, reason: str) -> None:
            nonlocal before
            after = self._parameters(phase)
            decisions.append(_change(iteration, kind, reason, before, after))
            before = after

        if phase != self.phase:
            began, self.phase = self.phase is not None, phase
            if began:
                changed("phase", f"{phase} phase of training begins")
        if complexity is not None and math.isfinite(complexity) and self.wants_complexity:
            self.complexity.observe(complexity)
            if self.complexity.count >= before.baseline_iterations:
                name = self.complexity.decide()
                changed("dataset", f"training images score {self.complexity.mean:.2f}: a {name} dataset")
        outcome = self.stability.observe(iteration, values)
        if outcome:
            changed("recovered" if outcome == "recovered" else "corrected", _ISSUES[outcome])
        return decisions

    def state_dict(self) -> dict[str, Any]:
        return {
            "complexity": self.complexity.state_dict(),
            "stability": self.stability.state_dict(),
            "phase": self.phase,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.complexity.load_state_dict(state["complexity"])
        self.stability.load_state_dict(state["stability"])
        self.phase = state["phase"]
        self._cached = None


def _change(iteration: int, kind: Kind, reason: str, before: Parameters, after: Parameters) -> Decision:
    """A change of parameters, each of them in words and in numbers."""
    names = [name for name in Parameters.NAMES if getattr(before, name) != getattr(after, name)]
    old = {name: getattr(before, name) for name in names}
    new = {name: getattr(after, name) for name in names}
    words = ", ".join(f"{name} {old[name]:.3g} -> {new[name]:.3g}" for name in names)
    return Decision(iteration, kind, f"{reason}; {words}" if words else reason, before=old, after=new)
