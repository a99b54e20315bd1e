"""The report's section on the loss scheduler: shares and multipliers, calibration, parameters, decisions."""

from collections.abc import Sequence
from html import escape

from ..scheduling.decisions import percent
from .calibration_table import calibrations
from .charts import Chart, short
from .events import Event, events, meaning
from .page_parts import charts_of, columns, event_prefix, grid, section
from .run_history import RunHistory

MOST_EVENTS = 40
SHARES = (
    "Several losses pull at the network at once, and each step of training, an <b>update</b>, is their sum. A loss's "
    "<b>share</b> is the part of that update which comes from it. A configured weight does not tell: with the "
    "same weight one loss may make 2 % of the update and another 95 %. The scheduler measures the shares, sets the "
    "weights once, where they are far from what such losses usually get (the <b>calibration</b>), and then follows "
    "slowly what drifts."
)

PARAMETERS = {
    "momentum": "weight of the past in the running mean of readings",
    "adaptation_rate": "most that a weight changes per iteration, as a part of itself",
    "adaptation_threshold": "differences up to this part are left alone",
    "min_weight": "least by which a weight is multiplied after the calibration",
    "max_weight": "most by which a weight is multiplied after the calibration",
    "baseline_iterations": "iterations of watching before the calibration",
}


def scheduling(runs: Sequence[RunHistory], own: Sequence[Sequence[Chart]]) -> list[str]:
    if not any(run.scheduled for run in runs):
        return []
    cells = [_schedule_cell(run, event_prefix(runs, run)) for run in runs]
    return [section("What the scheduler did", SHARES, grid(charts_of(own, ("shares", "multipliers"))) + columns(cells))]


def _schedule_cell(run: RunHistory, prefix: str) -> str:
    if not run.scheduled:
        return (
            f'<div class="card"><p class="runname">{escape(run.name)}</p><p>No scheduling: constant weights.</p></div>'
        )
    name = f"{run.name}: " if prefix else ""
    cards = [
        f"<h3>{escape(name)}Calibration</h3>{_calibration_table(run)}{_parameters(run)}",
        f"<h3>{escape(name)}Decisions</h3>"
        + ('<p class="caption">The numbers are those over the charts.</p>' if run.decisions else "")
        + _event_list(run, prefix),
    ]
    made = "".join(f'<div class="card">{card}</div>' for card in cards)
    return f'<div class="columns">{made}</div>' if not prefix else made


def _calibration_table(run: RunHistory) -> str:
    def part(value: float | None) -> str:
        return percent(value) if value is not None else "-"

    def number(value: float | None) -> str:
        return short(value) if value is not None else "-"

    rows = "".join(
        f"<tr><td>{escape(row.loss)}<br><span class=caption>{escape(row.role)}</span></td>"
        f'<td class="n">{part(row.measured)}</td><td class="n">{part(row.target)}</td>'
        f'<td class="n">{part(row.share)}</td>'
        f'<td class="n">{number(row.base_weight)} → {number(row.weight)}</td></tr>'
        for row in calibrations(run)
    )
    heads = ("loss", "share at first", "target", "now", "weight in file → now")
    head = "".join(f"<th{'' if number == 0 else ' class=n'}>{text}</th>" for number, text in enumerate(heads))
    return f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'


def _parameters(run: RunHistory) -> str:
    if not run.parameters:
        return ""
    rows = "".join(
        f"<tr><td>{escape(name)}<br><span class=caption>{PARAMETERS.get(name, '')}</span></td>"
        f'<td class="n">{escape(value)}</td><td>{escape(why)}</td></tr>'
        for name, value, why in run.parameters
    )
    head = '<tr><th>parameter</th><th class="n">at the start</th><th>where it comes from</th></tr>'
    return (
        "<details open><summary>How fast and how far it may move</summary>"
        f'<div class="scroll"><table>{head}{rows}</table></div></details>'
    )


def _event_list(run: RunHistory, prefix: str) -> str:
    known = events(run)
    if not known:
        return "<p>None yet.</p>"
    shown, rest = known[:MOST_EVENTS], known[MOST_EVENTS:]
    more = (
        f'<details><summary>{len(rest)} more</summary><ol class="events">{_items(rest, prefix)}</ol></details>'
        if rest
        else ""
    )
    return f'<ol class="events">{_items(shown, prefix)}</ol>{more}'


def _items(known: Sequence[Event], prefix: str) -> str:
    items: list[str] = []
    told: set[str] = set()
    for event in known:
        when = f"iteration {event.iteration:,}" + (f" to {event.last:,}" if event.last > event.iteration else "")
        reasons = [decision.reason for decision in event.decisions]
        reasons = reasons if event.last == event.iteration else [reasons[0], "...", reasons[-1]]
        said = "".join(f"<p>{escape(_sentence(reason))}{'' if reason.endswith('.') else '.'}</p>" for reason in reasons)
        why = " ".join(words for words in meaning(event) if words not in told)
        told.update(meaning(event))
        items.append(
            f'<li id="{prefix}event-{event.number}"{" class=serious" if event.serious else ""}>'
            f'<div><span class="number">{event.number}</span></div><div><p class="when">{when}</p>{said}'
            f'<p class="plain">{escape(why)}</p></div></li>'
        )
    return "".join(items)


def _sentence(reason: str) -> str:
    """A reason with a capital, unless it begins with the name of a loss."""
    first = reason.partition(" ")[0]
    return reason[:1].upper() + reason[1:] if first.isalpha() else reason
