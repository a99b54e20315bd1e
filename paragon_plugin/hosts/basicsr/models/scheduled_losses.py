"""The loss arithmetic of a training step, shared by all models: recipe, scheduler and logs around one output.

    output -> each loss's gradient on it -> readings (one host read) -> scheduler -> one backward pass

A batch that fits is decided on before its own backward pass. One that is computed in several parts, or in float16,
whose overflow shows only after the backward pass, is back-propagated with the factors decided on at the step before,
and read and decided on at its end: still one read and one decision per optimizer step, and a step that is left out
touches nothing.

With scheduling off, the plain weighted sum is back-propagated as the host does it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import Tensor

from ....scheduling.complexity import mean_image_complexity
from ....scheduling.decision_log import FILE_NAME, DecisionLog
from ....scheduling.decisions import percent
from ....scheduling.options import DynamicLossScheduling
from ....scheduling.output_gradients import OutputGradients
from ....scheduling.scheduler import (
    DynamicLossScheduler,
    ForeignStateError,
    LossInfo,
    NonFiniteLossError,
    Reading,
    Step,
)
from ..recipe.recipe import LossTerm, RecipeLoss
from ..recipe.step_inputs import StepInputs
from .optimizer_step import OptimizerStep

MAX_OVERFLOWS = 40
"""Float16 steps in a row that may overflow: each halves the loss scale, which starts at 2^16."""


@dataclass
class _Batch:
    """One optimizer step under way."""

    iteration: int
    parts: int
    ready: bool = True
    readings: Tensor | None = None
    """Sum over the parts of values, norms and complexity, on the device."""
    names: list[str] = field(default_factory=list)
    decided: tuple[dict[str, Reading], float | None] | None = None
    """What the scheduler is told once the optimizer has stepped."""


class ScheduledLosses:
    """Back-propagates a recipe's losses, scheduled or not.

    Per optimizer step: `begin`, `backward` for each part of the batch, `ready`, and where that says so the optimizer's
    step and `commit`.

    Args:
        recipe: The losses, on the training device.
        options: The scheduler's option block.
        total_iter: Length of the run.
        size: ParagonSR2 size whose preset auto-calibration takes.
        size_reason: How that size was found, for the log.
        folder: Where the decision log goes; None to keep none (ranks other than 0).
        step: The generator's optimizer step: precision, loss scale, number of parts.
    """

    def __init__(
        self,
        recipe: Sequence[RecipeLoss],
        options: DynamicLossScheduling,
        *,
        total_iter: int,
        size: str,
        size_reason: str,
        folder: str | Path | None,
        step: OptimizerStep,
    ):
        self.recipe = list(recipe)
        self.step = step
        self.terms: dict[str, LossTerm] = {term.name: term for loss in recipe for term in loss.terms}
        self.scheduler: DynamicLossScheduler | None = None
        self.decides_first = step.options.accum_iter == 1 and step.options.precision != "fp16"
        self.decisions = DecisionLog(Path(folder) / FILE_NAME) if folder is not None else None
        self.last_step: Step | None = None
        self.first_shares: dict[str, float] = {}
        self._held: dict[str, float] = {}
        self._values: dict[str, Tensor | float] = {}
        self._batch = _Batch(0, 1)
        self._overflows = 0
        self._resumed_from: int | None = None
        if options.enabled:
            infos = [LossInfo(t.name, t.role, t.weight) for t in self.terms.values() if t.weight != 0]
            self.scheduler = DynamicLossScheduler(infos, options, total_iter=total_iter, size=size)
            rule = options.target_rule if options.signal == "gradient" else options.signal
            alone = " One loss alone: there is nothing to balance." if len(infos) == 1 else ""
            get_root_logger().info(
                f"Loss scheduling: {', '.join(f'{i.name} ({i.role}, weight {i.base_weight:g})' for i in infos)}; "
                f"target {rule}; {size_reason}.{alone}"
            )

    # -- one step --------------------------------------------------------------------------------------------------

    def begin(self, iteration: int, parts: int = 1) -> None:
        """Start an optimizer step whose batch comes in so many parts."""
        self._batch = _Batch(iteration, parts)
        self._values = {}

    def backward(self, output: Tensor, inputs: StepInputs) -> None:
        """Evaluate the active losses on the output of one part, and back-propagate them through the network.

        Args:
            output: Network output (B, C, H, W) with its graph.
            inputs: What the losses compare it with.

        Raises:
            NonFiniteLossError: Losses were not finite for too many steps in a row.
        """
        batch = self._batch
        active = [loss for loss in self.recipe if loss.active(batch.iteration)]
        training = [loss for loss in active if loss.trains]
        if self.scheduler is None:
            self._backward_sum(training, output, inputs)
        else:
            self._backward_scheduled(self.scheduler, training, output, inputs)
        # Last: what the discriminator says is kept for the whole batch, and must be kept with its graph.
        with torch.no_grad():
            for loss in active:
                if not loss.trains:
                    self._log_values(self._evaluate([loss], output.detach(), inputs))

    def _backward_scheduled(
        self, scheduler: DynamicLossScheduler, training: Sequence[RecipeLoss], output: Tensor, inputs: StepInputs
    ) -> None:
        batch = self._batch
        gradients = OutputGradients(output, self.step.loss_scale())
        for group in _sharing_a_pass(training):
            gradients.add(lambda y, group=group: self._evaluate(group, y, inputs))
        self._take_readings(scheduler, gradients, inputs.gt)
        if self.decides_first:
            readings, complexity = self._read()
            step = self._decide(scheduler, readings, complexity)
            batch.ready = not step.skip
            if step.skip:
                return
            factors = step.factors
        else:
            factors = {name: self._held.get(name, self._unmeasured(name)) for name in batch.names}
        gradients.backward({name: self._ramped(name, factors[name]) / batch.parts for name in batch.names})

    def ready(self) -> bool:
        """Whether to step the optimizer; False where a loss was not finite and the step is left out.

        Raises:
            NonFiniteLossError: Losses were not finite for too many steps in a row.
        """
        batch = self._batch
        if self.scheduler is None or self.decides_first:
            return batch.ready
        readings, complexity = self._read()
        values_finite = all(math.isfinite(reading.value) for reading in readings.values())
        norms_finite = all(math.isfinite(reading.gradient_norm) for reading in readings.values())
        scaled = self.step.scaler is not None
        if values_finite and not norms_finite and scaled and self._overflows < MAX_OVERFLOWS:
            return True  # overflow: the parameters' gradients show it too, and the scaler leaves the step out
        if values_finite and norms_finite:
            batch.decided = readings, complexity
            return True
        return not self._decide(self.scheduler, readings, complexity).skip

    def commit(self, stepped: bool) -> None:
        """Take note of whether the optimizer stepped; decide the factors of the next step where that comes last.

        Raises:
            NonFiniteLossError: Float16 overflowed for so long that no loss scale helps.
        """
        if not stepped:
            self._overflows += 1
            if self._overflows > MAX_OVERFLOWS:
                raise NonFiniteLossError(["the gradient of the network"], self._overflows)
            return
        self._overflows = 0
        if self.scheduler is not None and self._batch.decided is not None:
            self._held = dict(self._decide(self.scheduler, *self._batch.decided).factors)

    def _evaluate(self, losses: Sequence[RecipeLoss], output: Tensor, inputs: StepInputs) -> dict[str, Tensor]:
        with self.step.autocast():
            return {name: value for loss in losses for name, value in loss(output, inputs).items()}

    def _backward_sum(self, losses: Sequence[RecipeLoss], output: Tensor, inputs: StepInputs) -> None:
        values = self._evaluate(losses, output, inputs)
        self._log_values({name: value.detach() for name, value in values.items()})
        total: Tensor | None = None
        for name, value in values.items():
            factor = self._ramped(name, 1.0) / self._batch.parts
            value = value if factor == 1 else value * factor
            total = value if total is None else total + value
        if total is None:
            return
        scale = self.step.loss_scale()
        (total if scale is None else total * scale).backward()

    def _ramped(self, name: str, factor: float) -> float:
        return factor * self.terms[name].ramp(self._batch.iteration)

    def _unmeasured(self, name: str) -> float:
        """Factor of a loss at its first step, where that is decided on afterwards: an adversarial one waits."""
        return 0.0 if self.terms[name].role == "adversarial" else 1.0

    # -- readings --------------------------------------------------------------------------------------------------

    def _take_readings(self, scheduler: DynamicLossScheduler, gradients: OutputGradients, gt: Tensor) -> None:
        """Add values, norms and complexity of one part, on the device."""
        batch = self._batch
        batch.names = list(gradients.values)
        norms = gradients.norms()
        # A loss is a mean over the samples: n of the whole batch is that of a part over their number.
        scalars = [gradients.values[name].float() for name in batch.names]
        scalars += [norms[name] / batch.parts for name in batch.names]
        if scheduler.wants_complexity:
            scalars.append(mean_image_complexity(gt))
        vector = torch.stack([scalar.reshape(()) for scalar in scalars]) / batch.parts
        batch.readings = vector if batch.readings is None else batch.readings + vector

    def _read(self) -> tuple[dict[str, Reading], float | None]:
        """Bring the readings to the host: one all-reduce, one read."""
        vector, names = self._batch.readings, self._batch.names
        assert vector is not None
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(vector)
            vector = vector / torch.distributed.get_world_size()
        numbers = vector.tolist()
        count = len(names)
        readings = {
            name: Reading(numbers[i], numbers[count + i], self._ramped(name, 1.0)) for i, name in enumerate(names)
        }
        self._values |= {name: reading.value for name, reading in readings.items()}
        return readings, numbers[2 * count] if len(numbers) > 2 * count else None

    def _decide(
        self, scheduler: DynamicLossScheduler, readings: Mapping[str, Reading], complexity: float | None
    ) -> Step:
        logger, iteration = get_root_logger(), self._batch.iteration
        if self.last_step is None:
            logger.info(f"Effective parameters:\n{scheduler.describe_parameters(iteration)}")
        step = scheduler.step(iteration, readings, complexity)
        for decision in step.decisions:
            level = logger.warning if decision.kind == "nonfinite" else logger.info
            level(f"Loss scheduling, iteration {decision.iteration:,}: {decision.reason}")
        if self.decisions is not None:
            if self._resumed_from is not None:  # only now: a run that is refused before its first step writes nothing
                self.decisions.rewind(self._resumed_from)
                self._resumed_from = None
            self.decisions.append(step.decisions)
        if not step.skip:
            self.last_step = step
            for name, share in step.shares.items():
                self.first_shares.setdefault(name, share)
        return step

    # -- words -----------------------------------------------------------------------------------------------------

    def _log_values(self, values: Mapping[str, Tensor]) -> None:
        """Add one part's values to those of the step: means over its parts."""
        parts = self._batch.parts
        for name, value in values.items():
            value = value if parts == 1 else value / parts
            self._values[name] = self._values[name] + value if name in self._values else value

    def log(self) -> dict[str, float]:
        """Values for the host's logger: losses, effective weights and shares. Reads the device if it must."""
        result = {f"l_{name}": float(value) for name, value in self._values.items()}
        if self.last_step is not None:
            for name, factor in self.last_step.factors.items():
                result[f"loss_weights/{name}"] = self._ramped(name, self.terms[name].weight * factor)
            for name, share in self.last_step.shares.items():
                result[f"loss_shares/{name}"] = share
        return result

    def progress(self) -> dict[str, str]:
        """Short texts for a progress line: each loss's value and, where scheduled, its factor."""
        factors = self.last_step.factors if self.last_step is not None else {}
        return {
            name: f"{float(value):.3g}" + (f" x{factors[name]:.3g}" if name in factors else "")
            for name, value in self._values.items()
        }

    def summary(self) -> list[str]:
        """What the scheduler did over the run, a line per loss; empty where it was off or never ran."""
        if self.scheduler is None or self.last_step is None:
            return []
        step, lines = self.last_step, []
        width = max(map(len, step.factors))
        for name, factor in step.factors.items():
            target = self.scheduler.signal.target(name)
            aim = f", target {percent(target)}" if target is not None else ""
            weight = self.terms[name].weight
            lines.append(
                f"{name:<{width}}  {percent(self.first_shares[name]):>7} of the update at first, "
                f"{percent(step.shares[name])} now{aim}; weight {weight:g} -> {self._ramped(name, weight * factor):.3g}"
            )
        if self.scheduler.nonfinite_total:
            lines.append(f"{self.scheduler.nonfinite_total} step(s) with NaN or infinity were skipped")
        return lines

    # -- state -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """State to save with the training state; empty with scheduling off."""
        if self.scheduler is None:
            return {}
        return {
            "scheduler": self.scheduler.state_dict(),
            "first_shares": dict(self.first_shares),
            "held": dict(self._held),
        }

    def load_state_dict(self, state: Mapping[str, Any], iteration: int) -> None:
        """Continue from `state_dict()` as saved at an iteration; a state without it starts a fresh calibration."""
        if self.scheduler is None:
            return
        self._resumed_from = iteration
        if not state:
            get_root_logger().warning(
                "The training state holds no loss scheduler (it was saved without one); calibration starts afresh."
            )
            return
        try:
            self.scheduler.load_state_dict(state["scheduler"])
        except ForeignStateError as change:
            get_root_logger().warning(
                f"The loss scheduler's options have changed ({change}); calibration starts afresh."
            )
            return
        self.first_shares = dict(state["first_shares"])
        self._held = dict(state.get("held", {}))


def _sharing_a_pass(losses: Sequence[RecipeLoss]) -> Iterator[list[RecipeLoss]]:
    """The losses in groups that share a sub-graph: those of the discriminator together, any other alone."""
    together = [loss for loss in losses if loss.call.uses_discriminator]
    for loss in losses:
        if loss not in together:
            yield [loss]
    if together:
        yield together
