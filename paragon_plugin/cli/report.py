"""`paragon report EXPERIMENT [OTHER ...]`: one page about a run, or about several side by side."""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction
    from collections.abc import Iterator, Sequence

    from ..report.run_history import RunHistory

RELOAD_SECONDS = 10
"""A watched page reads itself anew so often, and is not renewed more often."""

LEISURE = 20
"""A page is renewed after this many times the time that it took: the runs lose at most a twentieth of one core."""

STALE_SECONDS = 120
"""After so long without a change the page is renewed all the same: it may be that a run has died."""

ENDED = ("finished", "stopped", "failed")
"""States of a run that goes on no more by itself."""


def add_parser(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `paragon`."""
    parser = commands.add_parser("report", help="one HTML page about a run, or several side by side")
    parser.add_argument(
        "experiments", metavar="EXPERIMENT", nargs="+", help="a run's folder, or its name under experiments/"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="the page; default report.html in the run's folder"
    )
    parser.add_argument(
        "--watch", action="store_true", help="renew the page while the run goes on; an open page follows by itself"
    )
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the report and say where it is; see `cli.main.main` for the exit status."""
    from ..errors import OptionError
    from ..hosts.run_reading import find_run
    from ..report.written_report import default_output

    if args.output is not None and args.output.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"--output {args.output}", "must be the name of an HTML file, such as report.html")
    folders = [find_run(name) for name in args.experiments]
    output = args.output or default_output(folders)
    if args.watch:
        watch(folders, output, debug=args.debug)
    page, *pictures = write(folders, output, debug=args.debug)
    print(f"report   {page}")
    if pictures:
        print(f"pictures {pictures[0].parent} ({len(pictures)} PNG)")
    return 0


def watch(folders: Sequence[Path], output: Path, *, debug: bool = False) -> None:
    """Renew the page whenever a run has recorded something, until all runs have ended or Ctrl-C is pressed.

    It only reads what the runs write.

    Raises:
        OptionError: The page cannot be written.
    """
    known: object = None
    written = 0.0
    try:
        while True:
            began, seen = time.monotonic(), _recorded(folders)
            if seen != known or began - written > STALE_SECONDS:
                runs = _read_all(folders, output, debug)
                if all(run.state in ENDED for run in runs):
                    return
                _write(runs, output, debug, RELOAD_SECONDS)
                if known is None:
                    print(f"watching {output} (open it in a browser; Ctrl-C ends)", flush=True)
                known, written = seen, began
            time.sleep(max(RELOAD_SECONDS, LEISURE * (time.monotonic() - began)))
    except KeyboardInterrupt:
        print()


def write(folders: Sequence[Path], output: Path, *, debug: bool = False) -> list[Path]:
    """Read runs and write their report; returns its files, the page first.

    Raises:
        OptionError: There is no report, whatever the reason; on one line.
    """
    return _write(_read_all(folders, output, debug), output, debug)


def _recorded(folders: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Name, size and time of every file that a run's loop writes as it goes on."""
    found: list[tuple[str, int, int]] = []
    for folder in folders:
        for file in folder.glob("*.*"):
            if file.suffix in (".json", ".jsonl", ".log"):
                with contextlib.suppress(OSError):  # replaced this moment
                    status = file.stat()
                    found.append((str(file), status.st_size, status.st_mtime_ns))
    return sorted(found)


def _read_all(folders: Sequence[Path], output: Path, debug: bool) -> list[RunHistory]:
    from ..hosts.run_reading import read_run

    with _told(output, debug):
        return [read_run(folder) for folder in folders]


def _write(runs: Sequence[RunHistory], output: Path, debug: bool, reload_seconds: int | None = None) -> list[Path]:
    from ..report.written_report import write_report

    with _told(output, debug):
        return write_report(runs, output, reload_seconds)


@contextlib.contextmanager
def _told(output: Path, debug: bool) -> Iterator[None]:
    """Whatever is wrong with files that anybody may have written, on one line."""
    from ..errors import OptionError

    try:
        yield
    except OptionError:
        raise
    except Exception as error:
        if debug:
            raise
        raise OptionError(str(output), f"{type(error).__name__}: {error}; --debug shows where") from error
