"""The live progress line of a training run."""

import os
import sys
import time
from collections.abc import Callable, Mapping

from tqdm import tqdm


def on_a_terminal() -> bool:
    """Whether a live line can be drawn: standard error is a terminal."""
    return sys.stderr.isatty()


def _width_known() -> bool:
    """Some containers and remote shells give a terminal of width 0, on which tqdm draws nothing."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):
        return False


class ProgressLine:
    """Iteration, iterations per second, time left, losses and their factors, redrawn in place.

    Args:
        total: Iterations of the whole run.
        start: Iterations done before.
        show: Draw it; otherwise every call does nothing.
    """

    EVERY_SECONDS = 0.5

    def __init__(self, total: int, start: int, *, show: bool):
        known = _width_known()
        self._bar = tqdm(
            total=total,
            initial=start,
            disable=not show,
            dynamic_ncols=known,
            ncols=None if known else 120,
            nrows=None if known else 24,
            unit="it",
            mininterval=0.2,
            bar_format="{n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}] {desc}",
        )
        self._show = show
        self._next = 0.0

    def step(self, texts: Callable[[], Mapping[str, str]]) -> None:
        """One iteration done; `texts` is asked for what to show at most twice a second (it may read the device)."""
        if not self._show:
            return
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self.EVERY_SECONDS
            self._bar.set_description_str("  ".join(f"{k} {v}" for k, v in texts().items()), refresh=False)
        self._bar.update()

    def close(self) -> None:
        self._bar.close()
