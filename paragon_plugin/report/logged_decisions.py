"""The scheduler's decisions, read back from `loss_schedule.jsonl`."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from ..scheduling.decision_log import FILE_NAME


@dataclass(frozen=True)
class LoggedDecision:
    """A line of the decision log; see `scheduling.decisions.Decision`."""

    iteration: int
    kind: str
    reason: str
    losses: tuple[str, ...] = ()
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)


def read_decisions(folder: Path) -> list[LoggedDecision]:
    """The decisions of a run in order; a line that a kill cut off is left out."""
    path = folder / FILE_NAME
    if not path.is_file():
        return []
    found: list[LoggedDecision] = []
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            values = json.loads(line)
            decision = LoggedDecision(**{**values, "losses": tuple(values["losses"])})
        except (ValueError, TypeError, KeyError):
            continue
        if isinstance(decision.iteration, int):
            found.append(decision)
    return sorted(found, key=lambda decision: decision.iteration)
