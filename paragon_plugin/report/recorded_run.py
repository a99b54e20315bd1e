"""Reads a run back from its record (`scheduling.run_record`)."""

import os
import socket
import statistics
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..errors import OptionError, one_line
from ..scheduling.decisions import number_text
from ..scheduling.options import DynamicLossScheduling, parse_dynamic_loss_scheduling
from ..scheduling.run_record import LINES_FILE, process_namespace, process_start, read_head, read_lines, spent_seconds
from .forgiving import part
from .logged_decisions import read_decisions
from .references import FILE_NAME, FOLDER, read_records
from .run_history import Points, RunHistory, State

QUIET_SECONDS = 120
QUIET_LINES = 5
"""A run whose process cannot be asked is taken for dead after so many seconds without a line, or after the time that so
many lines took."""


def read_recorded_run(folder: Path, now: float | None = None) -> RunHistory | None:
    """Read a run from its record.

    Args:
        folder: The run's folder.
        now: Seconds since the epoch by which to tell a running from a silent run. Default: the present.

    Returns:
        The run; None where there is no record, or none that a training loop has kept.
    """
    folder, left_out = folder.resolve(), list[str]()
    head, lines = read_head(folder), read_lines(folder, left_out)
    if head is None or "state" not in head:
        return None
    network = _mapping(head.get("network"))
    decisions = read_decisions(folder, left_out)
    reached = [line["iteration"] for line in lines if line["kind"] != "warning"]  # which outlive what was undone
    reached += [decision.iteration for decision in decisions]
    iteration, total = max(reached, default=0), _whole(head.get("total_iter"))
    last = lines[-1] if lines else {}
    state = _state(head, lines, folder, time.time() if now is None else now)
    return RunHistory(
        name=one_line(str(head.get("name", folder.name)), 200),
        folder=folder,
        state=state,
        iteration=iteration,
        total=total,
        seconds=max(spent_seconds(lines), 0.0) or None,
        eta=_eta(lines, total) if state == "running" else "",
        options=part("the options", lambda: flattened(_mapping(head.get("options"))), {}, left_out),
        scheduling=recorded_scheduling(head),
        network=str(network.get("type", "")),
        network_parameters=_whole(network.get("parameters")) or 0,
        series=_series(lines),
        recipe=recorded_recipe(head),
        parameters=recorded_parameters(head),
        decisions=decisions,
        warnings=list(dict.fromkeys(str(line.get("text", "")) for line in lines if line["kind"] == "warning")),
        resumed_from=[line["iteration"] for line in lines if line["kind"] == "started" and line["iteration"] > 0],
        failure=str(last.get("reason", "")) if state == "failed" else "",
        references=read_records(folder / FOLDER / FILE_NAME, left_out),
        images=part("the saved images", lambda: _images(lines, folder), {}, left_out),
        left_out=left_out,
    )


# -- what the run is ---------------------------------------------------------------------------------------------------


def recorded_scheduling(head: Mapping[str, Any]) -> DynamicLossScheduling | None:
    """The scheduler's options in force; None where the record does not tell, or tells of options unknown here."""
    block = head.get("scheduling")
    if not isinstance(block, Mapping):
        return None
    try:
        return parse_dynamic_loss_scheduling({key: value for key, value in block.items() if value is not None})
    except OptionError:
        return None


def recorded_recipe(head: Mapping[str, Any]) -> dict[str, tuple[str, float]]:
    """Role and base weight of each loss that trains."""
    recipe: dict[str, tuple[str, float]] = {}
    for loss in _sequence(head.get("losses")):
        match loss:
            case {"name": str(name), "role": str(role), "weight": float() as weight} if weight != 0:
                recipe[name] = role, weight
            case {"name": str(name), "role": str(role), "weight": int() as weight} if 0 < abs(weight) < 2**53:
                recipe[name] = role, float(weight)
            case _:
                pass
    return recipe


def recorded_parameters(head: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The scheduler's parameters at its first step: name, value, where it came from."""
    return [
        (str(row.get("name", "")), number_text(row.get("value")), str(row.get("provenance", "")))
        for row in map(_mapping, _sequence(head.get("parameters")))
        if row
    ]


def flattened(options: Mapping[str, Any], path: str = "") -> dict[str, str]:
    """Nested options as text by dotted path."""
    found: dict[str, str] = {}
    for key, value in options.items():
        if isinstance(value, Mapping):
            found |= flattened(value, f"{path}{key}.")
        else:
            found[f"{path}{key}"] = str(value)
    return found


# -- what happened -----------------------------------------------------------------------------------------------------


def _series(lines: Sequence[Mapping[str, Any]]) -> dict[str, Points]:
    """Numbers by tag; the later of two of one iteration counts."""
    found: dict[str, dict[int, float]] = {}
    for line in lines:
        if line["kind"] == "scalars":
            values = {str(tag): value for tag, value in _mapping(line.get("values")).items()}
        elif line["kind"] == "validation":
            values = {f"metrics/{line.get('set')}/{key}": value for key, value in _mapping(line.get("metrics")).items()}
        else:
            continue
        for tag, value in values.items():
            try:
                found.setdefault(tag, {})[line["iteration"]] = float(value)
            except (TypeError, ValueError, OverflowError):
                continue
    return {tag: sorted(points.items()) for tag, points in found.items() if points}


def _images(lines: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, dict[int, Path]]:
    """Saved validation images that are still there."""
    found: dict[str, dict[int, Path]] = {}
    for line in lines:
        if line["kind"] == "images":
            for image, file in _mapping(line.get("files")).items():
                path = folder / str(file)
                if path.is_file():
                    found.setdefault(str(image), {})[line["iteration"]] = path
    return {image: dict(sorted(files.items())) for image, files in found.items()}


def _state(head: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], folder: Path, now: float) -> State:
    last = next((line["kind"] for line in reversed(lines) if line["kind"] != "warning"), "")
    for state in (last, head["state"]):  # a kill may come between the two
        if state in ("finished", "stopped", "failed"):
            return state
    owner = _mapping(head.get("owner"))
    if owner.get("host") == socket.gethostname() and owner.get("namespace") == process_namespace():
        alive = _alive(_whole(owner.get("process")), _whole(owner.get("began")))
        if alive is not None:
            return "running" if alive else "silent"
    times = [line["time"] for line in lines if line["kind"] == "scalars"][-20:]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    patience = max(QUIET_SECONDS, QUIET_LINES * statistics.median(gaps) if gaps else 0)
    try:
        written = (folder / LINES_FILE).stat().st_mtime
    except OSError:
        return "silent"
    return "running" if now - written < patience else "silent"


def _alive(process: int | None, began: int | None) -> bool | None:
    """Whether a process of this machine runs; None where that cannot be told."""
    if process is None or process <= 0 or os.name != "posix":
        return None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return None
    return None if began is None else process_start(process) == began


def _eta(lines: Sequence[Mapping[str, Any]], total: int | None) -> str:
    """Time left at the pace of the present process."""
    start = max((place for place, line in enumerate(lines) if line["kind"] == "started"), default=0)
    steps = [(line["iteration"], line["time"]) for line in lines[start:] if line["kind"] == "scalars"]
    if total is None or len(steps) < 2 or steps[-1][0] <= steps[0][0]:
        return ""
    (first, began), (last, now) = steps[0], steps[-1]
    left = (now - began) / (last - first) * max(total - last, 0)
    return str(timedelta(seconds=round(left))) if 0 <= left < 1e9 else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**53 else None
