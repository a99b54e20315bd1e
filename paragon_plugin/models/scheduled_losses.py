"""The loss arithmetic of a training step, shared by all models: recipe, scheduler and logs around one output.

    output -> each loss's gradient on it -> readings (one host read) -> scheduler -> one backward pass

With scheduling off, the plain weighted sum is back-propagated as the host does it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import Tensor

from ..losses.recipe import RecipeLoss
from ..options import DynamicLossScheduling
from ..report.decision_log import FILE_NAME, DecisionLog
from ..scheduling.complexity import mean_image_complexity
from ..scheduling.decisions import percent
from ..scheduling.output_gradients import OutputGradients
from ..scheduling.scheduler import DynamicLossScheduler, ForeignStateError, LossInfo, Reading, Step


class ScheduledLosses:
    """Back-propagates a recipe's losses, scheduled or not.

    Args:
        recipe: The losses, on the training device.
        options: The scheduler's option block.
        total_iter: Length of the run.
        size: ParagonSR2 size whose preset auto-calibration takes.
        size_reason: How that size was found, for the log.
        folder: Where the decision log goes; None to keep none (ranks other than 0).
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
    ):
        self.recipe = list(recipe)
        self.base_weights = {term.name: term.weight for loss in recipe for term in loss.terms}
        self.scheduler: DynamicLossScheduler | None = None
        self.decisions = DecisionLog(Path(folder) / FILE_NAME) if folder is not None else None
        self.last_step: Step | None = None
        self.first_shares: dict[str, float] = {}
        self._values: dict[str, Tensor | float] = {}
        self._resumed_from: int | None = None
        if options.enabled:
            infos = [
                LossInfo(term.name, term.role, term.weight)
                for loss in recipe
                for term in loss.terms
                if term.weight != 0
            ]
            self.scheduler = DynamicLossScheduler(infos, options, total_iter=total_iter, size=size)
            rule = options.target_rule if options.signal == "gradient" else options.signal
            alone = " One loss alone: there is nothing to balance." if len(infos) == 1 else ""
            get_root_logger().info(
                f"Loss scheduling: {', '.join(f'{i.name} ({i.role}, weight {i.base_weight:g})' for i in infos)}; "
                f"target {rule}; {size_reason}.{alone}"
            )

    def backward(self, output: Tensor, target: Tensor, iteration: int) -> bool:
        """Evaluate the active losses on the output and back-propagate them through the network.

        Args:
            output: Network output (B, C, H, W) with its graph.
            target: Ground truth of the same shape.
            iteration: Current iteration, from 1.

        Returns:
            Whether to step the optimizer; False where a loss was not finite and nothing was back-propagated.

        Raises:
            NonFiniteLossError: Too many such steps in a row.
        """
        active = [loss for loss in self.recipe if loss.active(iteration)]
        training = [loss for loss in active if loss.trains]
        with torch.no_grad():
            logged = {k: v for loss in active if not loss.trains for k, v in loss(output.detach(), target).items()}
        if not training:
            self._values = dict(logged)
            return False
        if self.scheduler is None:
            losses = {k: v for loss in training for k, v in loss(output, target).items()}
            sum(losses.values(), start=torch.zeros((), device=output.device)).backward()
            self._values = {k: v.detach() for k, v in (losses | logged).items()}
            return True

        gradients = OutputGradients(output)
        for loss in training:
            gradients.add(lambda y, loss=loss: loss(y, target))
        readings, complexity = self._read(self.scheduler, gradients, target)
        self._values = {name: reading.value for name, reading in readings.items()} | logged
        if self.last_step is None:
            get_root_logger().info(f"Effective parameters:\n{self.scheduler.describe_parameters(iteration)}")
        step = self.scheduler.step(iteration, readings, complexity)
        self._record(step)
        if step.skip:
            return False
        gradients.backward(step.factors)
        return True

    def _read(
        self, scheduler: DynamicLossScheduler, gradients: OutputGradients, target: Tensor
    ) -> tuple[dict[str, Reading], float | None]:
        """Bring values, norms and the batch's complexity to the host: one all-reduce, one read."""
        names = list(gradients.values)
        norms = gradients.norms()
        scalars = [gradients.values[name].float() for name in names] + [norms[name] for name in names]
        if scheduler.wants_complexity:
            scalars.append(mean_image_complexity(target))
        vector = torch.stack([scalar.reshape(()) for scalar in scalars])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(vector)
            vector /= torch.distributed.get_world_size()
        numbers = vector.tolist()
        count = len(names)
        readings = {name: Reading(numbers[i], numbers[count + i]) for i, name in enumerate(names)}
        return readings, numbers[2 * count] if len(numbers) > 2 * count else None

    def _record(self, step: Step) -> None:
        logger = get_root_logger()
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

    def log(self) -> dict[str, float]:
        """Values for the host's logger: losses, effective weights and shares. Reads the device if it must."""
        result = {f"l_{name}": float(value) for name, value in self._values.items()}
        if self.last_step is not None:
            for name, factor in self.last_step.factors.items():
                result[f"loss_weights/{name}"] = self.base_weights[name] * factor
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
            weight = self.base_weights[name]
            lines.append(
                f"{name:<{width}}  {percent(self.first_shares[name]):>7} of the update at first, "
                f"{percent(step.shares[name])} now{aim}; weight {weight:g} -> {weight * factor:.3g}"
            )
        if self.scheduler.nonfinite_total:
            lines.append(f"{self.scheduler.nonfinite_total} step(s) with NaN or infinity were skipped")
        return lines

    def state_dict(self) -> dict[str, Any]:
        """State to save with the training state; empty with scheduling off."""
        if self.scheduler is None:
            return {}
        return {"scheduler": self.scheduler.state_dict(), "first_shares": dict(self.first_shares)}

    def load_state_dict(self, state: Mapping[str, Any], iteration: int) -> None:
        """Continue from `state_dict()` as saved at an iteration; a state without it starts a fresh calibration."""
        if self.scheduler is None:
            return
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
        self._resumed_from = iteration
