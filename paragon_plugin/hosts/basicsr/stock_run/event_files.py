"""Reads scalars back from TensorBoard's event files."""

import logging
import re
from pathlib import Path
from typing import Any

from ....report.forgiving import part
from ....report.run_history import Points
from .log_reading import LARGEST


def read_scalars(folder: Path, left_out: list[str] | None = None) -> dict[str, Points]:
    """Every scalar series in a folder of event files, by tag.

    A resumed run writes a file of its own; what earlier files have at or after its first step was undone by resuming.
    A file cut off by a kill is read up to there. Empty where there are no files, or no TensorBoard to read them.
    `left_out` takes a line about a file that is damaged or of somebody else.
    """
    files = sorted(folder.glob("events.out.tfevents.*"), key=lambda file: (_second(file), file.name))
    if not files:
        return {}
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        return {}
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    told: list[str] = [] if left_out is None else left_out
    series: dict[str, Points] = {}
    for file in files:
        found = part(file.name, lambda file=file: _scalars(EventAccumulator, file), {}, told)
        first = min((points[0][0] for points in found.values() if points), default=0)
        for tag in {*series, *found}:
            kept = [point for point in series.get(tag, []) if point[0] < first or not found]
            series[tag] = kept + sorted(dict(found.get(tag, [])).items())
    return series


def _scalars(accumulator: Any, file: Path) -> dict[str, Points]:
    events = accumulator(str(file), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [(e.step, e.value) for e in events.Scalars(tag) if 0 <= e.step <= LARGEST]
        for tag in events.Tags()["scalars"]
    }


def _second(file: Path) -> int:
    """The second at which a file was begun: `events.out.tfevents.SECOND.HOST...`."""
    second = file.name.split(".")[3]
    return int(second) if re.fullmatch(r"[0-9]{1,15}", second) else 0
