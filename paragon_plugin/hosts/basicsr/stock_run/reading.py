"""A run of BasicSR's own loop, or of version 0.1, read from its logs, TensorBoard events and images."""

import re
import statistics
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from ....errors import OptionError
from ....report.forgiving import part
from ....report.logged_decisions import read_decisions
from ....report.recorded_run import recorded_parameters, recorded_recipe, recorded_scheduling
from ....report.references import FILE_NAME as RECORD
from ....report.references import FOLDER, read_records
from ....report.run_history import Points, RunHistory, State
from ....scheduling.decision_log import FILE_NAME as DECISIONS
from ....scheduling.options import DynamicLossScheduling, parse_dynamic_loss_scheduling
from ....scheduling.run_record import read_head
from ..options.scheduling_block import BLOCK
from .event_files import read_scalars
from .log_reading import TrainingLog, read_training_log, whole_or_none

QUIET_SECONDS = 120
QUIET_STEPS = 5


def read_stock_run(folder: Path, now: float | None = None) -> RunHistory:
    """Read a run's folder and its TensorBoard folder. Where our model left a description of itself, that counts.

    Args:
        folder: `experiments/NAME`; TensorBoard's files are expected in `tb_logger/NAME` beside `experiments`.
        now: Seconds since the epoch by which to tell a running from a silent run. Default: the present.
    """
    folder, left_out = folder.resolve(), list[str]()
    head = read_head(folder) or {}
    files = sorted(folder.glob("train_*.log"), key=lambda file: file.name[-19:])  # names end in date and time
    logs = [log for log in (_log(file, left_out) for file in files) if log.began]  # one without entries tells nothing
    newest = logs[-1] if logs else TrainingLog()
    series = _series(logs, read_scalars(event_folder(folder), left_out))
    reached = max((points[-1][0] for points in series.values() if points), default=0)
    decisions = read_decisions(folder, left_out)
    iteration = max(newest.iteration, reached, decisions[-1].iteration if decisions else 0)
    total = whole_or_none(newest.options.get("train.total_iter", ""))
    state = _state(folder, files, newest, iteration, total, now or time.time())
    if state == "finished" and total is not None:
        iteration = max(iteration, total)
    named = [log for log in logs if log.network]
    recipe = recorded_recipe(head) or next((log.recipe for log in reversed(logs) if log.recipe), {})
    return RunHistory(
        name=newest.options.get("name", folder.name),
        folder=folder,
        state=state,
        iteration=iteration,
        total=total,
        seconds=sum((log.last - log.began).total_seconds() for log in logs if log.last and log.began) or None,
        eta=newest.eta,
        options=newest.options,
        scheduling=recorded_scheduling(head) or _scheduling(newest.options, recipe),
        network=newest.options.get("network_g.type", named[-1].network if named else ""),
        network_parameters=named[-1].network_parameters if named else 0,
        series=series,
        recipe=recipe,
        parameters=recorded_parameters(head) or next((log.parameters for log in logs if log.parameters), []),
        decisions=decisions,
        warnings=list(dict.fromkeys(text for log in logs for text in log.warnings)),
        resumed_from=[log.resumed_from for log in logs if log.resumed_from is not None],
        failure="",
        references=read_records(folder / FOLDER / RECORD, left_out),
        images=part("the saved images", lambda: _images(folder / "visualization"), {}, left_out),
        left_out=left_out,
    )


def _log(file: Path, left_out: list[str]) -> TrainingLog:
    log = part(file.name, lambda: read_training_log(file), TrainingLog(), left_out)
    if log.unread:
        left_out.append(f"{file.name}: {log.unread} entries cannot be read")
    return log


def stock_traces(folder: Path) -> bool:
    """Whether a folder holds what such a run leaves behind."""
    traces = [*folder.glob("train_*.log"), folder / DECISIONS, *event_folder(folder).glob("events.out.tfevents.*")]
    return any(trace.is_file() for trace in traces)


def event_folder(folder: Path) -> Path:
    """Where BasicSR puts the TensorBoard files of a run."""
    return folder.resolve().parent.parent / "tb_logger" / folder.resolve().name


def _scheduling(options: Mapping[str, str], recipe: Mapping[str, Any]) -> DynamicLossScheduling | None:
    """The scheduler's block from the log's dump of the options; where that fails, what its being told of says."""
    block: dict[str, Any] = {}
    for path, text in options.items():
        if path.startswith(f"{BLOCK}."):
            *outer, key = path[len(BLOCK) + 1 :].split(".")
            try:
                value = yaml.safe_load(text)
            except (yaml.YAMLError, ValueError, RecursionError, TypeError):
                continue
            if value not in (None, "None"):
                (block.setdefault(outer[0], {}) if outer else block)[key] = value
    try:
        return parse_dynamic_loss_scheduling(block) if block else _told_of(recipe)
    except (OptionError, AttributeError, TypeError):
        return _told_of(recipe)


def _told_of(recipe: Mapping[str, Any]) -> DynamicLossScheduling | None:
    return DynamicLossScheduling(enabled=True) if recipe else None


def _series(logs: list[TrainingLog], scalars: dict[str, Points]) -> dict[str, Points]:
    """Both sources as one: TensorBoard has more digits, the log is written through at once."""
    from_logs: dict[str, Points] = {}
    for log in logs:
        for tag in {*from_logs, *log.series}:
            undone = float("inf") if log.resumed_from is None else log.resumed_from
            kept = [point for point in from_logs.get(tag, []) if point[0] <= undone]
            from_logs[tag] = sorted(dict(kept + log.series.get(tag, [])).items())
    series = {tag: list(points) for tag, points in scalars.items() if points}
    for tag, points in from_logs.items():
        last = series[tag][-1][0] if tag in series else -1
        series[tag] = series.get(tag, []) + [point for point in points if point[0] > last]
    order = list(dict.fromkeys([*(tag for log in logs for tag in log.series), *series]))
    return {tag: series[tag] for tag in order}


def _images(folder: Path) -> dict[str, dict[int, Path]]:
    found: dict[str, dict[int, Path]] = {}
    # visualization/IMAGE/IMAGE_ITERATION.png is the host's place; visualization/SET/IMAGE/... is ours
    for file in sorted([*folder.glob("*/*.png"), *folder.glob("*/*/*.png")]):
        if match := re.fullmatch(re.escape(file.parent.name) + r"_([0-9]{1,12})", file.stem):
            found.setdefault(file.parent.relative_to(folder).as_posix(), {})[int(match[1])] = file
    return {image: dict(sorted(files.items())) for image, files in found.items()}


def _state(folder: Path, files: list[Path], log: TrainingLog, iteration: int, total: int | None, now: float) -> State:
    if log.ended:
        return "finished"
    weights = folder / "models" / "net_g_latest.pth"  # written once, at the end
    if weights.is_file():
        newer = log.began is None or weights.stat().st_mtime >= log.began.timestamp()
        if newer or (total is not None and iteration >= total):
            return "finished"
    if log.stopped_at is not None:
        return "stopped"
    traces = [*files[-1:], folder / DECISIONS]
    age = now - max((trace.stat().st_mtime for trace in traces if trace.is_file()), default=0.0)
    times = log.step_times[-20:]
    gaps = [(b - a).total_seconds() for a, b in pairwise(times)]
    patience = max(QUIET_SECONDS, QUIET_STEPS * statistics.median(gaps) if gaps else 0)
    return "running" if age < patience else "silent"
