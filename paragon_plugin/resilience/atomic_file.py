"""Writes files so that a kill, a full disk or a failure never leaves a broken one under the name."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """A temporary file beside the target. When the block ends without error, it is flushed to disk and renamed to the
    target.

    Raises:
        OSError: The file cannot be written. No part of it is left, and an older file of that name is unchanged.
    """
    path = Path(path)
    # A name that the file system takes may be one that it does not take with more around it.
    temporary = path.with_name(f".{os.fsdecode(os.fsencode(path.name)[:200])}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # Windows opens no folder, and some file systems cannot flush one
        _flush_folder(path.parent)


def _flush_folder(path: Path) -> None:
    """The rename itself must survive a power cut."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
