"""`paragon check -opt FILE`: says everything that is wrong with an option file at once, and how its losses will run."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parser(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `paragon`."""
    from ..hosts.basicsr.options.command_line import add_file_arguments

    parser = commands.add_parser("check", help="name everything that is wrong with an option file, without training")
    add_file_arguments(parser)
    parser.add_argument(
        "--measure", action="store_true", help="train some steps for the time of the run and its memory; keeps nothing"
    )
    parser.set_defaults(run=run, launcher="none", auto_resume=False)


def run(args: argparse.Namespace) -> int:
    """Print a line per problem, then the effective schedule; 2 with errors, 0 without."""
    import paragon_plugin

    paragon_plugin.install()
    from ..hosts.basicsr.run.checking import check

    problems, schedule = check(args, os.getcwd(), measured=args.measure)
    for problem in problems.found:
        print(problem)
    if schedule:
        print("\n".join(schedule))
    errors = len(problems.errors)
    warnings = len(problems.found) - errors
    print(f"{args.opt}: {_count(errors, 'error')}, {_count(warnings, 'warning')}")
    return 2 if errors else 0


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
