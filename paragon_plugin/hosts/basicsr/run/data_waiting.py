"""How much of its time a training waits for images, and what to do about it."""

import os
from collections.abc import Mapping
from typing import Any

WINDOW = 100
"""Steps over which the share is looked at."""

MUCH = 1 / 3
"""Share of the time from which waiting is told of: without it the run would take two thirds of its time or less."""

SHORT_EPOCH = 100
"""Steps of an epoch below which it is worth while not to start workers anew so often."""


class DataWaiting:
    """Adds up what the steps of a process take and how long they wait for their batch.

    Args:
        block: The options of the training set.
        steps: Steps of an epoch.
    """

    def __init__(self, block: Mapping[str, Any], steps: int):
        self._block, self._steps = block, steps
        self._first = True
        self._told = False
        self._window = self._all = (0, 0.0, 0.0)

    def add(self, waited: float, took: float) -> str | None:
        """One step more, in seconds: how long its batch was waited for, and the whole step with that.

        The first step of a process is left out: all its workers start there. Returns what to tell, once.
        """
        if self._first:
            self._first = False
            return None
        self._window, self._all = (
            (count + 1, waits + waited, whole + took) for count, waits, whole in (self._window, self._all)
        )
        count, waits, whole = self._window
        if count < WINDOW:
            return None
        self._window = (0, 0.0, 0.0)
        if self._told or waits <= MUCH * whole:
            return None
        self._told = True
        return f"Training waits for images: {waits / whole:.0%} of the time of the last {count} steps. {self.advice()}"

    def closing(self) -> str | None:
        """What to tell at the end: of a run that was told of, and waited as a whole."""
        _, waits, whole = self._all
        if not self._told or waits <= MUCH * whole:
            return None
        return f"{waits / whole:.0%} of the time went into waiting for images. {self.advice()}"

    def advice(self) -> str:
        """What helps, the easiest first."""
        workers, cores = int(self._block.get("num_worker_per_gpu") or 0), _cores()
        what: list[str] = []
        if workers < cores:
            what.append(f"raise datasets.train.num_worker_per_gpu ({workers} now, for {cores} cores here)")
        if workers and self._steps < SHORT_EPOCH and not self._block.get("persistent_workers"):
            what.append(
                f"raise datasets.train.dataset_enlarge_ratio (an epoch has {self._steps} steps, and workers start anew "
                "in each)"
            )
        if self._block.get("type") == "HRImageDataset":
            what.append("raise datasets.train.cache_mb, so that the decoded images fit")
        else:
            what.append("cut large images into tiles of some 480 pixels")
        return f"What helps: {'; '.join(what)}."


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
