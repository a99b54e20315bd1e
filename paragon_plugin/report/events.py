"""Decisions of the scheduler as numbered events, each explained in plain words."""

from dataclasses import dataclass
from itertools import groupby

from .run_history import LoggedDecision, RunHistory

MEANING = {
    "calibrated": "The scheduler has measured what part of the update each loss makes. It now sets the weights, in "
    "small steps over as many iterations as it measured.",
    "dataset": "The training images are scored by their detail. With more detail the scheduler moves more slowly.",
    "phase": "Early readings are rough. So the scheduler moves slowly in the first tenth of a run, faster later.",
    "guard_rail": "An adversarial loss would have made too large a part of the update. It is held at its limit.",
    "raised": "An adversarial loss would have made too small a part of the update. It is raised, by 100 at most.",
    "corrected": "The losses look unstable. The scheduler moves more slowly from here on.",
    "recovered": "The losses have been stable for a while. The scheduler moves faster again.",
    "nonfinite": "A loss was NaN or infinite. The step was skipped and nothing was changed.",
}


@dataclass(frozen=True)
class Event:
    """Decisions of one kind of moment: all of one iteration, or a row of the same kind in adjacent iterations."""

    number: int
    iteration: int
    last: int
    decisions: list[LoggedDecision]

    @property
    def kinds(self) -> list[str]:
        """Kinds of its decisions, each once."""
        return list(dict.fromkeys(decision.kind for decision in self.decisions))

    @property
    def serious(self) -> bool:
        """Whether it is an incident."""
        return any(kind in ("nonfinite", "corrected") for kind in self.kinds)


def events(run: RunHistory) -> list[Event]:
    """Decisions grouped by iteration and numbered; runs of skipped steps are one event."""
    groups: list[list[LoggedDecision]] = []
    for _, same in groupby(run.decisions, key=lambda decision: decision.iteration):
        now = list(same)
        before = groups[-1] if groups else []
        row = before and {d.kind for d in [*before, *now]} == {"nonfinite"}
        if row and now[0].iteration == before[-1].iteration + 1:
            before.extend(now)
        else:
            groups.append(now)
    return [
        Event(number, group[0].iteration, group[-1].iteration, group) for number, group in enumerate(groups, start=1)
    ]


def meaning(event: Event) -> list[str]:
    """An event in plain words: what its kinds mean, then what changed parameters let the scheduler do."""
    words = [MEANING[kind] for kind in event.kinds if kind in MEANING]
    for decision in event.decisions:
        words += [
            form.format(after=_plain(name, decision.after[name]), before=_plain(name, decision.before[name]))
            for name, form in ALLOWED.items()
            if name in decision.before and name in decision.after
        ]
    return words


ALLOWED = {
    "adaptation_rate": "From here a weight may move by at most {after} % per iteration (before: {before} %).",
    "max_weight": "It may raise a weight up to {after} times (before: {before}).",
    "momentum": "Readings are averaged over about {after} iterations (before: {before}).",
}


def _plain(name: str, value: float) -> str:
    """A parameter as people think of it: a rate in percent, a momentum as the length of its average."""
    if name == "momentum":
        return f"{1 / (1 - value):.0f}" if value < 1 else "all"
    return f"{100 * value:.2g}" if name == "adaptation_rate" else f"{value:.3g}"
