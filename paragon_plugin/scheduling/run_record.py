"""The record of a run: what a run leaves for its report, as data.

Two files stand in the run's folder. `run_record.json` says what the run is: options in force, losses, parameters,
state. It is small and replaced as a whole. `run_record.jsonl` says what happened, one JSON object a line in the order
of time: numbers, validations, images, warnings. It only grows, and a kill can at most cut its last line off. The
scheduler's decisions stand in `loss_schedule.jsonl` beside them (`decision_log`) and are not repeated.

The record is a help and no duty: where it cannot be written the run goes on without it, and says so once.
"""

import json
import math
import os
import platform
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, SupportsFloat, cast

import msgspec
import torch

from ..resilience.side_file import SideFile, read_typed, read_typed_lines
from ..version import __version__

SCHEMA = 1
HEAD_FILE = "run_record.json"
LINES_FILE = "run_record.jsonl"

Kind = Literal["started", "scalars", "validation", "images", "warning", "stopped", "finished", "failed"]


class RunRecord:
    """Writes the record of one run; rank 0 alone has one.

    What is told before `start` is kept until then, so that a run that is refused leaves nothing behind.

    Args:
        folder: The run's folder; made by the first write.
        clock: Gives the present as seconds since the epoch.
    """

    def __init__(self, folder: str | Path, clock: Callable[[], float] = time.time):
        self.folder = Path(folder)
        self.clock = clock
        self._head: dict[str, Any] = {"schema": SCHEMA}
        self._started = False
        self._ended = False
        self._before_start: list[tuple[Kind, int, Mapping[str, Any]]] = []
        self._head_file = SideFile(self.folder / HEAD_FILE, "The description of the run")
        self._lines = SideFile(self.folder / LINES_FILE, "The record of the run")

    @property
    def started(self) -> bool:
        """Whether a training loop keeps the record: such a loop tells when it begins and ends."""
        return self._started

    def keep_description(self) -> None:
        """Write what is known of a run whose loop tells neither when it begins nor when it ends."""
        if not self._started:
            before = read_head(self.folder) or {}
            before.pop("state", None)
            self._head = before | self._head
            self._head["versions"] = versions()
            self._write_head()

    def describe(self, **entries: Any) -> None:
        """Say what the run is; entries are plain values, a later one replaces an earlier one of its name.

        Known entries: `name`, `host`, `command`, `options` (in force, nested), `scheduling` (the block in force),
        `target`, `losses` (name, role and weight of each), `parameters` (name, value and provenance of each),
        `network` (type and number of parameters), `total_iter`, `health`.
        """
        self._head |= plain(entries)
        if self._started:
            self._write_head()

    def start(self, iteration: int, past: Sequence[Mapping[str, Any]] = ()) -> None:
        """A process begins to train, or goes on, from an iteration; what was recorded after it is dropped.

        Warnings stay: they are about the run, not about a step. So does the time that was spent.

        Args:
            iteration: Iterations done.
            past: Lines of a run that was trained without a record until now (`past_line`).
        """
        self._started = True
        seconds, kept = 0.0, list[Mapping[str, Any]]()
        if iteration > 0:
            self._head = (read_head(self.folder) or {}) | self._head
            lines: Sequence[Mapping[str, Any]] = read_lines(self.folder) or past
            seconds = spent_seconds(lines)
            kept = [line for line in lines if line["iteration"] <= iteration or line["kind"] == "warning"]
        now = self.clock()
        self._head |= {
            "versions": versions(),
            "owner": {
                "host": socket.gethostname(),
                "process": os.getpid(),
                "began": process_start(os.getpid()),
                "namespace": process_namespace(),
                "since": now,
            },
            "state": "running",  # a killed run says so too: whether it runs follows from its owner and last line
            "health": self._head.get("health"),
        }
        start = json.dumps(_line("started", iteration, now, {"seconds": seconds}))
        if self._lines.unreadable():  # what cannot be read now may be read another time
            self._lines.append([start])
        else:
            self._lines.replace("".join(f"{line}\n" for line in [*map(json.dumps, kept), start]))
        self._write_head()
        before, self._before_start = self._before_start, []
        for told in before:
            self._append(*told)

    def describes(self, entry: str) -> bool:
        """Whether an entry is known, from this process or from the one that it goes on from."""
        return entry in self._head

    def scalars(self, iteration: int, values: Mapping[str, float]) -> None:
        """Numbers of an iteration by tag, as a logger gets them: `losses/l_x`, `loss_weights/x`, `loss_shares/x`."""
        self._append("scalars", iteration, {"values": values})

    def validation(self, iteration: int, dataset: str, metrics: Mapping[str, float]) -> None:
        """Mean metrics of a validation set."""
        self._append("validation", iteration, {"set": dataset, "metrics": metrics})

    def images(self, iteration: int, files: Mapping[str, Path]) -> None:
        """Images that a validation saved: file by image."""
        if files:
            self._append("images", iteration, {"files": {image: self._relative(file) for image, file in files.items()}})

    def warning(self, iteration: int, text: str) -> None:
        """Something out of the ordinary, on one line."""
        self._append("warning", iteration, {"text": text})

    def end(self, iteration: int, state: Literal["stopped", "finished", "failed"], reason: str = "") -> None:
        """The process ends: with all iterations done, by a signal, or by an error. What comes later is not recorded."""
        if self._ended:
            return
        self._append(state, iteration, {"reason": reason} if reason else {})
        self.describe(state=state)
        self._ended = True

    def _relative(self, file: Path) -> str:
        return file.relative_to(self.folder).as_posix() if file.is_relative_to(self.folder) else str(file)

    def _append(self, kind: Kind, iteration: int, values: Mapping[str, Any]) -> None:
        if not self._started:
            self._before_start.append((kind, iteration, values))
        elif not self._ended:
            self._lines.append([json.dumps(_line(kind, iteration, self.clock(), values))])

    def _write_head(self) -> None:
        self._head_file.replace(json.dumps(self._head, indent=1) + "\n")


