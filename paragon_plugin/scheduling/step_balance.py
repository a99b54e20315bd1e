"""The balance of a training step's losses: between the losses' gradients on the output and the scheduler's decisions.

    gradients of each loss on the output -> readings (one host read) -> scheduler -> factors, words, record

A step that fits is decided on before its own backward pass. One that comes in several parts, or whose gradients carry
a loss scale (an overflow shows only after the backward pass), uses the factors of the step before; it is read and
decided on at its end. Either way there is one read and one decision per optimizer step, and a step that is left out
touches nothing.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from .complexity import mean_image_complexity
from .decision_log import FILE_NAME, DecisionLog
from .decisions import percent
from .nonfinite import Overflows
from .options import DynamicLossScheduling, LossRole
from .output_gradients import OutputGradients
from .readings import LossInfo, Reading
from .run_record import RunRecord
from .scheduler import DynamicLossScheduler, ForeignStateError, Step, shares_of
from .wish import limit_text, outcome_text, target_text

_logger = logging.getLogger(__name__)


@dataclass
class _OptimizerStep:
    """One optimizer step under way; sums over its parts, on the device."""

    iteration: int
    parts: int
    ramps: Mapping[str, float]
    ready: bool = True
    values: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    norms: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    complexity: Tensor | None = None
    others: Tensor | None = None
    """Sum of what is trained and not scheduled; only whether it is finite matters."""
    decided: tuple[dict[str, Reading], float | None] | None = None
    """What the scheduler is told once the optimizer has stepped."""


class StepBalance:
    """Measures the losses of each optimizer step, asks the scheduler, and says what it decided.

    Per optimizer step: `begin`, `weigh` for each part of the batch, `ready`, and where that says so the optimizer's
    step and `commit`. `balance.LossBalance` does these calls for loops that know nothing of them.

    Args:
        losses: The losses to schedule, in the recipe's order; names unique, base weights not 0.
        options: The scheduler's option block.
        total_iter: Length of the run in optimizer steps.
        size: ParagonSR2 size whose preset auto-calibration takes, or a number of trainable parameters.
        size_reason: How that size was found, for the log.
        folder: Where the decision log goes; None to keep none (ranks other than 0).
        record: The run's record, which is told the parameters of the first step; None to keep none.
        decides_first: Decide on a step before its own backward pass; else the factors are those of the step before.
        scaled: Gradients carry a loss scale, so that an infinite one may be an overflow.
        logger: Takes the decisions in words.

    Raises:
        OptionError: The block names a loss that does not exist, or explicit targets leave one out.
    """

    def __init__(
        self,
        losses: Sequence[LossInfo],
        options: DynamicLossScheduling,
        *,
        total_iter: int,
        size: str | int,
        size_reason: str,
        folder: str | Path | None = None,
        record: RunRecord | None = None,
        decides_first: bool = True,
        scaled: bool = False,
        logger: logging.Logger = _logger,
    ):
        self.scheduler = DynamicLossScheduler(losses, options, total_iter=total_iter, size=size)
        self.observes = options.observe
        self.decides_first = decides_first
        self.scaled = scaled
        self.record = record
        self.logger = logger
        self.decision_log = DecisionLog(Path(folder) / FILE_NAME) if folder is not None else None
        self.last_step: Step | None = None
        """The latest decision that was no skip."""
        self.first_shares: dict[str, float] = {}
        """Share of each loss at its first step."""
        self.held: dict[str, float] = {}
        """Factors for the next step where it is decided on at its end."""
        self.values: dict[str, float] = {}
        """Value of each loss at the latest step that was read."""
        self.overflowed = False
        """Whether the latest step is left to the scaler, because gradients on the output are infinite under it."""
        self._step = _OptimizerStep(0, 1, {})
        self._overflows = Overflows()
        self._resumed_from: int | None = 0
        """Iteration after which the folder's decisions are dropped: those of an earlier run, or of steps undone."""
        self._told_parameters = False
        self._fresh = True
        """Whether it does not go on from a saved state."""
        self._at_first = self.scheduler.state_dict()
        alone = " One loss alone: there is nothing to balance." if len(losses) == 1 else ""
        looks = " It only observes: factors stay at 1." if options.observe else ""
        told = ", ".join(f"{i.name} ({i.role}, weight {i.base_weight:g})" for i in losses)
        if told:
            target = target_text(options, self._roles())
            logger.info(f"Loss scheduling: {told}; target {target}; {size_reason}.{alone}{looks}")
            for option, what in options.warnings():
                logger.warning(f"Loss scheduling: {option} {what}.")

    # -- one step --------------------------------------------------------------------------------------------------

    def begin(self, iteration: int, parts: int = 1, ramps: Mapping[str, float] | None = None) -> None:
        """Start an optimizer step; what an earlier one left undecided is forgotten.

        Args:
            iteration: Current iteration, from 1.
            parts: In how many parts its batch comes.
            ramps: Factor of each loss whose weight still rises; 1 for losses that it does not name.
        """
        self._step = _OptimizerStep(iteration, parts, ramps or {})
        self.values = {}
        self.overflowed = False

    def weigh(
        self, gradients: OutputGradients, gt: Tensor | None = None, others: Tensor | None = None
    ) -> dict[str, float] | None:
        """Measure one part of the batch, and give the factors to back-propagate it with.

        Args:
            gradients: Of the losses that are active, on the output of this part.
            gt: Target images (B, C, H, W) in [0, 1], for the complexity of the data.
            others: A scalar that is trained beside the losses: where it is not finite the step is left out as well.

        Returns:
            Factor by loss, its ramp and the number of parts included; None where a loss is not finite and the step is
            left out.

        Raises:
            NonFiniteLossError: Losses were not finite for too many steps in a row.
        """
        self.measure(gradients.values, gradients.norms(), gt, others)
        if self.decides_first and not self.decide():
            return None
        return {name: self.factor(name) * self._ramp(name) / self._step.parts for name in gradients.values}

    def measure(
        self,
        values: Mapping[str, Tensor],
        norms: Mapping[str, Tensor],
        gt: Tensor | None = None,
        others: Tensor | None = None,
    ) -> None:
        """Take in one part of the batch, on the device.

        Args:
            values: L_i of each active loss on this part, as far as they are known.
            norms: n_i of each of them on this part alone, as if it were the whole batch.
            gt: As in `weigh`.
            others: As in `weigh`.
        """
        step = self._step
        for name, norm in norms.items():
            # A loss whose value nobody told goes by its norm; an overflow of that is none of the value.
            value = values[name].detach().float() if name in values else norm.detach().nan_to_num(0.0, 0.0, 0.0)
            value = value.to(norm.dtype)
            add_by_name(step.values, name, value.reshape(()) / step.parts)
            # A loss is a mean over the samples: n of the whole batch is that of a part over their number.
            add_by_name(step.norms, name, norm.detach().reshape(()) / step.parts / step.parts)
        if self.scheduler.wants_complexity and gt is not None:
            score = mean_image_complexity(gt) / step.parts
            step.complexity = score if step.complexity is None else step.complexity + score
        if others is not None:
            value = others.detach().reshape(()).double()
            step.others = value if step.others is None else step.others + value

    def decide(self) -> bool:
        """Read what was measured and decide on this very step. False where it is to be left out.

        Raises:
            NonFiniteLossError: Losses were not finite for too many steps in a row.
        """
        readings, complexity = self._read()
        if not readings:
            return True
        decision = self._decide(readings, complexity)
        self._step.ready = not decision.skip
        if not decision.skip:
            self.held |= decision.factors
        return not decision.skip

    def factor(self, name: str) -> float:
        """Factor of a loss in force: of the latest decision; of a loss without one 1, of an adversarial one 0."""
        if self.observes:
            return 1.0
        unmeasured = 0.0 if self.scheduler.losses[name].role == "adversarial" else 1.0
        return self.held.get(name, unmeasured)

    def ready(self) -> bool:
        """Whether to step the optimizer; False where a loss was not finite and the step is left out.

        Raises:
            NonFiniteLossError: Losses were not finite for too many steps in a row.
        """
        step = self._step
        if self.decides_first:
            return step.ready
        readings, complexity = self._read()
        values_finite = all(math.isfinite(reading.value) for reading in readings.values())
        norms_finite = all(math.isfinite(reading.gradient_norm) for reading in readings.values())
        if values_finite and not norms_finite and self.scaled and not self._overflows.hopeless:
            self.overflowed = True  # the parameters' gradients show it too, and the scaler leaves the step out
            return True
        if values_finite and norms_finite:
            step.decided = (readings, complexity) if readings else None
            return True
        return not self._decide(readings, complexity).skip

    def commit(self, stepped: bool) -> None:
        """Take note of whether the optimizer stepped; decide the factors of the next step where that comes last.

        Raises:
            NonFiniteLossError: Float16 overflowed for so long that no loss scale helps.
        """
        self._overflows.note(stepped)
        decided, self._step.decided = self._step.decided, None
        if stepped and decided is not None:
            self.held |= self._decide(*decided).factors

    @property
    def measured(self) -> bool:
        """Whether anything was measured at this step."""
        return bool(self._step.norms)

    def _ramp(self, name: str) -> float:
        return self._step.ramps.get(name, 1.0)

    # -- readings --------------------------------------------------------------------------------------------------

    def _read(self) -> tuple[dict[str, Reading], float | None]:
        """Bring the readings to the host: one all-reduce, one read."""
        step = self._step
        if group_exists():
            readings, complexity, others = self._read_of_all_ranks()
        else:
            names = [name for name in self.scheduler.losses if name in step.norms]
            last = [row for row in (step.complexity, step.others) if row is not None]
            numbers = _read([*(step.values[n] for n in names), *(step.norms[n] for n in names), *last])
            count = len(names)
            readings = {name: Reading(numbers[i], numbers[count + i], self._ramp(name)) for i, name in enumerate(names)}
            complexity = numbers[2 * count] if step.complexity is not None else None
            others = numbers[-1] if step.others is not None else 0.0
        self.values = {name: reading.value for name, reading in readings.items()}
        if not math.isfinite(others):
            readings["others"] = Reading(others, 0.0)
        return readings, complexity

    def _read_of_all_ranks(self) -> tuple[dict[str, Reading], float | None, float]:
        """Means over the ranks, the same on all of them; the other losses' sum comes last.

        Every rank sends numbers for every loss, whether it has the loss or not: a sum of vectors of different lengths
        would wait for ever. A value is the mean over the ranks that have the loss; a norm the mean over all ranks, as
        gradients are averaged.
        """
        step, names = self._step, list(self.scheduler.losses)
        known = next(iter(step.norms.values()), None)
        device = known.device if known is not None else _device_of_the_group()
        zero, one = torch.zeros((), device=device), torch.ones((), device=device)
        rows = [step.values.get(name, zero) for name in names]
        rows += [step.norms.get(name, zero) for name in names]
        rows += [one if name in step.norms else zero for name in names]
        rows += [zero, zero] if step.complexity is None else [step.complexity, one]
        rows += [zero if step.others is None else step.others]
        vector = torch.stack([row.double() for row in rows])
        torch.distributed.all_reduce(vector)
        numbers = cast("list[float]", vector.tolist())  # pyright: ignore[reportUnknownMemberType]
        count, ranks = len(names), torch.distributed.get_world_size()
        readings: dict[str, Reading] = {}
        for i, name in enumerate(names):
            if having := numbers[2 * count + i]:
                readings[name] = Reading(numbers[i] / having, numbers[count + i] / ranks, self._ramp(name))
        score, scored, others = numbers[3 * count :]
        return readings, score / scored if scored else None, others

    def _decide(self, readings: Mapping[str, Reading], complexity: float | None) -> Step:
        iteration = self._step.iteration
        if not self._told_parameters:
            self._told_parameters = True
            self._tell_parameters(iteration)
        step = self.scheduler.step(iteration, readings, complexity)
        observed = "observed, not applied: " if self.observes else ""
        for decision in step.decisions:
            level = logging.WARNING if decision.kind == "nonfinite" else logging.INFO
            text = f"Loss scheduling, iteration {decision.iteration:,}: {observed}{decision.reason}"
            self.logger.log(level, text, extra={"decision": True})
        if self.decision_log is not None:
            if self._resumed_from is not None:  # only now: a run that is refused before its first step writes nothing
                self.decision_log.rewind(self._resumed_from)
                self._resumed_from = None
            self.decision_log.append(replace(d, reason=f"{observed}{d.reason}") for d in step.decisions)
        if self.observes:
            ones = {name: 1.0 for name in readings if name in self.scheduler.losses}
            shares = shares_of({name: readings[name] for name in ones}, ones)
            step = replace(step, factors=ones, multipliers=ones, shares=shares, skip=False)
        if not step.skip:
            self.last_step = step
            for name, share in step.shares.items():
                self.first_shares.setdefault(name, share)
        return step

    # -- words -----------------------------------------------------------------------------------------------------

    def _tell_parameters(self, iteration: int) -> None:
        self.logger.info(f"Effective parameters:\n{self.scheduler.describe_parameters(iteration)}")
        if self.record is not None and (self._fresh or not self.record.describes("parameters")):
            parameters = self.scheduler.parameters(iteration)
            self.record.describe(
                parameters=[
                    {"name": name, "value": getattr(parameters, name), "provenance": parameters.provenance[name]}
                    for name in parameters.NAMES
                ]
            )
        if self.record is not None:
            self.record.keep_description()

    def weights(self) -> dict[str, float]:
        """Effective weight of each loss since it was last active: base weight, factor and ramp."""
        losses = self.scheduler.losses
        return {name: losses[name].base_weight * factor * self._ramp(name) for name, factor in self.held.items()}

    def log(self) -> dict[str, float]:
        """Numbers for any logger: effective weights and shares, by tag."""
        if self.last_step is None:
            return {}
        weights = self.weights()
        weights = {f"loss_weights/{name}": weights[name] for name in self.last_step.factors}
        return weights | {f"loss_shares/{name}": share for name, share in self.last_step.shares.items()}

    def summary(self) -> list[str]:
        """What the scheduler did over the run, a line per loss; empty where it never ran."""
        step = self.last_step
        if step is None:
            return []
        lines: list[str] = []
        weights = self.weights()
        width = max(map(len, step.factors))
        without = self.scheduler.uncounted(step.factors)
        for name in step.factors:
            target = self.scheduler.signal.target(name)
            aim = f", target {percent(target)}{without}" if target is not None else self._limit_text(name)
            base = self.scheduler.losses[name].base_weight
            lines.append(
                f"{name:<{width}}  {percent(self.first_shares[name]):>7} of the update at first, "
                f"{percent(step.shares[name])} now{aim}; weight {base:g} -> {weights[name]:.3g}"
            )
        if wished := outcome_text(self.scheduler.options, self._roles(), {} if self.observes else step.factors):
            lines.append(wished)
        if self.scheduler.nonfinite_total:
            lines.append(f"{self.scheduler.nonfinite_total} step(s) with NaN or infinity were skipped")
        return lines

    def _roles(self) -> list[LossRole]:
        return [loss.role for loss in self.scheduler.losses.values()]

    def _limit_text(self, name: str) -> str:
        limits = self.scheduler.signal.limits(list(self.scheduler.losses))
        return next((f", {limit_text(limit)}" for limit in limits if name in limit.losses), "")

    # -- state -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """State to save with a training state: plain values that load without running code."""
        return {
            "scheduler": self.scheduler.state_dict(),
            "first_shares": dict(self.first_shares),
            "held": dict(self.held),
        }

    def load_state_dict(self, state: Mapping[str, Any], iteration: int) -> None:
        """Continue from `state_dict()` as saved at an iteration; a state without it starts a fresh calibration.

        What was done since is forgotten: a loop may go back to a state in the middle of a run.
        """
        self._resumed_from = iteration
        self._fresh, self.last_step = True, None
        self.first_shares, self.held = {}, {}
        self.scheduler.load_state_dict(self._at_first)
        if not state:
            self.logger.warning(
                "The training state holds no loss scheduler (it was saved without one); calibration starts afresh."
            )
            return
        try:
            self.scheduler.load_state_dict(state["scheduler"])
        except ForeignStateError as change:
            self.logger.warning(f"{change}; calibration starts afresh.")
            return
        self._fresh = False
        self.first_shares = dict(state["first_shares"])
        self.held = dict(state.get("held", {}))


def group_exists() -> bool:
    """Whether processes train together, be it a single one that was started that way."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def add_by_name(sums: dict[str, Tensor], name: str, value: Tensor) -> None:
    """Add a value to the sum of its name."""
    sums[name] = sums[name] + value if name in sums else value


def _read(rows: Sequence[Tensor]) -> list[float]:
    """One read of the device."""
    if not rows:
        return []
    vector = torch.stack(list(rows))
    return cast("list[float]", vector.tolist())  # pyright: ignore[reportUnknownMemberType]


def _device_of_the_group() -> torch.device:
    nccl = torch.distributed.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")
