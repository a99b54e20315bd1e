"""The scheduler's decisions, one JSON object per line, in `loss_schedule.jsonl`."""

import json
from collections.abc import Iterable
from pathlib import Path

from ..resilience.side_file import SideFile, read_text_lines
from .decisions import Decision

FILE_NAME = "loss_schedule.jsonl"


class DecisionLog:
    """Appends decisions to a file that survives a kill: a line is written whole, or is the last and cut off.

    Args:
        path: The file; created, with its folder, by the first decision.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._file = SideFile(path, "The log of the scheduler's decisions")

    def append(self, decisions: Iterable[Decision]) -> None:
        """Write decisions, in order."""
        self._file.append(json.dumps(decision.as_dict()) for decision in decisions)

    def rewind(self, iteration: int) -> None:
        """Drop what was decided after an iteration: a run resumed from there decides it again."""
        if not self.path.is_file() or self._file.unreadable():
            return
        lines = read_text_lines(self.path)
        self._file.replace("".join(f"{line}\n" for line in lines if _iteration(line) <= iteration))


def _iteration(line: str) -> float:
    """Iteration of a line; a line that a kill cut off, or of somebody else, counts as past every iteration."""
    try:
        return float(json.loads(line)["iteration"])
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return float("inf")
