"""`paragon COMMAND ...`: parses the command line, runs the command, turns bad input into one line and exit status 2.

Neither this module nor the modules of the commands import torch or a host: help, the version and a slip of the pen are
answered at once. What a command needs is imported when it runs.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Sequence

import paragon_plugin

from ..errors import OptionError, RunError
from ..resilience.tolerant_output import tolerant_output
from ..version import __version__
from .command_parser import CommandParser
from .completion import SHELLS, PrintCompletion

# A data worker that is spawned (BasicSR's choice in distributed runs, the only way on macOS and Windows) imports this
# module before it unpickles its dataset: by then the host must be repaired there as well.
if getattr(multiprocessing.current_process(), "_inheriting", False):  # parent_process() is not set yet at that time
    paragon_plugin.install()

WAIT_FOR_FIRST_RANK = 5.0
"""Seconds. Mostly all ranks refuse: the first one says so, and its end ends the others. One that is still there has a
problem of its own, such as a folder that its machine lacks."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the command `paragon`.

    Returns:
        0 done; 1 the run failed; 2 the input cannot be used; 128 + n ended by signal n.
    """
    with tolerant_output():
        return _run(arguments)


def command_parser() -> CommandParser:
    """The parser of `paragon` with all its commands."""
    from . import check, export, init, redux, report, runs, schema, test, train, upscale

    parser = CommandParser(prog="paragon", description="Train and use super-resolution networks.")
    parser.add_argument("--version", action="version", version=f"paragon-plugin {__version__}")
    parser.add_argument(
        "--print-completion",
        choices=SHELLS,
        action=PrintCompletion,
        help="print a script by which this shell completes the command line",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (init, train, check, test, upscale, export, report, runs, schema, redux):
        command.add_parser(commands)
    return parser


def _run(arguments: Sequence[str] | None) -> int:
    """As `main`; whatever it prints is printed as far as it can be."""
    args = command_parser().parse_args(arguments)
    args.command_line = ["paragon", *(sys.argv[1:] if arguments is None else arguments)]
    try:
        return args.run(args)
    except OptionError as error:
        if getattr(args, "debug", False):
            raise
        if (rank := os.environ.get("RANK", "0")) == "0":
            print(f"paragon {args.command}: {error}", file=sys.stderr)
        else:
            time.sleep(WAIT_FOR_FIRST_RANK)
            print(f"paragon {args.command}: rank {rank}: {error}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"paragon {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
