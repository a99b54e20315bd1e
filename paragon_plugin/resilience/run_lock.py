"""A lock on a run: only one process at a time writes into its folder. The lock ends with the process that holds it.

The lock is a POSIX record lock (`lockf`) on a file beside the run's folder. It is not inside, because the folder is
renamed when a run of the same name begins anew. The system releases the lock at any end of its process. Forked data
workers do not inherit it, as they would inherit a lock of `flock`. So a worker that outlives its killed parent holds no
lock.
"""

import contextlib
import errno
import json
import logging
import os
import socket
import time
from pathlib import Path
from typing import Any

from ..errors import OptionError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_logger = logging.getLogger(__name__)

HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
"""What the system says of a lock that another process has."""

FAR = 1 << 40
"""The byte that is locked where locked bytes cannot be read (Windows): the owner's words stand before it."""


class RunLock:
    """Holds a run's folder for this process.

    Args:
        folder: The run's folder, which need not exist.
    """

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        self.folder = folder
        self.path = folder.with_name(f".{folder.name}.lock")
        self._file: int | None = None
        self._made: Path | None = None

    def acquire(self) -> None:
        """Take the lock. Where the file system has no locks, the log says so and the run goes on without one.

        Raises:
            OptionError: A living process has it, or the file cannot be made.
        """
        try:
            while self._file is None:
                try:
                    self._make_parent()
                    file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
                except FileNotFoundError:
                    continue  # somebody has just removed the folder that he had made
                try:
                    _lock(file)
                except OSError as error:
                    if error.errno in HELD:
                        owner = _owner(file)
                        os.close(file)
                        raise OptionError(
                            "name", f"{self.folder} is in use by {owner}; wait for it, stop it, or take another name"
                        ) from None
                    _logger.warning(f"{self.path} cannot be locked ({error.strerror}): start it only once")
                if _is(file, self.path):  # else its owner has just removed it: what is locked is no file of that name
                    self._file = file
                else:
                    os.close(file)
            words = {"process": os.getpid(), "host": socket.gethostname(), "since": round(time.time())}
            os.ftruncate(self._file, 0)
            os.lseek(self._file, 0, os.SEEK_SET)
            os.write(self._file, json.dumps(words).encode())
        except OSError as error:
            self.release()
            raise OptionError(str(error.filename or self.path), f"cannot be written: {error.strerror}") from error

    def release(self) -> None:
        """Give the lock back; the file goes, and so does an empty folder around it that was made for it."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                if _is(self._file, self.path):
                    self.path.unlink()  # while it is locked: nobody else can hold a file of that name
            os.close(self._file)
            self._file = None
        if self._made is not None:
            with contextlib.suppress(OSError):
                self._made.rmdir()
            self._made = None

    def _make_parent(self) -> None:
        if not self.path.parent.is_dir():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._made = self.path.parent


def _lock(file: int) -> None:
    if fcntl is not None:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    import msvcrt  # pragma: no cover

    windows: Any = msvcrt
    os.lseek(file, FAR, os.SEEK_SET)
    windows.locking(file, windows.LK_NBLCK, 1)


def _is(file: int, path: Path) -> bool:
    """Whether an open file is the one of that name."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except OSError:
        return False


def _owner(file: int) -> str:
    """Who has the lock, in words."""
    try:
        os.lseek(file, 0, os.SEEK_SET)
        words = json.loads(os.read(file, 1000))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(words["since"]))
        return f"process {int(words['process'])} on {words['host']!s} since {since}"
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return "another process"
