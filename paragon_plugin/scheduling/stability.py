"""Watches the recipe's total loss for divergence and answers with more cautious scheduler parameters.

The total is the sum of absolute base-weighted losses, without multipliers: the scheduler must not trigger itself.
Of the last 20 values, the mean of the last 5 more than twice the mean of the first 5 is `exponential_loss_growth`; a
coefficient of variation (standard deviation over mean) above one half is `high_loss_variance`.

An incident gets one correction: the history starts over and a cool-down follows. Quiet iterations relax the
corrections half-way (in log) to none.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

from .calibration import NO_CORRECTION, Factors

Issue = Literal["exponential_loss_growth", "high_loss_variance"]

WINDOW = 100
NEEDED = 20
EDGE = 5
GROWTH = 2.0
VARIATION = 0.5
COOL_DOWN = 20
QUIET = 100
START = 500
START_SHARE = 0.1
MOST = 3
"""Corrections never add up to more than this many for growth: losses that are noisy by nature must not end with a
scheduler that cannot move any more."""

CORRECTIONS: dict[Issue, Factors] = {
    "exponential_loss_growth": Factors(1.05, 0.8, 0.7),
    "high_loss_variance": Factors(1.03, 0.9, 0.8),
}


def detect_instability(history: list[float]) -> Issue | None:
    """Name what is wrong with the last 20 values of a loss history, None if nothing or too few values."""
    if len(history) < NEEDED:
        return None
    recent = history[-NEEDED:]
    first = sum(recent[:EDGE]) / EDGE
    last = sum(recent[-EDGE:]) / EDGE
    if last > GROWTH * first:
        return "exponential_loss_growth"
    mean = math.fsum(recent) / NEEDED
    deviation = math.hypot(*(value - mean for value in recent)) / NEEDED**0.5  # squares of spikes would overflow
    if mean > 0 and deviation / mean > VARIATION:
        return "high_loss_variance"
    return None


class StabilityMonitor:
    """Incidents, cool-down and recovery over a stream of total losses.

    Args:
        total_iter: Length of the run; monitoring starts at iteration 500, or at 10 % of a run shorter than 5000.
    """

    def __init__(self, total_iter: int):
        self.start = min(START, int(total_iter * START_SHARE))
        self.history: list[float] = []
        self.active: list[str] = []
        self.cool_down = 0
        self.quiet = 0
        self.correction = NO_CORRECTION

    def observe(self, iteration: int, total: float, active: list[str]) -> Issue | Literal["recovered"] | None:
        """Take in one finite total and say what was done about it.

        Args:
            iteration: Current iteration.
            total: Sum of absolute base-weighted losses.
            active: Names of the losses in the total; the history starts over when they change.
        """
        if active != self.active:
            self.active, self.history = list(active), []
        self.history = [*self.history, total][-WINDOW:]
        if iteration < self.start:
            return None
        if self.cool_down > 0:
            self.cool_down -= 1
            return None
        issue = detect_instability(self.history)
        if issue:
            self.correction = _product(self.correction, CORRECTIONS[issue])
            self.history, self.cool_down, self.quiet = [], COOL_DOWN, 0
            return issue
        self.quiet += 1
        if self.correction != NO_CORRECTION and self.quiet >= QUIET:
            self.quiet = 0
            self.correction = _relaxed(self.correction)
            return "recovered"
        return None

    def state_dict(self) -> dict[str, Any]:
        return {
            "history": list(self.history),
            "active": list(self.active),
            "cool_down": self.cool_down,
            "quiet": self.quiet,
            "correction": vars(self.correction).copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.history = list(state["history"])
        self.active = list(state["active"])
        self.cool_down = state["cool_down"]
        self.quiet = state["quiet"]
        self.correction = Factors(**state["correction"])


def _product(a: Factors, b: Factors) -> Factors:
    """Both corrections, within MOST for growth."""
    growth = CORRECTIONS["exponential_loss_growth"]
    return Factors(
        momentum=min(a.momentum * b.momentum, growth.momentum**MOST),
        adaptation_rate=max(a.adaptation_rate * b.adaptation_rate, growth.adaptation_rate**MOST),
        max_weight=max(a.max_weight * b.max_weight, growth.max_weight**MOST),
    )


def _relaxed(correction: Factors) -> Factors:
    """Half-way to 1 in log; within 1 % of it counts as there."""
    halves = [value**0.5 for value in vars(correction).values()]
    return NO_CORRECTION if all(abs(value - 1) < 0.01 for value in halves) else Factors(*halves)
