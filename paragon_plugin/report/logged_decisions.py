"""The scheduler's decisions, read back from `loss_schedule.jsonl`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec

from ..resilience.side_file import read_typed_lines
from ..scheduling.decision_log import FILE_NAME

Iteration = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


@dataclass(frozen=True)
class LoggedDecision:
    """A line of the decision log; see `scheduling.decisions.Decision`."""

    iteration: Iteration
    kind: str
    reason: str
    losses: tuple[str, ...] = ()
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)


def read_decisions(folder: Path, left_out: list[str] | None = None) -> list[LoggedDecision]:
    """The decisions of a run in order; a line that a kill cut off is left out.

    Args:
        folder: The run's folder.
        left_out: Takes a line about lines that are damaged or of somebody else.
    """
    found, bad = read_typed_lines(folder / FILE_NAME, LoggedDecision)
    if bad and left_out is not None:
        left_out.append(f"{FILE_NAME}: {bad} line{'s' * (bad > 1)} cannot be read")
    return sorted((decision for decision, _ in found), key=lambda decision: decision.iteration)
