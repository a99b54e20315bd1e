"""Bias-corrected exponential moving averages, as plain numbers that a checkpoint can hold."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FARTHEST = math.log(1000)
"""How far from the middle of the others, in log, a value may count as lying."""


@dataclass
class MovingAverage:
    """EMA that weighs its first values fully: `mean = sum b^(k-i) (1-b) x_i / sum b^(k-i) (1-b)`.

    The coefficient may change from value to value; with `b = 0` the mean is the last value.
    """

    weighted_sum: float = 0.0
    weight: float = 0.0

    def update(self, value: float, momentum: float) -> None:
        """Take in one finite value. momentum: EMA coefficient in [0, 1)."""
        self.weighted_sum = momentum * self.weighted_sum + (1 - momentum) * value
        self.weight = momentum * self.weight + (1 - momentum)

    @property
    def mean(self) -> float:
        """The average; 0 before the first value."""
        return self.weighted_sum / self.weight if self.weight > 0 else 0.0


@dataclass
class LogAverage:
    """Geometric mean of a window of positive readings, and from there on their geometric EMA.

    Gradient norms are compared as ratios and have heavy tails. In logs a reading 1000 times too large moves a window
    of 50 by a factor 1.15, where it would multiply an arithmetic mean by 21. A reading farther than that from the
    window's median, or from the EMA, counts as 1000 times too large or too small: one that has all but vanished says
    no more than that, wherever in the window it stands.
    """

    window: list[float] = field(default_factory=list[float])
    """Logs of the window's readings."""
    weighted_sum: float = 0.0
    weight: float = 0.0

    @classmethod
    def restored(cls, saved: Mapping[str, Any]) -> "LogAverage":
        """From what `asdict` gave; the list is a copy."""
        return cls(list(saved["window"]), saved["weighted_sum"], saved["weight"])

    def update(self, value: float, momentum: float, *, window: bool) -> None:
        """Take in one positive finite value; `window` says whether it belongs to the window, which starts it anew."""
        log = math.log(value)
        if window:
            self.window.append(log)
            self.weighted_sum = self.weight = 0.0
            return
        if self.weight == 0 and self.window:
            self.weighted_sum, self.weight = self._window_log(), 1.0
        if self.weight > 0:
            log = near(log, self.weighted_sum / self.weight)
        self.weighted_sum = momentum * self.weighted_sum + (1 - momentum) * log
        self.weight = momentum * self.weight + (1 - momentum)

    @property
    def window_mean(self) -> float:
        """Geometric mean of the window; 0 before its first value."""
        return math.exp(self._window_log()) if self.window else 0.0

    @property
    def mean(self) -> float:
        """Geometric EMA, the window's mean until that has begun; 0 before the first value."""
        return math.exp(self.weighted_sum / self.weight) if self.weight > 0 else self.window_mean

    def _window_log(self) -> float:
        median = statistics.median(self.window)
        return statistics.fmean(near(log, median) for log in self.window)


def near(log: float, mean: float) -> float:
    """The log, or what is `FARTHEST` from the mean on its side where it lies farther."""
    return min(max(log, mean - FARTHEST), mean + FARTHEST)
