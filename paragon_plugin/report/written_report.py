"""Writes the report of one run or of several: an HTML file, and its pictures as PNG files in a folder beside it."""

import os
import re
import time
from collections.abc import Callable, Container, Sequence
from pathlib import Path

from ..errors import OptionError
from ..resilience.atomic_file import atomic_file
from .charts import draw_titled
from .comparison import with_names_of_their_own
from .crops import strip_png, strips
from .forgiving import part
from .page import report_charts, report_page
from .run_history import RunHistory

MAX_NAME = 200
"""Bytes of the name of a picture's file."""


def default_output(folders: Sequence[Path]) -> Path:
    """Where a report goes: into the run's folder, of several runs into the current one."""
    if len(folders) == 1:
        return folders[0] / "report.html"
    names = [folder.resolve().name for folder in folders]
    name = "report_" + "_".join(names)
    if len(os.fsencode(name)) > MAX_NAME:
        short = os.fsencode(names[0])[: MAX_NAME // 2].decode(errors="ignore")
        name = f"report_{short}_and_{len(names) - 1}_more"
    return Path(f"{name}.html")


def write_report(runs: Sequence[RunHistory], output: Path, reload_seconds: int | None = None) -> list[Path]:
    """Write a report.

    Args:
        runs: One run, or several to compare.
        output: The HTML file; pictures go into the folder of its name without suffix.
        reload_seconds: For a page that is going to be renewed, see `page.report_page`; it has no pictures beside it.

    Returns:
        The files written, the page first.

    Raises:
        OptionError: A file cannot be written.
    """
    left_out: list[str] = []
    runs = with_names_of_their_own(runs)
    pictures = part("the pictures", lambda: strips(list(runs)), [], left_out)
    now = time.strftime("%Y-%m-%d %H:%M")
    if reload_seconds is not None:
        _write(output, _bytes(report_page(runs, pictures, now, left_out, reload_seconds)))
        return [output]
    shared, own = report_charts(runs, [])
    beside = output.with_suffix("")
    files: dict[Path, bytes] = {}
    for number, charts in enumerate([shared, *own]):
        for chart in charts:
            who = f"_{number}" if len(runs) > 1 and number else ""
            _draw(files, beside, f"{chart.key}{who}", lambda chart=chart: draw_titled(chart).png(), left_out)
    for strip in pictures:
        _draw(files, beside, f"crops_{strip.image}", lambda strip=strip: strip_png(strip), left_out)
    files = {output: _bytes(report_page(runs, pictures, now, left_out)), **files}
    for path, data in files.items():
        _write(path, data)
    return list(files)


def _bytes(page: str) -> bytes:
    return page.encode("utf-8", "backslashreplace")  # names of files are not all UTF-8


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
