"""The loss scheduler: readings of each loss in, factors on each loss out, with every decision explained.

Data flows one way at each step: readings -> averages and windows -> calibration u_i -> desired multiplier m_i* ->
m_i within its rate and bounds -> factor u_i m_i. Plain Python numbers throughout: deterministic, device-free, and
small enough for a checkpoint.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..errors import OptionError, suggestion
from .auto_calibration import AutoCalibration
from .calibration import Parameters
from .decisions import Decision, Kind, number_text, percent
from .gradient_balance import GradientBalance
from .loss_ratio import LossRatio
from .loss_state import LossState
from .loss_velocity import LossVelocity
from .moving_average import LogAverage
from .nonfinite import NonFiniteLossError
from .options import DynamicLossScheduling
from .readings import LossInfo, Reading
from .roles import COMPARING
from .share_limits import floor_factor, share_limits
from .shares import bounds_in_force, check_explicit_shares
from .signals import Calibration, Limit, Signal

__all__ = ["DynamicLossScheduler", "ForeignStateError", "LossInfo", "NonFiniteLossError", "Reading", "Step"]

VERSION = 5
"""Of `state_dict`."""

TOLD = 1.1
"""A limit that changes a loss by less than this factor acts in silence."""

MEANT = 3.0
"""A calibration by more than this, up or down, may undo what the user meant, and says how to keep it."""

SIGNALS = {"gradient": GradientBalance, "loss_ratio": LossRatio, "loss_velocity": LossVelocity}


class ForeignStateError(ValueError):
    """A saved state belongs to a differently configured scheduler."""


@dataclass(frozen=True)
class Step:
    """What to do at one training step."""

    factors: Mapping[str, float]
    """Factor on each active loss (its base weight is already in it): u_i m_i."""
    multipliers: Mapping[str, float]
    """The m_i alone."""
    shares: Mapping[str, float]
    """Each loss's part of the update with these factors."""
    parameters: Parameters
    decisions: tuple[Decision, ...] = ()
    skip: bool = False
    """A reading was not finite: leave weights, averages and optimizer untouched at this step."""


