"""Ends a run early and in order, on SIGINT and SIGTERM."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from .ranks import any_rank


def let_last_words_be_said() -> None:
    """Ignore SIGTERM from here on, so that the last line of the process is printed. The process ends by itself.

    If one rank is lost, torchrun ends all ranks by SIGTERM. That would cut off the line that says what happened.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


class _Abandoned(BaseException):
    """Raised out of work that a signal ends at once."""


class Stop:
    """Turns SIGINT and SIGTERM into a request to stop after the current step; a second one interrupts at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        """The signal that this process got."""
        self._abandoning = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        if self._abandoning:
            raise _Abandoned

    def agreed(self) -> bool:
        """Whether some rank was asked to stop: all ranks stop at the same step. Every rank must ask."""
        stop = any_rank(self.signal is not None)
        if stop and self.signal is None:
            self.signal = signal.SIGTERM
        return stop

    def unless_asked(self, work: Callable[[], None]) -> bool:
        """Do work that is left off when a signal comes, for a resumed run does it again. Returns whether it is done."""
        try:
            self._abandoning = True
            asked = self.signal is not None
            if not asked:
                work()
            self._abandoning = False
            return not asked
        except _Abandoned:
            self._abandoning = False
            return False
