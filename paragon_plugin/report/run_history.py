"""A run as plain data, read from what it left on disk: log, TensorBoard events, decisions, images.

Everything is optional but the folder: a run without TensorBoard, without a scheduler, of another model, killed or still
going gives what there is.
"""

import json
import re
import statistics
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

from ..errors import OptionError
from ..hosts.basicsr.stock_run.event_files import read_scalars
from ..hosts.basicsr.stock_run.log_reading import Points, TrainingLog, read_training_log
from ..scheduling.decision_log import FILE_NAME as DECISIONS
from ..scheduling.options import BLOCK
from .record_files import FILE_NAME as RECORD
from .record_files import FOLDER, SetRecord, read_records

State = Literal["finished", "stopped", "running", "silent"]
"""`silent`: neither finished nor stopped, and nothing was written for a while; most likely killed."""

QUIET_SECONDS = 120
QUIET_STEPS = 5


@dataclass(frozen=True)
class LoggedDecision:
    """A line of the decision log; see `scheduling.decisions.Decision`."""

    iteration: int
    kind: str
    reason: str
    losses: tuple[str, ...] = ()
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RunHistory:
    """What is known of a run."""

    name: str
    folder: Path
    state: State
    iteration: int
    total: int | None
    seconds: float | None
    """From the start of each log to its last line, summed over resumed parts."""
    eta: str
    options: dict[str, str]
    """As text by dotted path, overrides included; empty without a log."""
    network: str
    network_parameters: int
    series: dict[str, Points]
    recipe: dict[str, tuple[str, float]]
    parameters: list[tuple[str, str, str]]
    decisions: list[LoggedDecision]
    warnings: list[str]
    resumed_from: list[int]
    stopped_at: int | None
    references: dict[str, SetRecord]
    images: dict[str, dict[int, Path]]
    """Saved validation images: {image: {iteration: file}}."""

    def under(self, prefix: str) -> dict[str, Points]:
        """Series of one kind by their short names, such as those under `loss_shares/`."""
        return {tag[len(prefix) :]: points for tag, points in self.series.items() if tag.startswith(prefix) and points}

    @property
    def scheduled(self) -> bool:
        """Whether the loss scheduler was on. The options tell where the run ended before it did anything."""
        on = self.options.get(f"{BLOCK}.enabled") == "True"
        return bool(on or self.decisions or self.recipe or self.under("loss_shares/"))


def find_run(argument: str) -> Path:
    """The folder of a run, from its path or from its name under `experiments/`.

    Raises:
        OptionError: There is none, or it holds nothing that training leaves behind.
    """
    folder = Path(argument).expanduser()
    if not folder.exists() and (Path("experiments") / argument).is_dir():
        folder = Path("experiments") / argument
    if not folder.is_dir():
        what = "is a file; give the folder that `paragon train` made" if folder.exists() else "no such folder"
        there = sorted(p.name for p in Path("experiments").glob("*") if p.is_dir())
        raise OptionError(argument, f"{what}; runs here: {', '.join(there)}" if there and what[0] == "n" else what)
    traces = [*folder.glob("train_*.log"), folder / DECISIONS, *_event_folder(folder).glob("events.out.tfevents.*")]
    if not any(trace.is_file() for trace in traces):
        raise OptionError(argument, "holds no training run: no train_*.log, no loss_schedule.jsonl")
    return folder


def read_run(folder: Path, now: float | None = None) -> RunHistory:
    """Read a run's folder and its TensorBoard folder.

    Args:
        folder: `experiments/NAME`; TensorBoard's files are expected in `tb_logger/NAME` beside `experiments`.
        now: Seconds since the epoch by which to tell a running from a silent run. Default: the present.
    """
    folder = folder.resolve()
    files = sorted(folder.glob("train_*.log"), key=lambda file: file.name[-19:])  # names end in date and time
    logs = [log for log in map(read_training_log, files) if log.began]  # one without entries tells nothing
    newest = logs[-1] if logs else TrainingLog()
    series = _series(logs, read_scalars(_event_folder(folder)))
    reached = max((points[-1][0] for points in series.values() if points), default=0)
    decisions = _decisions(folder / DECISIONS)
    iteration = max(newest.iteration, reached, decisions[-1].iteration if decisions else 0)
    total = newest.options.get("train.total_iter", "")
    state = _state(folder, files, newest, iteration, int(total) if total.isdigit() else None, now or time.time())
    if state == "finished" and total.isdigit():
        iteration = max(iteration, int(total))
    named = [log for log in logs if log.network]
    return RunHistory(
        name=newest.options.get("name", folder.name),
        folder=folder,
        state=state,
        iteration=iteration,
        total=int(total) if total.isdigit() else None,
        seconds=sum((log.last - log.began).total_seconds() for log in logs if log.last and log.began) or None,
        eta=newest.eta,
        options=newest.options,
        network=newest.options.get("network_g.type", named[-1].network if named else ""),
        network_parameters=named[-1].network_parameters if named else 0,
        series=series,
        recipe=next((log.recipe for log in reversed(logs) if log.recipe), {}),
        parameters=next((log.parameters for log in logs if log.parameters), []),
        decisions=decisions,
        warnings=list(dict.fromkeys(text for log in logs for text in log.warnings)),
        resumed_from=[log.resumed_from for log in logs if log.resumed_from is not None],
        stopped_at=newest.stopped_at,
        references=read_records(folder / FOLDER / RECORD),
        images=_images(folder / "visualization"),
    )


def _event_folder(folder: Path) -> Path:
    return folder.resolve().parent.parent / "tb_logger" / folder.resolve().name


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


def _decisions(path: Path) -> list[LoggedDecision]:
    """The decisions in order; a line that a kill cut off is left out."""
    if not path.is_file():
        return []
    found: list[LoggedDecision] = []
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            values = json.loads(line)
            decision = LoggedDecision(**{**values, "losses": tuple(values["losses"])})
        except (ValueError, TypeError, KeyError):
            continue
        if isinstance(decision.iteration, int):
            found.append(decision)
    return sorted(found, key=lambda decision: decision.iteration)


def _images(folder: Path) -> dict[str, dict[int, Path]]:
    found: dict[str, dict[int, Path]] = {}
    for file in sorted(folder.glob("*/*.png")):
        if match := re.fullmatch(re.escape(file.parent.name) + r"_(\d+)", file.stem):
            found.setdefault(file.parent.name, {})[int(match[1])] = file
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
