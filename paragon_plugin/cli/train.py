"""`paragon train -opt FILE`: train as BasicSR does, from the same option files."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parser(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `paragon`."""
    from ..hosts.basicsr.options.command_line import add_arguments

    parser = commands.add_parser("train", help="train a network from an option file")
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train in the current folder; see `cli.main.main` for the exit status."""
    import paragon_plugin

    paragon_plugin.install()
    from ..hosts.basicsr.run.training import train
    from ..report.summary import closing_summary

    result = train(args, os.getcwd())
    if result.already_finished:
        if result.first_rank:
            done = f"all {result.iteration:,} iterations are trained"
            print(f"{result.name} is finished: {done}. Raise train.total_iter to go on.")
        return 0
    if result.first_rank:
        _write_report(result.folder)
        print("\n" + closing_summary(result))
    return 0 if result.stopped_by is None else 128 + result.stopped_by


def _write_report(folder: Path) -> None:
    """The run's page; a run that is done is not lost for want of it."""
    from ..errors import OptionError
    from ..report.written_report import default_output
    from . import report

    try:
        report.write([folder], default_output([folder]))
    except OptionError as error:
        print(f"paragon train: no report: {error}", file=sys.stderr)
