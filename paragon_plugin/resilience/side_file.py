"""Files that a run can do without. If the disk refuses such a file, the run goes on and says so once.

Files are read by type. Damaged data, and data of another type or program, are left out and counted. Reading raises
nothing.
"""

import contextlib
import json
import logging
import os
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from .atomic_file import atomic_file

_logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_BYTES = 1 << 28
"""A larger file is none of ours, and is not read."""


class SideFile:
    """Writes one file of text.

    Args:
        path: The file; its folder is made where it is missing.
        what: What the file is, as the first words of a warning: `The run's record`.
    """

    def __init__(self, path: str | Path, what: str):
        self.path = Path(path)
        self.what = what
        self._told = False

    def append(self, lines: Iterable[str]) -> None:
        """Write lines at the end. A last line that a kill cut off is ended first, so that it spoils no other."""
        text = "".join(f"{line}\n" for line in lines).encode()
        if not text:
            return
        with self._forgiving():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    if file.read() != b"\n":
                        text = b"\n" + text
                file.write(text)

    def replace(self, text: str) -> None:
        """Write the file anew, whole or not at all."""
        with self._forgiving():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(self.path) as file:
                file.write(text.encode())

    def unreadable(self) -> bool:
        """Whether the file is there and the disk does not give it: it must not be replaced by what is known of it."""
        try:
            with self.path.open("rb"):
                return False
        except OSError as error:
            return not isinstance(error, FileNotFoundError | NotADirectoryError)

    @contextlib.contextmanager
    def _forgiving(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            if not self._told:
                self._told = True
                _logger.warning(f"{self.what} cannot be written: {error}")


# -- reading -----------------------------------------------------------------------------------------------------------


def read_text_lines(path: Path) -> list[str]:
    """The lines of a file; none where it is missing, cannot be read or is too large. Bytes that are no UTF-8 are
    replaced."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError:
        return []
    return [] if len(data) > MAX_BYTES else data.decode(errors="replace").splitlines()


def read_typed_lines(path: Path, kind: type[T]) -> tuple[list[tuple[T, Any]], int]:
    """The lines of a file of JSON.

    Args:
        path: The file.
        kind: What a line must be, as `msgspec.convert` understands it.

    Returns:
        What each good line says, as `kind` and as plain values, and the number of the others. The last line does not
        count as one of them: a kill cuts it off.
    """
    found: list[tuple[T, Any]] = []
    bad: list[int] = []
    lines = read_text_lines(path)
    for number, line in enumerate(lines):
        try:
            value = json.loads(line)
            found.append((msgspec.convert(value, kind), value))
        except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors
            bad.append(number)
    return found, len(bad) - (bad[-1:] == [len(lines) - 1])


def read_typed(path: Path, kind: type[T]) -> tuple[T | None, Any]:
    """A file of JSON, as `kind` and as plain values; None twice where it is missing or anything else."""
    try:
        value = json.loads("\n".join(read_text_lines(path)))
        return msgspec.convert(value, kind), value
    except (ValueError, RecursionError):
        return None, None
