"""The scheduler's decisions, one JSON object per line, in `loss_schedule.jsonl`."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from ..resilience.atomic_file import atomic_file
from .decisions import Decision

FILE_NAME = "loss_schedule.jsonl"


class DecisionLog:
    """Appends decisions to a file that survives a kill: a line is written whole, or is the last and cut off.

    Args:
        path: The file; created, with its folder, by the first decision.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def append(self, decisions: Iterable[Decision]) -> None:
        """Write decisions, in order."""
        lines = [json.dumps(decision.as_dict()) + "\n" for decision in decisions]
        if lines:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    if file.read() != b"\n":  # a kill cut the last line off
                        file.write(b"\n")
                file.write("".join(lines).encode())

    def rewind(self, iteration: int) -> None:
        """Drop what was decided after an iteration: a run resumed from there decides it again."""
        if not self.path.is_file():
            return
        kept = [line for line in self.path.read_text("utf-8").splitlines() if _iteration(line) <= iteration]
        with atomic_file(self.path) as file:
            file.write("".join(line + "\n" for line in kept).encode())


def _iteration(line: str) -> float:
    """Iteration of a line; a line cut off by a kill counts as past every iteration."""
    try:
        return json.loads(line)["iteration"]
    except (ValueError, KeyError):
        return float("inf")
