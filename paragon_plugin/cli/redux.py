"""`paragon redux link PATH`, `unlink PATH`: makes a checkout of traiNNer-redux find our networks and the scheduler."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parser(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `paragon`."""
    parser = commands.add_parser("redux", help="connect a checkout of traiNNer-redux with the plugin, or disconnect it")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    link = actions.add_parser("link", help="write a file that redux imports; its own files stay as they are")
    unlink = actions.add_parser("unlink", help="remove what link wrote")
    for action in (link, unlink):
        action.add_argument("checkout", type=Path, metavar="PATH", help="folder of traiNNer-redux, with train.py in it")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write or remove, and say what was done; see `cli.main.main` for the exit status."""
    from ..hosts.trainner_redux.link import link, unlink

    print("\n".join((link if args.action == "link" else unlink)(args.checkout.expanduser())))
    return 0