# -- what is written ---------------------------------------------------------------------------------------------------


def plain(value: object) -> Any:
    """A value as JSON has it: structs and mappings as dicts, NaN and infinities as the texts `nan`, `inf`, `-inf`."""
    if isinstance(value, msgspec.Struct):
        return plain(msgspec.to_builtins(value))
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {str(key): plain(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [plain(item) for item in cast("Sequence[Any]", value)]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, SupportsFloat):
        number = float(value)
        return number if math.isfinite(number) else str(number)
    return str(value)


def versions() -> dict[str, str]:
    """Versions of what a run depends on."""
    return {
        "paragon_plugin": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "system": platform.platform(terse=True),
    }


def past_line(kind: Kind, iteration: int, time: float, values: Mapping[str, Any]) -> dict[str, Any]:
    """A line about something that happened before there was a record.

    Args:
        kind: What it was.
        iteration: When, in iterations.
        time: When, in seconds since the epoch.
        values: What the kind adds.
    """
    return _line(kind, iteration, time, values)


def process_start(process: int) -> int | None:
    """When a process of this machine began, in the system's own ticks; None where that cannot be told.

    A number of a process is given to another one some day; both together are not.
    """
    try:
        status = Path(f"/proc/{process}/stat").read_text()
        return int(status.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def process_namespace() -> str | None:
    """Which numbers of processes these are: a container has its own; None where that cannot be told."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _line(kind: Kind, iteration: int, now: float, values: Mapping[str, Any]) -> dict[str, Any]:
    return {"iteration": iteration, "kind": kind, "time": round(now, 3), **plain(values)}


# -- what is read ------------------------------------------------------------------------------------------------------


class RecordLine(msgspec.Struct):
    """A line of the record, as it is told apart from what is damaged; it may have more than is named here."""

    iteration: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    kind: str
    time: Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]
    values: dict[str, float | str | None] = {}
    metrics: dict[str, float | str | None] = {}
    files: dict[str, str] = {}
    set: str = ""
    text: str = ""
    reason: str = ""
    seconds: Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)] = 0.0


def read_head(folder: Path) -> dict[str, Any] | None:
    """`run_record.json` of a run's folder; None where there is none that can be read."""
    return read_typed(folder / HEAD_FILE, dict[str, Any])[0]


def read_lines(folder: Path, left_out: list[str] | None = None) -> list[dict[str, Any]]:
    """The lines of `run_record.jsonl` in a run's folder; a line that cannot be read is left out.

    Args:
        folder: The run's folder.
        left_out: Takes a line about lines that are damaged or of somebody else.
    """
    found, bad = read_typed_lines(folder / LINES_FILE, RecordLine)
    if bad and left_out is not None:
        left_out.append(f"{LINES_FILE}: {bad} line{'s' * (bad > 1)} cannot be read")
    return [line for _, line in found]


def spent_seconds(lines: Sequence[Mapping[str, Any]]) -> float:
    """Seconds that the processes of a run have spent on it, from the start of each to its last line."""
    spent, began, last = 0.0, None, 0.0
    for line in lines:
        if line["kind"] == "started":
            # A start knows what was spent before it, on steps that were undone as well.
            spent, began = float(line.get("seconds", 0.0)), line["time"]
        last = line["time"]
    return spent + (last - began if began is not None else 0.0)
