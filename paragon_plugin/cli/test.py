"""`paragon test -opt FILE`: measure a trained network on test sets, from BasicSR's option files."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parser(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `paragon`."""
    from ..hosts.basicsr.options.command_line import add_file_arguments, add_launcher_arguments

    parser = commands.add_parser("test", help="measure a trained network from an option file")
    add_file_arguments(parser)
    add_launcher_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Test in the current folder; see `cli.main.main` for the exit status."""
    import paragon_plugin

    paragon_plugin.install()
    from ..hosts.basicsr.run.testing import test
    from ..report.summary import comparison

    options, results = test(args, os.getcwd())
    if options["rank"] == 0:
        for result in results:
            print("\n" + "\n".join(comparison(result)))
        print(f"\nFiles: {os.path.relpath(options['path']['results_root'])}")
    return 0
