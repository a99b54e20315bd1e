"""`paragon --print-completion SHELL`: a script by which a shell completes commands, options and files.

shtab (MPL-2.0) writes it from the parser. The script is static: completing starts no Python.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import OptionError

SHELLS = ("bash", "zsh", "tcsh")

_FILES = ("FILE", "FOLDER", "EXPERIMENT", "OTHER")
"""Metavariables of texts that are a file or a folder."""


class PrintCompletion(argparse.Action):
    """Prints the script for the parser that the option stands in, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, _: object, values: Any, *__: object) -> None:
        try:
            print(completion(parser, values))
        except OptionError as error:
            parser.exit(2, f"{parser.prog}: {error}\n")
        parser.exit(0)


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script of a parser and of all commands below it.

    Args:
        parser: Of the whole command line.
        shell: One of `SHELLS`.

    Raises:
        OptionError: shtab is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise OptionError("--print-completion", 'needs shtab: pip install "paragon-plugin[completion]"') from None
    for action in _actions(parser):
        takes_path = action.type is Path or action.metavar in _FILES
        if takes_path and not action.choices:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return shtab.complete(parser, shell)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Of the parser and of the parsers of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
