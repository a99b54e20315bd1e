"""Errors of one line for the user, and the words in them."""

import contextlib
import difflib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path


class OptionError(ValueError):
    """An option that the user wrote cannot be used.

    The message is one line: where the option is, what is wrong, and what to do. `path` is the place of the option,
    empty for a whole block. `problem` is the rest of the message.
    """

    def __init__(self, path: str, problem: str):
        self.path, self.problem = one_line(path), one_line(re.sub(r"\s*\n\s*", " ", problem.strip()))
        super().__init__(f"{self.path}: {self.problem}" if self.path else self.problem)

    def under(self, prefix: str) -> "OptionError":
        """The same problem where the option's block stands in a larger file.

        >>> str(OptionError("target.l1_loss", "no such loss").under("train.dynamic_loss_scheduling"))
        'train.dynamic_loss_scheduling.target.l1_loss: no such loss'
        """
        return OptionError(f"{prefix}.{self.path}" if self.path else prefix, self.problem)

    def __reduce__(self) -> tuple[type["OptionError"], tuple[str, str]]:
        return OptionError, (self.path, self.problem)


@contextlib.contextmanager
def errors_under(prefix: str) -> Iterator[None]:
    """An OptionError raised inside names its option with the prefix; see `OptionError.under`."""
    try:
        yield
    except OptionError as error:
        raise error.under(prefix) from error


class RunError(RuntimeError):
    """A run that began cannot go on, and the message says why on one line; `paragon` ends with status 1."""


def one_line(text: str, limit: int = 600) -> str:
    """The text on one line that any terminal can print: control characters and lone surrogates written as escapes."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text if len(text) <= limit else f"{text[:limit]} ..."


def whole_number(path: str, value: object, least: int = 0, most: int = 2**31 - 1) -> int:
    """A whole number from `least` to `most`, also when written `5e3`, as the community's files do.

    Raises:
        OptionError: It is anything else; true and false are no numbers.
    """
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    if not isinstance(whole, int) or isinstance(whole, bool) or whole < least:
        problem = f"must be a whole number of at least {least}, is {shown(value)}"
        raise OptionError(path, "is missing; it is a whole number" if value is None else problem)
    if whole > most:
        raise OptionError(path, f"must be a whole number of at most {most}, is {shown(value)}")
    return whole


def home_expanded(path: str, value: str) -> str:
    """A path with `~` and `~user` replaced by a home folder.

    Raises:
        OptionError: There is no such user; `path` says where the value stands.
    """
    try:
        return str(Path(value).expanduser())
    except RuntimeError:
        raise OptionError(path, f"{shown(value)} is in the home folder of a user that is not known here") from None


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'momentum'?` for a near miss, else the sorted list of what exists."""
    known = sorted(known)
    near = difflib.get_close_matches(str(word), known, n=1, cutoff=0.7)
    return f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"


def shown(value: object) -> str:
    """The value as the user wrote it, on one line, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python refuses to print an integer of thousands of digits
        return "a number too long to print"
    return text if len(text) <= 200 else f"{text[:200]} ..."
