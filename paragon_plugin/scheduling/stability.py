"""Watches the losses for divergence, and answers with more cautious scheduler parameters.

What is watched is how far the losses are above their own levels, as a mean over the losses in log:

    r_t = mean_i (log |L_i| - level_i)

with level_i a moving average of log |L_i|. A loss in a wrong unit counts like any other. The scheduler's multipliers
are not in it: it must not trigger itself.

Two incidents are told from what is usual for this run, its standard deviation s and the correlation p of r_t with
r_(t-1), both measured from the first iterations on.

`exponential_loss_growth`: the losses have doubled. Page's test (1954) for a step of `log 2` in noise of that kind. With
the innovation e_t = r_t - p r_(t-1), of variance s^2 (1 - p^2), a step means that e_t is `log 2` when it comes and
`(1 - p) log 2` from then on. The evidence is the largest log likelihood ratio over all moments it may have come at:

    E_t = max(0, E_(t-1) + gain((1 - p) log 2), gain(log 2)),    gain(d) = d (e_t - d / 2) / (s^2 (1 - p^2))

`high_loss_variance`: the last twenty values, as ratios to the levels, have a coefficient of variation above one half,
and in log twice the standard deviation that is usual.

An incident gets one correction: the levels start over and a cool-down follows. Quiet iterations relax the corrections
half-way (in log) to none.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from .calibration import NO_CORRECTION, Factors
from .moving_average import near

Issue = Literal["exponential_loss_growth", "high_loss_variance"]

NEEDED = 20
"""Values that say as much as so many independent ones, before anything is told from them."""
EDGE = 5
"""No incident of growth comes from fewer values, and a level of fewer is none yet."""
GROWTH = 2.0
VARIATION = 0.5
UNUSUAL = 2.0
"""Standard deviations of high variance, over the usual one."""
SPIKES = 2
"""Of the last twenty values so many do not count for high variance."""
COOL_DOWN = 20
QUIET = 100
START = 500
START_SHARE = 0.1
MOST = 3
"""Corrections never add up to more than this many for growth: losses that are noisy by nature must not end with a
scheduler that cannot move any more."""

EVIDENCE = 7.2
"""Log likelihood ratio at which the losses have doubled: chosen for at most one false incident in 10,000 iterations
(`benchmarks/stability_monitor.py`)."""
LEVEL_VALUES, USUAL_VALUES = 500, 2000
"""Over how many values the levels and what is usual are averaged."""

CORRECTIONS: dict[Issue, Factors] = {
    "exponential_loss_growth": Factors(1.05, 0.8, 0.7),
    "high_loss_variance": Factors(1.03, 0.9, 0.8),
}


@dataclass
class Usual:
    """How much r_t varies where nothing happens: moments over a window that grows to `USUAL_VALUES`."""

    weight: float = 0.0
    square: float = 0.0
    product: float = 0.0
    """Of r_t and r_(t-1)."""
    before: float = 0.0

    def update(self, value: float) -> None:
        """Take in r_t; one farther than three standard deviations counts as so far."""
        if self.weight > NEEDED:
            most = 3 * math.sqrt(self.square / self.weight)
            value = min(max(value, -most), most)
        keep = 1 - 1 / USUAL_VALUES
        self.weight = keep * self.weight + 1
        self.square = keep * self.square + value * value
        self.product = keep * self.product + value * self.before
        self.before = value

    @property
    def correlation(self) -> float:
        """Of r_t with r_(t-1), in [0, 0.95]."""
        return min(max(self.product / self.square, 0.0), 0.95) if self.square > 0 else 0.0

    @property
    def deviation(self) -> float:
        """Standard deviation of r_t, half of its own standard error added: few values may have been too quiet."""
        if self.weight == 0:
            return 0.0
        p = self.correlation
        error = math.sqrt(2 / max(self.weight * (1 - p * p) / (1 + p * p), 1))
        return math.sqrt(self.square / self.weight * (1 + error / 2))

    def independent(self, values: float) -> float:
        """How many independent values say as much about a mean as so many of these."""
        return values * (1 - self.correlation) / (1 + self.correlation)


QUIETEST = EDGE * math.log(GROWTH) ** 2 / 2 / EVIDENCE
"""Smallest variance of a mean of five r_t: the evidence of a doubling takes at least five values, for quiet losses do
not double in one step."""


def growth_evidence(evidence: float, value: float, usual: Usual) -> float:
    """The evidence E_t that the losses have doubled, from E_(t-1) and r_t; see the module's docstring.

    Args:
        evidence: E_(t-1), 0 or more.
        value: r_t.
        usual: What is usual, up to and with r_(t-1).

    Returns:
        E_t in [0, 1.5 EVIDENCE]; one value adds at most a fifth of `EVIDENCE`, the first of a step three fifths.
    """
    p, variance = usual.correlation, _variance(usual)
    innovation, noise = value - p * usual.before, variance * (1 - p * p)

    def gain(step: float, most: float) -> float:
        return min(step / noise * (innovation - step / 2), most * EVIDENCE)

    size = math.log(GROWTH)
    evidence = max(0.0, evidence + gain((1 - p) * size, 1 / EDGE), gain(size, 1 - 2 / EDGE))
    return min(evidence, 1.5 * EVIDENCE)


def exponential_loss_growth(recent: Sequence[float], usual: Usual, evidence: float) -> bool:
    """Whether the losses have doubled: by the evidence, and by the mean of the last five r_t within its error."""
    if evidence <= EVIDENCE or len(recent) < EDGE:
        return False
    p = usual.correlation
    error = math.sqrt(_variance(usual) * (1 + p) / (1 - p) / EDGE)
    return statistics.fmean(recent[-EDGE:]) + 2 * error >= math.log(GROWTH)


def high_loss_variance(recent: Sequence[float], usual: Usual) -> bool:
    """Whether the last twenty r_t vary strongly: in themselves, and beside what is usual.

    The `SPIKES` farthest from their median are left out: a hard batch now and then is no instability.
    """
    if len(recent) < NEEDED:
        return False
    median = statistics.median(recent[-NEEDED:])
    logs = sorted(recent[-NEEDED:], key=lambda value: abs(value - median))[:-SPIKES]
    ratios = [math.exp(value) for value in logs]
    mean = statistics.fmean(ratios)
    return statistics.pstdev(ratios, mean) > VARIATION * mean and statistics.pstdev(logs) > UNUSUAL * usual.deviation


def detect_instability(recent: Sequence[float], usual: Usual, evidence: float) -> Issue | None:
    """Name what is wrong with the losses; None where nothing is.

    Args:
        recent: The latest r_t, the newest last.
        usual: How much they vary where nothing happens.
        evidence: That they have doubled, `growth_evidence` over these and earlier values.
    """
    if exponential_loss_growth(recent, usual, evidence):
        return "exponential_loss_growth"
    # While evidence of growth gathers, a step up is no variance: a few values more will tell.
    return "high_loss_variance" if evidence == 0 and high_loss_variance(recent, usual) else None


def corrected(correction: Factors, issue: Issue) -> Factors:
    """The correction after one more incident; all together never more than `MOST` for growth."""
    more, growth = CORRECTIONS[issue], CORRECTIONS["exponential_loss_growth"]
    return Factors(
        momentum=min(correction.momentum * more.momentum, growth.momentum**MOST),
        adaptation_rate=max(correction.adaptation_rate * more.adaptation_rate, growth.adaptation_rate**MOST),
        max_weight=max(correction.max_weight * more.max_weight, growth.max_weight**MOST),
    )


class StabilityMonitor:
    """Incidents, cool-down and recovery over a stream of losses.

    Args:
        total_iter: Length of the run; monitoring starts at iteration 500, or at 10 % of a run shorter than 5000.
    """

    def __init__(self, total_iter: int):
        self.start = min(START, int(total_iter * START_SHARE))
        self.levels: dict[str, list[float]] = {}
        """Mean of log |L_i| by loss, and the number of values in it."""
        self.usual = Usual()
        self.evidence = 0.0
        self.recent: list[float] = []
        self.cool_down = 0
        self.quiet = 0
        self.correction = NO_CORRECTION

    def observe(self, iteration: int, values: Mapping[str, float]) -> Issue | Literal["recovered"] | None:
        """Take in the losses of a step and say what was done about them.

        Args:
            iteration: Current iteration.
            values: Absolute base-weighted value of each active loss; one of 0 says nothing.
        """
        logs = {name: math.log(value) for name, value in values.items() if value > 0}
        # A level of fewer values than this is none yet: a loss that joins is not compared with it.
        known = [name for name in logs if self.levels.get(name, [0.0, 0.0])[1] >= EDGE]
        issue = None
        if known:
            value = statistics.fmean(near(logs[name], self.levels[name][0]) - self.levels[name][0] for name in known)
            fewest = min(self.levels[name][1] for name in known)
            issue = self._judge(iteration, value, min(fewest, self.usual.weight))
            self.usual.update(value)
        for name, log in logs.items():
            level = self.levels.setdefault(name, [log, 0.0])
            level[1] += 1
            level[0] += (near(log, level[0]) - level[0]) / min(level[1], LEVEL_VALUES)
        if issue:
            self._start_over(issue)
        return issue or self._recover(iteration)

    def _judge(self, iteration: int, value: float, values: float) -> Issue | None:
        self.recent = [*self.recent, value][-NEEDED:]
        if iteration < self.start or self.cool_down > 0 or self.usual.independent(values) < NEEDED:
            self.evidence = 0.0
            return None
        self.evidence = growth_evidence(self.evidence, value, self.usual)
        return detect_instability(self.recent, self.usual, self.evidence)

    def _start_over(self, issue: Issue) -> None:
        """One incident is told once: what the losses have come to is their level now."""
        self.correction = corrected(self.correction, issue)
        risen = statistics.fmean(self.recent[-EDGE:])
        for level in self.levels.values():
            level[0], level[1] = level[0] + risen, min(level[1], EDGE)
        self.evidence, self.recent, self.cool_down, self.quiet = 0.0, [], COOL_DOWN, 0
        self.usual.before = 0.0

    def _recover(self, iteration: int) -> Literal["recovered"] | None:
        if iteration < self.start:
            return None
        if self.cool_down > 0:
            self.cool_down -= 1
            return None
        self.quiet += 1
        if self.correction != NO_CORRECTION and self.quiet >= QUIET:
            self.quiet = 0
            self.correction = _relaxed(self.correction)
            return "recovered"
        return None

    def state_dict(self) -> dict[str, Any]:
        return {
            "levels": {name: list(level) for name, level in self.levels.items()},
            "usual": asdict(self.usual),
            "evidence": self.evidence,
            "recent": list(self.recent),
            "cool_down": self.cool_down,
            "quiet": self.quiet,
            "correction": vars(self.correction).copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.levels = {name: list(level) for name, level in state["levels"].items()}
        self.usual = Usual(**state["usual"])
        self.evidence = state["evidence"]
        self.recent = list(state["recent"])
        self.cool_down = state["cool_down"]
        self.quiet = state["quiet"]
        self.correction = Factors(**state["correction"])


def _variance(usual: Usual) -> float:
    """Of r_t."""
    p = usual.correlation
    return max(usual.deviation**2, QUIETEST * (1 - p) / (1 + p))


def _relaxed(correction: Factors) -> Factors:
    """Half-way to 1 in log; within 1 % of it counts as there."""
    halves = [value**0.5 for value in vars(correction).values()]
    return NO_CORRECTION if all(abs(value - 1) < 0.01 for value in halves) else Factors(*halves)
