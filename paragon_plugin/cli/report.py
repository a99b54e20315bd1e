"""`paragon report EXPERIMENT [OTHER]`: one page about a run, or about two side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parser(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `paragon`."""
    parser = commands.add_parser("report", help="one HTML page about a run, or two side by side")
    parser.add_argument("experiment", metavar="EXPERIMENT", help="a run's folder, or its name under experiments/")
    parser.add_argument("other", metavar="OTHER", nargs="?", help="a second run to set beside it")
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="the page; default report.html in the run's folder"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the report and say where it is; see `cli.main.main` for the exit status."""
    from ..errors import OptionError
    from ..hosts.run_reading import find_run, read_run
    from ..report.written_report import default_output, write_report

    if args.output is not None and args.output.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"--output {args.output}", "must be the name of an HTML file, such as report.html")
    folders = [find_run(name) for name in (args.experiment, args.other) if name is not None]
    output = args.output or default_output(folders)
    page, *pictures = write_report([read_run(folder) for folder in folders], output)
    print(f"report   {page}")
    if pictures:
        print(f"pictures {pictures[0].parent} ({len(pictures)} PNG)")
    return 0
