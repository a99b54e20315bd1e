"""A table of runs: what each is, how far it came, what it reached, how it ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from .run_history import RunHistory
from .standings import label, standings

COLUMNS = ("run", "state", "iterations", "best", "network", "time", "ended")


@dataclass(frozen=True)
class RunRow:
    """One run."""

    name: str
    state: str
    iterations: str
    best: str
    """The best value of its first metric, with its iteration."""
    network: str
    time: str
    ended: str
    """Why it ended; empty where it finished or still runs."""

    @property
    def cells(self) -> tuple[str, ...]:
        """In the order of `COLUMNS`."""
        return (self.name, self.state, self.iterations, self.best, self.network, self.time, self.ended)


def row_of(run: RunHistory) -> RunRow:
    """What the table says of a run."""
    total = f" of {run.total:,}" if run.total is not None else ""
    silent = "its record stops there; most likely it was killed" if run.state == "silent" else ""
    return RunRow(
        run.folder.name,
        run.state,
        f"{run.iteration:,}{total}",
        _best(run),
        run.network,
        "" if run.seconds is None else str(timedelta(seconds=round(run.seconds))),
        run.failure or silent,
    )


def unreadable_row(name: str, problem: str) -> RunRow:
    """What the table says of a run that cannot be read."""
    return RunRow(name, "unreadable", "", "", "", "", problem)


def table(rows: Sequence[RunRow]) -> list[str]:
    """Lines of text in columns; a column that is empty in all rows is left out."""
    cells = [COLUMNS, *(row.cells for row in rows)]
    shown = [i for i in range(len(COLUMNS)) if any(row[i] for row in cells[1:])]
    widths = {i: max(len(row[i]) for row in cells) for i in shown}
    return ["  ".join(row[i].ljust(widths[i]) for i in shown).rstrip() for row in cells]


def _best(run: RunHistory) -> str:
    for standing in standings(run):
        if standing.best is not None:
            iteration, value = standing.best
            return f"{label(standing)} {standing.form(value)} at {iteration:,}"
    return ""
