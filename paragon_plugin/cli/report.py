"""`paragon report EXPERIMENT [OTHER]`: one page about a run, or about two side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction
    from collections.abc import Sequence


def add_parser(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `paragon`."""
    parser = commands.add_parser("report", help="one HTML page about a run, or two side by side")
    parser.add_argument("experiment", metavar="EXPERIMENT", help="a run's folder, or its name under experiments/")
    parser.add_argument("other", metavar="OTHER", nargs="?", help="a second run to set beside it")
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="the page; default report.html in the run's folder"
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
    folders = [find_run(name) for name in (args.experiment, args.other) if name is not None]
    page, *pictures = write(folders, args.output or default_output(folders), debug=args.debug)
    print(f"report   {page}")
    if pictures:
        print(f"pictures {pictures[0].parent} ({len(pictures)} PNG)")
    return 0


def write(folders: Sequence[Path], output: Path, *, debug: bool = False) -> list[Path]:
    """Read runs and write their report; returns its files, the page first.

    Raises:
        OptionError: There is no report, whatever the reason; on one line.
    """
    from ..errors import OptionError
    from ..hosts.run_reading import read_run
    from ..report.written_report import write_report

    try:
        return write_report([read_run(folder) for folder in folders], output)
    except OptionError:
        raise
    except Exception as error:  # of files that anybody may have written
        if debug:
            raise
        raise OptionError(str(output), f"{type(error).__name__}: {error}; --debug shows where") from error
