"""Reads scalars back from TensorBoard's event files."""

import logging
from pathlib import Path

from ....report.run_history import Points


def read_scalars(folder: Path) -> dict[str, Points]:
    """Every scalar series in a folder of event files, by tag.

    A resumed run writes a file of its own; what earlier files have at or after its first step was undone by resuming.
    A file cut off by a kill is read up to there. Empty where there are no files, or no TensorBoard to read them.
    """
    files = sorted(folder.glob("events.out.tfevents.*"), key=lambda file: (_second(file), file.name))
    if not files:
        return {}
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        return {}
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    series: dict[str, Points] = {}
    for file in files:
        events = EventAccumulator(str(file), size_guidance={"scalars": 0})
        events.Reload()
        found = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
        first = min((points[0][0] for points in found.values() if points), default=0)
        for tag in {*series, *found}:
            kept = [point for point in series.get(tag, []) if point[0] < first or not found]
            series[tag] = kept + sorted(dict(found.get(tag, [])).items())
    return series


def _second(file: Path) -> int:
    """The second at which a file was begun: `events.out.tfevents.SECOND.HOST...`."""
    part = file.name.split(".")[3]
    return int(part) if part.isdigit() else 0