class DynamicLossScheduler:
    """Keeps the balance of a recipe's losses; see `docs` of `options.DynamicLossScheduling` for its parameters.

    Call `step` once per optimizer step. All state is in `state_dict()`: a run resumed from it makes the same
    decisions as one never interrupted.

    Args:
        losses: The losses to schedule, in the recipe's order; names unique, base weights not 0.
        options: The validated option block.
        total_iter: Length of the run in optimizer steps.
        size: ParagonSR2 size whose preset applies with auto_calibrate, or the network's number of trainable
            parameters, which stands for the nearest size (see `presets.nearest_size`).

    Raises:
        OptionError: The block names a loss that does not exist, or explicit targets leave one out.
    """

    def __init__(
        self, losses: Sequence[LossInfo], options: DynamicLossScheduling, *, total_iter: int, size: str | int = "s"
    ):
        self.losses = {loss.name: loss for loss in losses}
        assert len(self.losses) == len(losses), "loss names are unique"
        if isinstance(options.target, dict):
            for name in options.target:
                if name not in self.losses:
                    raise OptionError(f"target.{name}", f"no such loss that trains{suggestion(name, self.losses)}")
            check_explicit_shares(options.target, self.losses)
        self.options = options
        self.auto = AutoCalibration(options, total_iter=total_iter, size=size)
        self.signal: Signal = SIGNALS[options.signal](losses, options)
        self.states = {name: LossState() for name in self.losses}
        self.upper_bound: float | None = None
        self.limited_at: dict[str, int] = {}
        """When a limit acted last, by kind of decision and loss."""
        self.relative_sizes: dict[str, LogAverage] = {}
        """Of losses with a smallest share: average of their size over that of the losses without a limit."""
        self.nonfinite_in_a_row = 0
        self.nonfinite_total = 0

    @property
    def wants_complexity(self) -> bool:
        """Whether `step` still needs the complexity score of the batch."""
        return self.auto.wants_complexity

    def parameters(self, iteration: int) -> Parameters:
        """Effective parameters at an iteration, from what the scheduler knows now."""
        return self.auto.parameters(iteration)

    # -- one step --------------------------------------------------------------------------------------------------

    def step(self, iteration: int, readings: Mapping[str, Reading], complexity: float | None = None) -> Step:
        """Decide the factors of one optimizer step.

        Args:
            iteration: Current iteration, from 1.
            readings: Reading of each loss active at this iteration.
            complexity: Mean complexity score of the batch while `wants_complexity`.

        Raises:
            NonFiniteLossError: The readings were not finite for `max_nonfinite_steps` steps in a row.
        """
        broken = [
            name for name, r in readings.items() if not (math.isfinite(r.value) and math.isfinite(r.gradient_norm))
        ]
        if broken:
            return self._skip(iteration, broken)
        self.nonfinite_in_a_row = 0

        # An adversarial loss rises as its discriminator learns; that is no sign of trouble.
        values = {name: abs(r.value) for name, r in readings.items() if self.losses[name].role != "adversarial"}
        decisions = self.auto.follow(iteration, values, complexity)
        parameters = self.parameters(iteration)
        self.upper_bound = _approach(self.upper_bound or parameters.max_weight, parameters.max_weight, parameters)
        parameters = replace(parameters, max_weight=self.upper_bound)

        informative = self._observe(readings, parameters)
        decisions += self._calibrate(iteration, readings, parameters)
        self._move(iteration, readings, informative, parameters)
        factors = {name: self.states[name].factor(iteration) for name in readings}
        decisions += self._limit(iteration, readings, factors, parameters)
        return Step(
            factors=factors,
            multipliers={name: self.states[name].multiplier for name in readings},
            shares=shares_of(readings, factors),
            parameters=parameters,
            decisions=tuple(decisions),
        )

    def _skip(self, iteration: int, broken: list[str]) -> Step:
        self.nonfinite_in_a_row += 1
        self.nonfinite_total += 1
        if self.nonfinite_in_a_row >= self.options.max_nonfinite_steps and not self.options.observe:
            raise NonFiniteLossError(broken, self.nonfinite_in_a_row)
        reason = (
            f"{', '.join(broken)} gave NaN or infinity; step skipped "
            f"({self.nonfinite_in_a_row} in a row, stops at {self.options.max_nonfinite_steps})"
        )
        decision = Decision(iteration, "nonfinite", reason, tuple(broken))
        return Step({}, {}, {}, self.parameters(iteration), (decision,), skip=True)

    def uncounted(self, names: Iterable[str]) -> str:
        """` without gan_loss` where targets are shares of the update without some of these losses; else empty."""
        apart = [name for name in names if not self.signal.holds(name)]
        return f" without {', '.join(apart)}" if apart else ""

    # -- windows and calibration -----------------------------------------------------------------------------------

    def _observe(self, readings: Mapping[str, Reading], parameters: Parameters) -> set[str]:
        """Take in the readings; returns the losses whose readings are informative.

        A vanished gradient, or a step without the loss, counts for the length of the window but not for its mean: one
        of them must not part a loss from those it started with.
        """
        informative: set[str] = set()
        for name, reading in readings.items():
            if not self.signal.holds(name):
                continue
            state = self.states[name]
            window = state.calibrated_at is None
            if self.signal.observe(name, reading, parameters, window):
                informative.add(name)
                state.informative += window
        for name, state in self.states.items():
            begun = state.observed > 0 or (name in readings and self.signal.holds(name))
            state.observed += begun and state.calibrated_at is None
        return informative

    def _calibrate(self, iteration: int, readings: Mapping[str, Reading], parameters: Parameters) -> list[Decision]:
        """Calibrate the losses whose baseline windows end here, together.

        A window in which less than half of the readings are informative goes on until that many are. Where the window
        of another loss is more than half over, they wait for it: losses that start at about the same time are one
        recipe.
        """
        length = parameters.baseline_iterations
        states = {name: state for name, state in self.states.items() if self.signal.holds(name)}
        if any(state.calibrated_at is None and length <= 2 * state.observed < 2 * length for state in states.values()):
            return []
        ready = [
            name
            for name, state in states.items()
            if state.calibrated_at is None and state.observed >= length and 2 * state.informative >= length
        ]
        if not ready:
            return []
        results = self.signal.calibrate(ready, parameters)
        without = self.uncounted(readings)
        for name in ready:
            state = self.states[name]
            state.calibrated_at = iteration
            state.ease_iterations = length
            state.calibration = results[name].factor if name in results else 1.0
        return [
            Decision(
                iteration,
                "calibrated",
                f"{name} gave {percent(result.measured)} of the update{without}; {self._became(name, result)}",
                (name,),
                {"share": result.measured, "calibration": 1.0},
                {"share": result.target, "calibration": result.factor},
            )
            for name, result in results.items()
        ]

    def _became(self, name: str, result: Calibration) -> str:
        """What calibration made of a weight, and how to keep one that `auto` changes by much: only the user knows."""
        if result.factor == 1:
            return "its weight is kept"
        words = f"calibrated to {percent(result.target)} (x {result.factor:.3g})"
        much = abs(math.log(result.factor)) > math.log(MEANT)
        meant = much and self.options.target_rule == "auto" and self.losses[name].role in COMPARING
        return f"{words}; if you meant this weight: 'target: baseline'" if meant else words

    # -- multipliers -----------------------------------------------------------------------------------------------

    def _move(
        self, iteration: int, readings: Mapping[str, Reading], informative: set[str], parameters: Parameters
    ) -> None:
        """Let every calibrated multiplier follow its desired value, within its rate and bounds.

        A multiplier rests while its loss's calibration is easing in, for what it would follow is not there yet, and
        while its loss's gradient has vanished.
        """
        for name in readings:
            state = self.states[name]
            if name in informative and state.calibrated_at is not None and not state.easing(iteration):
                desired = self.signal.desired(name, state.multiplier, parameters)
                state.multiplier = _approach(state.multiplier, desired, parameters)
            state.multiplier = min(max(state.multiplier, parameters.min_weight), parameters.max_weight)

    def _limit(
        self, iteration: int, readings: Mapping[str, Reading], factors: dict[str, float], parameters: Parameters
    ) -> list[Decision]:
        """Raise the losses that have a smallest share to it, and hold those that have a largest one under it.

        Told when it begins; a noisy loss that touches a limit now and then is not told again each time, but only after
        it has been free for as long as a baseline window.
        """
        contributions = {name: factors[name] * r.ramp * r.gradient_norm for name, r in readings.items()}
        limits = self.signal.limits(list(readings))
        limited = {name for limit in limits for name in limit.losses}
        others = math.fsum(size for name, size in contributions.items() if name not in limited)
        decisions: list[Decision] = []

        def note(kind: Kind, losses: Sequence[str], factor: float, reason: str) -> None:
            if 1 / TOLD <= factor <= TOLD:
                return
            before = [self.limited_at.get(f"{kind} {name}", -math.inf) for name in losses]
            self.limited_at |= {f"{kind} {name}": iteration for name in losses}
            if iteration - max(before) > parameters.baseline_iterations:
                words = f"{', '.join(losses)} would {reason} (x {factor:.3g})"
                decisions.append(Decision(iteration, kind, words, tuple(losses), {"limit": 1.0}, {"limit": factor}))

        for limit in limits:
            size = self._relative_size(limit, readings, factors, others, parameters)
            raised = floor_factor(size, limit.least)
            if raised > 1:
                for name in limit.losses:
                    factors[name] *= raised
                    contributions[name] *= raised
                usual, least = percent(size / (1 + size)), percent(limit.least)
                note("raised", limit.losses, raised, f"have {usual} of the update on average; raised towards {least}")
            held = share_limits(contributions, limit.losses, others, limit.share)
            for name, factor in held.items():
                factors[name] *= factor
            lowered = {name: raised * factor for name, factor in held.items() if raised * factor < 1}
            if lowered:
                reason = f"exceed {percent(limit.share)} of the update; held there"
                note("guard_rail", list(lowered), min(lowered.values()), reason)
        return decisions

    def _relative_size(
        self,
        limit: Limit,
        readings: Mapping[str, Reading],
        factors: Mapping[str, float],
        others: float,
        parameters: Parameters,
    ) -> float:
        """Recent size of the losses that share a smallest share, over that of the others; 0 where nothing is known.

        A ramp is left out: a loss that the user lets rise slowly is not raised because of it.
        """
        if limit.least <= 0 or others <= 0:
            return 0.0
        sizes = {name: factors[name] * readings[name].gradient_norm for name in limit.losses}
        for name, size in sizes.items():
            if size > 0:
                average = self.relative_sizes.setdefault(name, LogAverage())
                average.update(size / others, parameters.momentum, window=False)
        return math.fsum(self.relative_sizes[name].mean for name, size in sizes.items() if size > 0)

    # -- state and words -------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the future, as plain numbers, texts, lists and dicts."""
        return {
            "version": VERSION,
            "scheduled": self._scheduled(),
            "losses": {name: asdict(state) for name, state in self.states.items()},
            "signal": self.signal.state_dict(),
            "auto": self.auto.state_dict(),
            "upper_bound": self.upper_bound,
            "limited_at": dict(self.limited_at),
            "relative_sizes": {name: asdict(average) for name, average in self.relative_sizes.items()},
            "nonfinite_in_a_row": self.nonfinite_in_a_row,
            "nonfinite_total": self.nonfinite_total,
        }

    def _scheduled(self) -> dict[str, Any]:
        """What a calibration is for: changed, it means nothing any more."""
        target = self.options.target_rule
        return {
            "signal": self.options.signal,
            "target": dict(target) if isinstance(target, dict) else target,
            "recipe": {name: loss.base_weight for name, loss in self.losses.items()},
            "roles": {name: loss.role for name, loss in self.losses.items()},
            **(bounds_in_force(self.options) if self.options.signal == "gradient" else {}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            ForeignStateError: The state is of other losses, weights, roles, targets or another signal than this
                scheduler's, or of another version.
        """
        if state["version"] != VERSION:
            raise ForeignStateError(
                f"The loss scheduler's state was saved by another version of it ({state['version']}, now {VERSION})"
            )
        saved, own = state["scheduled"], self._scheduled()
        for what, value in own.items():
            if saved.get(what) != value:
                raise ForeignStateError(
                    f"The loss scheduler's options have changed (its {what} was {saved.get(what)}, now it is {value})"
                )
        self.states = {name: LossState(**values) for name, values in state["losses"].items()}
        self.signal.load_state_dict(state["signal"])
        self.auto.load_state_dict(state["auto"])
        self.upper_bound = state["upper_bound"]
        self.limited_at = dict(state["limited_at"])
        self.relative_sizes = {name: LogAverage.restored(values) for name, values in state["relative_sizes"].items()}
        self.nonfinite_in_a_row = state["nonfinite_in_a_row"]
        self.nonfinite_total = state["nonfinite_total"]

    def describe_parameters(self, iteration: int = 1) -> str:
        """The effective parameters as a table: value and provenance, one line each."""
        parameters = self.parameters(iteration)
        values = {name: number_text(getattr(parameters, name)) for name in Parameters.NAMES}
        width, digits = max(map(len, values)), max(8, *map(len, values.values()))
        return "\n".join(
            f"  {name:<{width}}  {text:<{digits}}  {parameters.provenance[name]}" for name, text in values.items()
        )


def _approach(value: float, desired: float, parameters: Parameters) -> float:
    """Move towards `desired` by a relative change of at most `adaptation_rate`, equal up and down in log."""
    room = 1 + parameters.adaptation_rate
    return min(max(desired, value / room), value * room)


def shares_of(readings: Mapping[str, Reading], factors: Mapping[str, float]) -> dict[str, float]:
    """Share of each loss in the summed contributions `factor_i ramp_i n_i`; zeros where nothing contributes."""
    contributions = {name: abs(factors[name]) * r.ramp * r.gradient_norm for name, r in readings.items()}
    total = sum(contributions.values())
    return {name: value / total if total > 0 else 0.0 for name, value in contributions.items()}
