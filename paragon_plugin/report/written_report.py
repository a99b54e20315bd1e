"""Writes the report of one run or two: an HTML file, and its pictures as PNG files in a folder beside it."""

import re
import time
from collections.abc import Container, Sequence
from pathlib import Path

from ..errors import OptionError
from ..resilience.atomic_file import atomic_file
from .charts import draw_titled
from .crops import strip_png, strips
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
    pictures = strips(list(runs))
    page = report_page(runs, pictures, time.strftime("%Y-%m-%d %H:%M"))
    shared, own = report_charts(runs)
    files = {output: page.encode("utf-8", "backslashreplace")}  # names of files are not all UTF-8
    beside = output.with_suffix("")
    for number, charts in enumerate([shared, *own]):
        for chart in charts:
            who = f"_{number}" if len(runs) > 1 and number else ""
            files[_free(beside, f"{chart.key}{who}", files)] = draw_titled(chart).png()
    for strip in pictures:
        files[_free(beside, f"crops_{strip.image}", files)] = strip_png(strip)
    for path, data in files.items():
        _write(path, data)
    return list(files)


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
