"""Where the lines of a run go: all of them into its log file, and those for the user also onto the console.

The host logs through the logger `basicsr`, and we do too. Lines from before the run's folder exists are held back until
it does. So refused input leaves one line of error and no file.
"""

import logging
import logging.handlers
import sys
from pathlib import Path

from tqdm import tqdm

LOGGER = "basicsr"
_FORMAT = logging.Formatter("%(asctime)s %(levelname)s: %(message)s")


class RunLog:
    """Handlers of the host's logger for one run.

    Args:
        live: A progress line is on the terminal: its regular log lines are not repeated there.
        main_process: False on ranks other than 0, which only report errors.
    """

    def __init__(self, *, live: bool, main_process: bool = True):
        self.live = live
        self.logger = logging.getLogger(LOGGER)
        self.logger.handlers.clear()
        self.logger.propagate = False
        self.logger.setLevel(logging.INFO if main_process else logging.ERROR)
        self._early = logging.handlers.MemoryHandler(capacity=100_000, flushLevel=logging.CRITICAL + 1)
        self._console = _Console()
        self._console.addFilter(_ForPeople(live))
        self.logger.addHandler(self._early)
        from basicsr.utils.logger import initialized_logger

        initialized_logger[LOGGER] = True  # the host then uses the logger as it finds it

    def open(self, path: str | Path | None) -> None:
        """Let the lines through, from the first one on: to the console and, if there is a path, into that file."""
        handlers: list[logging.Handler] = [self._console]
        if path is not None:
            # Its name has the second: a run resumed within the same one goes on in it.
            file = logging.FileHandler(path, "a", encoding="utf-8", errors="backslashreplace")
            file.setFormatter(_FORMAT)
            handlers.append(file)
        self.logger.removeHandler(self._early)
        for handler in handlers:
            self.logger.addHandler(handler)
        for record in self._early.buffer:
            self.logger.handle(record)


class _Console(logging.Handler):
    """Prints above the progress line, if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        tqdm.write(text, file=sys.stderr if record.levelno >= logging.WARNING else sys.stdout)


class _ForPeople(logging.Filter):
    """Lets through our lines, the host's training lines unless a live line stands for them, and every warning."""

    def __init__(self, live: bool):
        super().__init__()
        self.live = live

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            return True
        if getattr(record, "file_only", False):
            return False
        path = Path(record.pathname)
        if "paragon_plugin" in path.parts:
            return True
        return path.name == "logger.py" and not self.live  # the host's MessageLogger
