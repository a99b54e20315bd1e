"""A file that is a help and no duty: where the disk refuses it, the run goes on without it and says so once."""

import contextlib
import logging
import os
from collections.abc import Generator, Iterable
from pathlib import Path

from .atomic_file import atomic_file

_logger = logging.getLogger(__name__)


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
