"""Writes the report of one run or two: an HTML file, and its pictures as PNG files in a folder beside it."""

import re
import time
from collections.abc import Callable, Container, Sequence
from pathlib import Path

from ..errors import OptionError
from ..resilience.atomic_file import atomic_file
from .charts import draw_titled
from .crops import strip_png, strips
from .forgiving import part
from .page import report_charts, report_page
from .run_history import RunHistory

MAX_NAME = 200
"""Bytes of the name of a picture's file."""


def default_output(folders: Sequence[Path]) -> Path:
    """Where a report goes: into the run's folder, for two runs into the current one."""
    if len(folders) == 1:
        return folders[0] / "report.html"
    return Path("report_" + "_".join(folder.resolve().name for folder in folders) + ".html")


def write_report(runs: Sequence[RunHistory], output: Path) -> list[Path]:
    """Write a report.

    Args:
        runs: One run, or two.
        output: The HTML file; pictures go into the folder of its name without suffix.

    Returns:
        The files written, the page first.

    Raises:
        OptionError: A file cannot be written.
    """
    left_out: list[str] = []
    pictures = part("the pictures", lambda: strips(list(runs)), [], left_out)
    shared, own = report_charts(runs, [])
    beside = output.with_suffix("")
    files: dict[Path, bytes] = {}
    for number, charts in enumerate([shared, *own]):
        for chart in charts:
            who = f"_{number}" if len(runs) > 1 and number else ""
            _draw(files, beside, f"{chart.key}{who}", lambda chart=chart: draw_titled(chart).png(), left_out)
    for strip in pictures:
        _draw(files, beside, f"crops_{strip.image}", lambda strip=strip: strip_png(strip), left_out)
    page = report_page(runs, pictures, time.strftime("%Y-%m-%d %H:%M"), left_out)
    files = {output: page.encode("utf-8", "backslashreplace"), **files}  # names of files are not all UTF-8
    for path, data in files.items():
        _write(path, data)
    return list(files)


def _draw(files: dict[Path, bytes], folder: Path, key: str, draw: Callable[[], bytes], left_out: list[str]) -> None:
    """Add a picture to the files, unless it cannot be drawn."""
    picture = part(f"the picture {key}", draw, b"", left_out)
    if picture:
        files[_free(folder, key, files)] = picture


def _free(folder: Path, key: str, taken: Container[Path]) -> Path:
    """A PNG file for a picture: plain characters, of a length that every file system takes, no name twice."""
    name = re.sub(r"[^\w.-]", "_", key).encode()[:MAX_NAME].decode(errors="ignore")
    path, number = folder / f"{name}.png", 1
    while path in taken:
        number += 1
        path = folder / f"{name}_{number}.png"
    return path


def _write(path: Path, data: bytes) -> None:
    """A file whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            file.write(data)
    except OSError as error:
        raise OptionError(str(path), f"cannot be written: {error.strerror or error}") from error
