"""The parser of the command line: what it cannot read is one line, with what may be meant."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

NEAR = 0.6
"""Ratio of `difflib` from which a word may stand for another one."""


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are one line, with a suggestion for a slip of the pen; exit status 2.

    The parser of each command is one as well, and names its own options.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        self._arguments: list[argparse.Action] = []
        self._given: list[str] = []
        super().__init__(*args, **kwargs)

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        """As the base class."""
        action = super().add_argument(*args, **kwargs)
        self._arguments.append(action)
        return action

    def add_subparsers(self, **kwargs: Any) -> Any:
        """As the base class."""
        action = super().add_subparsers(**kwargs)
        self._arguments.append(action)
        return action

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As the base class, but what is left over is an error: a command knows best what was meant for it."""
        self._given = list(sys.argv[1:] if args is None else args)
        namespace, rest = super().parse_known_args(self._given, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return namespace, rest

    def error(self, message: str) -> NoReturn:
        """Print one line and end with status 2."""
        meant = next(self._meant(message), None)
        hint = f"; did you mean '{meant}'?" if meant else "."
        self.exit(2, f"{self.prog}: {' '.join(message.split())}{hint} See: {self.prog} --help\n")

    def _meant(self, message: str) -> Iterator[str]:
        """What may be meant by the words that are no option here, or that the message quotes."""
        options = [name for action in self._arguments for name in action.option_strings]
        for word in self._given:
            name = word.partition("=")[0]
            if name.startswith("-") and name.strip("-") and not any(known.startswith(name) for known in options):
                yield from difflib.get_close_matches(name, self._long(options), n=1, cutoff=NEAR)
            elif repr(word) in message:
                choices = [str(choice) for action in self._arguments for choice in action.choices or ()]
                yield from difflib.get_close_matches(word, choices, n=1, cutoff=NEAR)

    def _long(self, options: list[str]) -> list[str]:
        """Options of more than one letter that the help shows; one letter is near to anything."""
        hidden = {
            name for action in self._arguments if action.help == argparse.SUPPRESS for name in action.option_strings
        }
        return [name for name in options if len(name.strip("-")) > 1 and name not in hidden]
