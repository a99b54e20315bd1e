"""The losses of a training step, shared by all models: a recipe evaluated around one output, balanced or summed.

With scheduling on, `scheduling.step_balance` weighs each loss's gradient on the output. With scheduling off, the plain
weighted sum is back-propagated as the host does it.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ....scheduling.nonfinite import Overflows
from ....scheduling.options import DynamicLossScheduling
from ....scheduling.output_gradients import OutputGradients
from ....scheduling.readings import LossInfo
from ....scheduling.run_record import RunRecord
from ....scheduling.step_balance import StepBalance
from ....scheduling.weights_block import manual_weights
from ..recipe.recipe import LossTerm, RecipeLoss
from ..recipe.step_inputs import StepInputs
from .optimizer_step import OptimizerStep


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
        folder: The run's folder, for the decision log and the record; None to keep none (ranks other than 0).
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
        self.record = RunRecord(folder) if folder is not None else None
        self.balance: StepBalance | None = None
        """The balance of the losses; None with scheduling off."""
        self._values: dict[str, Tensor | float] = {}
        self._iteration, self._parts = 0, 1
        self._overflows = Overflows()
        if self.record is not None:
            self.record.describe(
                scheduling=options,
                target=options.target_rule,
                total_iter=total_iter,
                losses=[{"name": t.name, "role": t.role, "weight": t.weight} for t in self.terms.values()],
            )
        if options.enabled:
            self.balance = StepBalance(
                [LossInfo(t.name, t.role, t.weight) for t in self.terms.values() if t.weight != 0],
                options,
                total_iter=total_iter,
                size=size,
                size_reason=size_reason,
                folder=folder,
                record=self.record,
                decides_first=step.options.accum_iter == 1 and step.options.precision != "fp16",
                scaled=step.scaler is not None,
            )

    # -- one step --------------------------------------------------------------------------------------------------

    def begin(self, iteration: int, parts: int = 1) -> None:
        """Start an optimizer step whose batch comes in so many parts."""
        self._iteration, self._parts = iteration, parts
        self._values = {}
        if self.balance is not None:
            self.balance.begin(iteration, parts, {name: term.ramp(iteration) for name, term in self.terms.items()})

    def backward(self, output: Tensor, inputs: StepInputs) -> None:
        """Evaluate the active losses on the output of one part, and back-propagate them through the network.

        Args:
            output: Network output (B, C, H, W) with its graph.
            inputs: What the losses compare it with.

        Raises:
            NonFiniteLossError: Losses were not finite for too many steps in a row.
        """
        active = [loss for loss in self.recipe if loss.active(self._iteration)]
        training = [loss for loss in active if loss.trains]
        if self.balance is None:
            self._backward_sum(training, output, inputs)
        else:
            gradients = OutputGradients(output, self.step.loss_scale())
            for group in sharing_a_pass(training):
                gradients.add(lambda y, group=group: self.evaluate(group, y, inputs))
            factors = self.balance.weigh(gradients, inputs.gt)
            if factors is not None:
                gradients.backward(factors)
        # Last: what the discriminator says is kept for the whole batch, and must be kept with its graph.
        with torch.no_grad():
            for loss in active:
                if not loss.trains:
                    self._log_values(self.evaluate([loss], output.detach(), inputs))

    def ready(self) -> bool:
        """Whether to step the optimizer; see `StepBalance.ready`."""
        return self.balance is None or self.balance.ready()

    def commit(self, stepped: bool) -> None:
        """Take note of whether the optimizer stepped; see `StepBalance.commit`."""
        if self.balance is not None:
            self.balance.commit(stepped)
        else:
            self._overflows.note(stepped)

    def evaluate(self, losses: Sequence[RecipeLoss], output: Tensor, inputs: StepInputs) -> dict[str, Tensor]:
        """Values of losses on an output, by term name."""
        with self.step.autocast():
            return {name: value for loss in losses for name, value in loss(output, inputs).items()}

    def _backward_sum(self, losses: Sequence[RecipeLoss], output: Tensor, inputs: StepInputs) -> None:
        values = self.evaluate(losses, output, inputs)
        self._log_values({name: value.detach() for name, value in values.items()})
        total: Tensor | None = None
        for name, value in values.items():
            factor = self.terms[name].ramp(self._iteration) / self._parts
            value = value if factor == 1 else value * factor
            total = value if total is None else total + value
        if total is None:
            return
        scale = self.step.loss_scale()
        (total if scale is None else total * scale).backward()

    # -- numbers and words -----------------------------------------------------------------------------------------

    def _log_values(self, values: Mapping[str, Tensor]) -> None:
        """Add one part's values to those of the step: means over its parts."""
        parts = self._parts
        for name, value in values.items():
            value = value if parts == 1 else value / parts
            self._values[name] = self._values[name] + value if name in self._values else value

    def latest(self) -> dict[str, Tensor | float]:
        """Value of each loss at the latest step, in the recipe's order, where it is."""
        known = self._values | (self.balance.values if self.balance is not None else {})
        return {name: known[name] for name in self.terms if name in known}

    def values(self) -> dict[str, float]:
        """As `latest`, on the host. Reads the device if it must."""
        return {name: float(value) for name, value in self.latest().items()}

    def log(self) -> dict[str, float]:
        """Values for the host's logger: losses, effective weights and shares."""
        losses = {f"l_{name}": value for name, value in self.values().items()}
        return losses | (self.balance.log() if self.balance is not None else {})

    def progress(self) -> dict[str, str]:
        """Short texts for a progress line: each loss's value and, where scheduled, its factor."""
        last = self.balance.last_step if self.balance is not None else None
        factors = last.factors if last is not None else {}
        return {
            name: f"{value:.3g}" + (f" x{factors[name]:.3g}" if name in factors else "")
            for name, value in self.values().items()
        }

    def summary(self) -> list[str]:
        """What the scheduler did over the run, a line per loss, and the weights to go on with.

        Empty where it was off or never ran.
        """
        lines = self.balance.summary() if self.balance is not None else []
        if self.balance is not None and lines and not self.balance.observes:
            lines += ["The weights it arrived at, as constants:", *manual_weights(self.balance.weights())]
        return lines

    # -- state -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """State to save with the training state; empty with scheduling off."""
        return self.balance.state_dict() if self.balance is not None else {}

    def load_state_dict(self, state: Mapping[str, Any], iteration: int) -> None:
        """Continue from `state_dict()` as saved at an iteration; a state without it starts a fresh calibration."""
        if self.balance is not None:
            self.balance.load_state_dict(state, iteration)


def sharing_a_pass(losses: Sequence[RecipeLoss]) -> Iterator[list[RecipeLoss]]:
    """The losses in groups that share a sub-graph: those of the discriminator together, any other alone."""
    together = [loss for loss in losses if loss.call.uses_discriminator]
    for loss in losses:
        if loss not in together:
            yield [loss]
    if together:
        yield together
