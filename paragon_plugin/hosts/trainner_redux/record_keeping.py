"""Keeps the record of a run of redux, from what its training loop calls; see `scheduling.run_record`."""

import atexit
import logging
import re
import sys
from pathlib import Path
from typing import Any

from ...errors import one_line
from ...scheduling import LossBalance
from ...scheduling.network_size import bare, trainable_parameters
from ...scheduling.options import DynamicLossScheduling
from ...scheduling.run_record import RunRecord, plain
from .options import role

LOGGER = "traiNNer"
_MARKUP = re.compile(r"\[/?[a-z][a-z ]*\]")

_IN_TENSORBOARD = {"l_": "losses/", "grad_norm_": "grad_norms/", "scale_": "scales/"}
"""Folders that redux gives to names by their beginning."""


class Run:
    """A run of redux, seen from the methods that its loop calls on the model.

    Args:
        model: redux's `SRModel`.
        record: The run's record; None on other ranks than the first.
    """

    def __init__(self, model: Any, record: RunRecord | None):
        self.model = model
        self.record = record
        self.balance: LossBalance | None = None
        self.iteration = 0
        """Iterations done, by redux's count: optimizer steps, those that were left out included."""
        self._failure = ""
        self._before_start: list[str] = []
        """Warnings from before the first iteration."""
        self._validations_left: int | None = None
        """Validations that are still to come after the last iteration; None before it."""

    def keep(self) -> None:
        """Follow what the training loop does with the model."""
        model = self.model
        model.optimize_parameters = self._around_step(model.optimize_parameters)
        model.get_current_log = self._around_log(model.get_current_log)
        if self.record is not None:
            model.validation = self._around_validation(model.validation)
            model.save = self._around_save(model.save)
            logging.getLogger(LOGGER).addHandler(_Warnings(self))
            atexit.register(self._end)

    def count(self, *_: Any) -> None:
        """Number the balance's next step by redux's count."""
        if self.balance is not None:
            self.balance.iteration = self.iteration

    def describe(self, block: DynamicLossScheduling) -> None:
        """Say what the run is."""
        if self.record is None:
            return
        opt = self.model.opt
        options = plain(opt)
        options.pop("contents", None)  # the file's text
        self.record.describe(
            name=opt.name,
            host="traiNNer-redux",
            command=sys.argv,
            options=_told(options),
            total_iter=opt.train.total_iter,
            scheduling=block,
            target=block.target_rule,
            losses=[
                {"name": label, "role": role(type(loss).__name__), "weight": abs(float(loss.loss_weight))}
                for label, loss in self.model.losses.items()
            ],
            network={"type": opt.network_g["type"], "parameters": trainable_parameters(bare(self.model.net_g))},
        )

    # -- what the loop calls ---------------------------------------------------------------------------------------

    def _around_step(self, original: Any) -> Any:
        def optimize_parameters(current_iter: int, current_accum_iter: int, apply_gradient: bool) -> None:
            self.iteration = current_iter - 1 if apply_gradient else current_iter
            if self.record is not None and not self.record.started:
                self.record.start(self.iteration)
                for text in self._before_start:
                    self.record.warning(self.iteration, text)
            self.count()
            original(current_iter, current_accum_iter, apply_gradient)
            self.iteration = current_iter

        return optimize_parameters

    def _around_log(self, original: Any) -> Any:
        def get_current_log() -> dict[str, Any]:
            values = original()
            numbers = {} if self.balance is None else self.balance.log()
            decided = {tag: value for tag, value in numbers.items() if not tag.startswith("losses/")}
            if self.record is not None and values:
                rate = self.model.get_current_learning_rate()[0]
                self.record.scalars(self.iteration, {"lr": rate, **self._tagged(values), **decided})
            return {**values, **decided}

        return get_current_log

    def _around_validation(self, original: Any) -> Any:
        def validation(dataloader: Any, current_iter: int, *args: Any, **kwargs: Any) -> None:
            original(dataloader, current_iter, *args, **kwargs)
            if self.record is not None and self.record.started:
                if self.model.with_metrics:
                    metrics = {name: float(value) for name, value in self.model.metric_results.items()}
                    self.record.validation(self.iteration, dataloader.dataset.opt.name, metrics)
                self.record.images(self.iteration, self._images(current_iter))
            if self._validations_left is not None:
                self._validations_left -= 1
                self._finish_if_done()

        return validation

    def _around_save(self, original: Any) -> Any:
        def save(epoch: int, current_iter: int) -> None:
            original(epoch, current_iter)
            if current_iter == -1:  # redux saves so after its last iteration, and validates each set once more
                opt = self.model.opt
                sets = [phase for phase in opt.datasets if phase.split("_")[0] == "val"]
                self._validations_left = len(sets) if opt.val is not None and opt.val.val_enabled else 0
                self._finish_if_done()

        return save

    # -- what is recorded ------------------------------------------------------------------------------------------

    def _tagged(self, values: dict[str, Any]) -> dict[str, float]:
        """redux's numbers as its TensorBoard names them: a loss as the sum of its parts, and no sum of all losses."""
        found: dict[str, float] = {}
        for key, value in values.items():
            of_key = (label for label in self.model.losses if key == label or key.startswith(f"{label}_"))
            if label := next(of_key, None):
                found[f"losses/l_{label}"] = found.get(f"losses/l_{label}", 0.0) + float(value)
            elif key != "l_g_total":
                folder = next((folder for start, folder in _IN_TENSORBOARD.items() if key.startswith(start)), "")
                found[f"{folder}{key}"] = float(value)
        return found

    def _images(self, iteration: int) -> dict[str, Path]:
        """What a validation has just saved; redux names it IMAGE/IMAGE_ITERATION.png."""
        folder = self.model.opt.path.visualization
        saved = sorted(Path(folder).rglob(f"*_{iteration:06d}.png")) if folder else []
        return {file.parent.name: file for file in saved}

    def _finish_if_done(self) -> None:
        if self._validations_left == 0:
            if self.balance is not None:
                self.balance.finish()
            if self.record is not None:
                self.record.end(self.iteration, "finished")

    def warn(self, text: str) -> None:
        """Take a warning of the log into the record."""
        if self.record is None:
            return
        if self.record.started:
            self.record.warning(self.iteration, text)
        else:
            self._before_start.append(text)

    def fail(self, reason: str) -> None:
        """The loop has met an error; it saves, and ends the process."""
        self._failure = reason

    def _end(self) -> None:
        """The process ends. A run that was killed says nothing, which the report understands."""
        if self.record is not None and self.record.started:
            self.record.end(self.iteration, "failed" if self._failure else "stopped", self._failure)


class _Warnings(logging.Handler):
    """Takes warnings and the error that ends a run from redux's log; decisions stand in a log of their own."""

    def __init__(self, run: Run):
        super().__init__(logging.WARNING)
        self.run = run

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if record.exc_info and record.exc_info[1] is not None:
                error = record.exc_info[1]
                self.run.fail(one_line(f"{type(error).__name__}: {error}"))
            elif not getattr(record, "decision", False):
                self.run.warn(" ".join(_MARKUP.sub("", record.getMessage()).split()))
        except Exception:
            self.handleError(record)


def _told(options: Any) -> Any:
    """Options without those that say nothing."""
    if isinstance(options, dict):
        return {key: _told(value) for key, value in options.items() if value is not None}
    return options
