"""Signal `loss_ratio`: keep each loss's value within a range of ratios to its baseline.

    ratio_i = EMA(|L_i|) / mean of |L_i| over the baseline window
    m_i* = 1 where low <= ratio_i <= high, else 1 / ratio_i

A loss that has grown far beyond its baseline is weighed down, one that has all but vanished is raised.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .calibration import Parameters
from .moving_average import MovingAverage
from .options import DynamicLossScheduling
from .readings import LossInfo, Reading
from .signals import Signal, outside_dead_band


class LossRatio(Signal):
    """See the module's docstring; `target_ratio_range` gives (low, high)."""

    def __init__(self, losses: Sequence[LossInfo], options: DynamicLossScheduling):
        self.low, self.high = options.target_ratio_range
        self.averages = {loss.name: MovingAverage() for loss in losses}
        self.baseline_sums = {loss.name: 0.0 for loss in losses}
        self.baseline_counts = {loss.name: 0 for loss in losses}

    def observe(self, name: str, reading: Reading, parameters: Parameters, window: bool) -> bool:
        value = abs(reading.value)
        if window:
            self.baseline_sums[name] += value
            self.baseline_counts[name] += 1
        self.averages[name].update(value, parameters.momentum)
        return True

    def desired(self, name: str, multiplier: float, parameters: Parameters) -> float:
        baseline = self.baseline_sums[name] / self.baseline_counts[name]
        value = self.averages[name].mean
        if baseline <= 0 or value <= 0:
            return multiplier
        ratio = value / baseline
        wanted = 1.0 if self.low <= ratio <= self.high else 1 / ratio
        wanted = min(max(wanted, parameters.min_weight), parameters.max_weight)
        return wanted if outside_dead_band(multiplier, wanted, parameters.adaptation_threshold) else multiplier

    def state_dict(self) -> dict[str, Any]:
        return {
            "averages": {name: asdict(average) for name, average in self.averages.items()},
            "baseline_sums": dict(self.baseline_sums),
            "baseline_counts": dict(self.baseline_counts),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, average in state["averages"].items():
            self.averages[name] = MovingAverage(**average)
        self.baseline_sums |= state["baseline_sums"]
        self.baseline_counts |= state["baseline_counts"]
