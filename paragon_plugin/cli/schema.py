"""`paragon schema`: prints the JSON schema of option files, for editors."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parser(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `paragon`."""
    parser = commands.add_parser(
        "schema",
        help="print the schema of option files, for editors",
        description="Print the JSON schema of BasicSR's option files with our options: paragon schema > schema.json. "
        "A file whose first line is '# yaml-language-server: $schema=schema.json' is then checked while you type.",
    )
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Print the schema."""
    from ..hosts.basicsr.options.schema import option_file_schema

    print(json.dumps(option_file_schema(), indent=1))
    return 0
