"""A run as plain data: what a report is made from, whoever trained it and however it was read."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..scheduling.options import DynamicLossScheduling
from .logged_decisions import LoggedDecision
from .references import SetRecord

Points = list[tuple[int, float]]
"""(iteration, value), iterations ascending."""

State = Literal["finished", "stopped", "failed", "running", "silent"]
"""`failed`: it ended with an error that it told. `silent`: it does not run any more and did not say how it ended; most
likely it was killed."""


@dataclass(frozen=True)
class RunHistory:
    """What is known of a run. Everything but the name and the folder may be missing."""

    name: str
    folder: Path
    state: State
    iteration: int
    total: int | None
    seconds: float | None
    """Time that was spent on it, summed over resumed parts."""
    eta: str
    """Time left, as `h:mm:ss`."""
    options: dict[str, str]
    """The options in force, as text by dotted path; empty where they are not known."""
    scheduling: DynamicLossScheduling | None
    """The scheduler's options in force; None where they are not known."""
    network: str
    network_parameters: int
    series: dict[str, Points]
    recipe: dict[str, tuple[str, float]]
    """Role and base weight of each loss that trains."""
    parameters: list[tuple[str, str, str]]
    """The scheduler's parameters at its first step: name, value, where it came from."""
    decisions: list[LoggedDecision]
    warnings: list[str]
    resumed_from: list[int]
    failure: str
    """Why it ended with an error; empty where it did not."""
    references: dict[str, SetRecord]
    images: dict[str, dict[int, Path]]
    """Saved validation images: {image: {iteration: file}}; an image's name begins with its set's."""
    left_out: list[str] = field(default_factory=list[str])
    """What could not be read, a line each."""

    def under(self, prefix: str) -> dict[str, Points]:
        """Series of one kind by their short names, such as those under `loss_shares/`."""
        return {tag[len(prefix) :]: points for tag, points in self.series.items() if tag.startswith(prefix) and points}

    @property
    def scheduled(self) -> bool:
        """Whether the loss scheduler was on. The options tell where the run ended before it did anything."""
        on = self.scheduling is not None and self.scheduling.enabled
        return on or bool(self.decisions or self.under("loss_shares/"))
