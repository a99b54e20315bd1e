"""Keeps the record of a run under our loop; see `scheduling.run_record` for what it holds."""

import argparse
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ....errors import OptionError, RunError, one_line
from ....report.run_history import RunHistory
from ....scheduling.network_size import bare, trainable_parameters
from ....scheduling.run_record import RunRecord, past_line, read_lines
from ..stock_run.reading import read_stock_run
from .preparation import Run
from .run_log import LOGGER


def start_record(run: Run, args: argparse.Namespace) -> None:
    """Begin the record of a run whose folder is there; on rank 0 alone.

    To be called before the run's log opens: the warnings that the log held back until then belong to the record.
    """
    if not run.first_rank:
        return
    scheduled = run.scheduled
    record = (scheduled.run_record() if scheduled is not None else None) or RunRecord(run.folder)
    block = run.in_force["network_g"]
    net = bare(run.model.net_g) if hasattr(run.model, "net_g") else None
    record.describe(
        name=run.options["name"],
        host="basicsr",
        command=getattr(args, "command_line", sys.argv),
        options=run.in_force,
        total_iter=run.total,
        network={"type": block["type"], "parameters": trainable_parameters(net) if net is not None else None},
    )
    record.start(run.iteration, _past(run))
    run.record = record
    run.warnings = _Warnings(run)
    logging.getLogger(LOGGER).addHandler(run.warnings)


def stop_recording(run: Run) -> None:
    """End the record-keeping of this process."""
    if run.warnings is not None:
        logging.getLogger(LOGGER).removeHandler(run.warnings)


def _past(run: Run) -> list[dict[str, Any]]:
    """What the logs tell of a run that goes on from before there was a record."""
    if run.iteration == 0 or read_lines(run.folder):
        return []
    try:
        return _lines_of(read_stock_run(run.folder))
    except Exception as error:  # of files that anybody may have written
        logging.getLogger(LOGGER).warning(f"What this run did before cannot be read; its record lacks it: {error}")
        return []


def _lines_of(history: RunHistory) -> list[dict[str, Any]]:
    spent = history.seconds or 0.0
    lines = [past_line("started", 0, -spent, {"seconds": 0.0})]
    numbers: dict[int, dict[str, float]] = {}
    for tag, points in history.series.items():
        for iteration, value in points:
            numbers.setdefault(iteration, {})[tag] = value
    for iteration in sorted(numbers):
        scalars = {tag: value for tag, value in numbers[iteration].items() if not tag.startswith("metrics/")}
        lines.append(past_line("scalars", iteration, 0.0, {"values": scalars}))
        for tag, value in numbers[iteration].items():
            dataset, _, metric = tag.removeprefix("metrics/").rpartition("/")
            if tag not in scalars and dataset:
                lines.append(past_line("validation", iteration, 0.0, {"set": dataset, "metrics": {metric: value}}))
    for image, files in history.images.items():
        for iteration, file in files.items():
            lines.append(past_line("images", iteration, 0.0, {"files": {image: str(file)}}))
    lines += [past_line("started", i, 0.0, {"seconds": spent}) for i in history.resumed_from]
    lines += [past_line("warning", 0, 0.0, {"text": text}) for text in history.warnings]
    return lines


def record_scalars(run: Run, values: Mapping[str, float]) -> None:
    """The numbers of an iteration, under the tags that the host gives them in TensorBoard, and the learning rate."""
    if run.record is not None:
        tagged = {f"losses/{key}" if key.startswith("l_") else key: value for key, value in values.items()}
        rates = run.model.get_current_learning_rate()
        run.record.scalars(run.iteration, {"lr": rates[0], **tagged})


def record_validation(run: Run) -> None:
    """The metrics of a validation that has just been made, and the images that it saved."""
    if run.record is None:
        return
    files: dict[str, Path] = {}
    for dataset, metrics in run.metrics.items():
        run.record.validation(run.iteration, dataset, metrics)
        # visualization/SET/IMAGE/IMAGE_ITERATION.png
        for file in (Path(run.options["path"]["visualization"]) / dataset).glob(f"*/*_{run.iteration}.png"):
            if file.stem == f"{file.parent.name}_{run.iteration}":
                files[f"{dataset}/{file.parent.name}"] = file
    run.record.images(run.iteration, dict(sorted(files.items())))


def record_validation_before(run: Run) -> None:
    """The metrics of the network that the run begins with, at iteration 0."""
    if run.record is not None:
        for dataset, metrics in run.before.items():
            run.record.validation(0, dataset, metrics)


def recorded_before(run: Run) -> dict[str, dict[str, float]]:
    """What `record_validation_before` wrote when the run began; empty where it did not."""
    lines = read_lines(run.folder) if run.first_rank else []
    return {
        line["set"]: dict(line["metrics"])
        for line in lines
        if line.get("kind") == "validation" and line.get("iteration") == 0
    }


def record_failure(run: Run, error: BaseException) -> None:
    """The run ends with an error."""
    if run.record is None:
        return
    if isinstance(error, OptionError | RunError):
        reason = str(error)
    elif isinstance(error, KeyboardInterrupt):
        reason = "interrupted"
    else:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    run.record.end(run.iteration, "failed", one_line(reason))


class _Warnings(logging.Handler):
    """Takes warnings into the record; those about decisions of the scheduler stand in the decision log."""

    def __init__(self, run: Run):
        super().__init__(logging.WARNING)
        self.run = run

    def emit(self, record: logging.LogRecord) -> None:
        try:
            written = self.run.record
            if written is not None and not getattr(record, "decision", False) and record.levelno < logging.ERROR:
                written.warning(self.run.iteration, " ".join(record.getMessage().split()))
        except Exception:
            self.handleError(record)
