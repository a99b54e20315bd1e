"""Which charts a report has: from runs to charts as plain data."""

import math
from collections.abc import Sequence
from dataclasses import replace

from ..scheduling.decisions import percent
from .calibration_table import calibrations
from .charts import Chart, Level, Mark, Series, short, smoothed, thinned
from .drawing import SERIES_INKS
from .events import events
from .run_history import RunHistory
from .standings import Standing, label, standings

SMOOTH_FROM = 12
MOST_MARKS = 40


def metric_charts(runs: Sequence[RunHistory]) -> list[Chart]:
    """A chart per metric and validation set, all runs in it, beside the classical upscalers'."""
    known: dict[tuple[str, str], Standing] = {}
    for run in runs:
        for standing in standings(run):
            known.setdefault((standing.dataset, standing.metric), standing)
    charts = []
    for (dataset, metric), standing in known.items():
        series, levels = [], {}
        for number, run in enumerate(runs):
            for own in standings(run):
                if (own.dataset, own.metric) == (dataset, metric):
                    name = "this network" if len(runs) == 1 else run.name
                    series += [Series(name, thinned(own.numbers), _ink(number))] if own.numbers else []
                    levels |= own.references
        if not series:
            continue  # nothing but NaN and infinity: the table has them
        better = "Lower" if standing.lower_is_better else "Higher"
        charts.append(
            Chart(
                key=f"metric_{dataset}_{metric}",
                title=label(standing),
                caption=f"{better} is closer to the original photographs."
                + (" Dashed: the same images enlarged without a network." if levels else ""),
                series=series,
                levels=[Level(name, value) for name, value in levels.items() if math.isfinite(value)],
                form=standing.form,
                bare=True,
                last=_end(runs),
            )
        )
    return charts


def share_chart(run: RunHistory, marks: Sequence[Mark], end: int) -> Chart | None:
    """Each loss's part of the update; before its calibration, the mean that was measured."""
    known = run.under("loss_shares/")
    rows = {row.loss: row for row in calibrations(run)}
    if not known:
        return None
    series, levels = [], []
    for loss, ink in inks(run).items():
        row = rows.get(loss)
        if row is not None and row.iteration is not None and row.measured is not None:
            begin = min(1, row.iteration)
            series.append(
                Series(f"{loss}, measured", [(begin, row.measured), (row.iteration, row.measured)], ink, dash=2)
            )
        if row is not None and row.target is not None:
            levels.append(Level("", row.target, ink))
        if loss in known:
            series.append(Series(loss, thinned(known[loss]), ink))
    return Chart(
        key="shares",
        title="Part of the update each loss makes",
        caption="All losses together are 100 %. Dotted: what the configured weights alone gave. Dashed: what the "
        "scheduler aims at.",
        series=series,
        levels=levels,
        marks=list(marks),
        form=percent,
        bounds=(0.0, 1.0),
        last=end,
    )


def factor_chart(run: RunHistory, marks: Sequence[Mark], end: int) -> Chart | None:
    """By what each loss's weight is multiplied: weight in force over the configured one."""
    weights = run.under("loss_weights/")
    rows = {row.loss: row for row in calibrations(run)}
    if not weights:
        return None
    series = []
    for loss, ink in inks(run).items():
        if loss not in weights:
            continue
        row = rows.get(loss)
        base = (row.base_weight if row else None) or 0.0
        points = [(iteration, value / base) for iteration, value in weights[loss]] if base else weights[loss]
        if base and row is not None and row.iteration is not None and row.iteration < points[0][0]:
            points = [(min(1, row.iteration), 1.0), (row.iteration, 1.0), *points]
        series.append(Series(loss, thinned(points), ink))
    relative = all(row.base_weight for row in rows.values())
    log, left_out = _logarithmic(series)
    return Chart(
        key="multipliers",
        title="What the scheduler multiplies each weight by" if relative else "Weight of each loss",
        caption="x 1 is the configured weight. A step is a calibration, which corrects the weight's unit; slow "
        f"movement after it follows the drift of training.{left_out}",
        series=series,
        levels=[Level("", 1.0)] if relative else [],
        marks=list(marks),
        form=(lambda value: f"x {short(value)}") if relative else short,
        log=log,
        last=end,
    )


def loss_chart(run: RunHistory, marks: Sequence[Mark], end: int) -> Chart | None:
    """Every loss's value with its configured weight, on a logarithmic axis where each has values for one."""
    known = run.under("losses/l_")
    if not known:
        return None
    ink = inks(run)
    series = []
    for loss, points in known.items():
        points = thinned(points)
        smooth = len(points) >= SMOOTH_FROM
        series.append(Series(loss, smoothed(points) if smooth else points, ink[loss], raw=points if smooth else []))
    noise = " Faint: as logged; bold: smoothed." if any(s.raw for s in series) else ""
    log, left_out = _logarithmic(series)
    axis = ", on a logarithmic axis" if log else ""
    return Chart(
        key="losses",
        title="Losses",
        caption=f"Lower is better; with the configured weights{axis}. Each value is of one batch, "
        f"and batches differ much: the validation above is the better judge.{noise}{left_out}",
        series=series,
        marks=list(marks),
        form=short,
        bare=True,
        log=log,
        last=end,
    )


def loss_charts(runs: Sequence[RunHistory]) -> list[Chart]:
    """A chart per loss with the curves of all runs, on a logarithmic axis where each has values for one."""
    names = dict.fromkeys(loss for run in runs for loss in run.under("losses/l_"))
    charts: list[Chart] = []
    for loss in names:
        series: list[Series] = []
        for number, run in enumerate(runs):
            points = thinned(run.under("losses/l_").get(loss, []))
            if points:
                curve = smoothed(points) if len(points) >= SMOOTH_FROM else points
                series.append(Series(run.name, curve, _ink(number)))
        log, left_out = _logarithmic(series)
        axis = ", on a logarithmic axis" if log else ""
        chart = Chart(
            key=f"loss_{loss}",
            title=loss,
            caption=f"Lower is better; with the weight in each run's file{axis}.{left_out}",
            series=series,
            form=short,
            bare=True,
            log=log,
            last=_end(runs),
        )
        charts += [chart] if series else []
    return charts


def rate_chart(runs: Sequence[RunHistory]) -> Chart | None:
    """The learning rate."""
    series = [
        Series("learning rate" if len(runs) == 1 else run.name, thinned(run.series["lr"]), _ink(number))
        for number, run in enumerate(runs)
        if run.series.get("lr")
    ]
    if not series:
        return None
    top = max(value for s in series for _, value in s.points) or 1.0
    return Chart(
        key="learning_rate",
        title="Learning rate",
        caption="Size of a step. The scheduler of losses does not touch it.",
        series=series,
        form=short,
        bounds=(0.0, 1.08 * top),
        last=_end(runs),
    )


def run_charts(run: RunHistory, marks: Sequence[Mark], end: int) -> list[Chart]:
    """The charts of one run with its decisions marked on them."""
    built = (share_chart(run, marks, end), factor_chart(run, marks, end), loss_chart(run, marks, end))
    return [chart for chart in built if chart is not None]


def with_common_spans(charts: Sequence[Sequence[Chart]]) -> list[list[Chart]]:
    """The same charts with the same vertical axis wherever runs have one of the same name and kind of axis."""
    spans: dict[tuple[str, bool], tuple[float, float]] = {}
    for chart in (chart for column in charts for chart in column):
        low, high = chart.span
        before = spans.get((chart.key, chart.log), (low, high))
        spans[chart.key, chart.log] = (min(low, before[0]), max(high, before[1]))
    return [[replace(chart, bounds=spans[chart.key, chart.log]) for chart in column] for column in charts]


def inks(run: RunHistory) -> dict[str, str]:
    """An ink for each loss, the same in all charts of a run."""
    names = dict.fromkeys([*run.recipe, *run.under("losses/l_"), *run.under("loss_shares/")])
    return {name: SERIES_INKS[number % len(SERIES_INKS)] for number, name in enumerate(names)}


def event_marks(run: RunHistory, prefix: str = "") -> list[Mark]:
    """Marks of a run's events; of a great many, those that say most."""
    known = events(run)
    if len(known) > MOST_MARKS:
        telling = [event for event in known if event.serious or "calibrated" in event.kinds]
        known = (telling or known)[:MOST_MARKS]
    return [
        Mark(event.iteration, event.number, f"{prefix}event-{event.number}", "s4" if event.serious else "mark")
        for event in known
    ]


def _ink(number: int) -> str:
    """The ink of a run among others."""
    return SERIES_INKS[number % len(SERIES_INKS)]


def _logarithmic(series: Sequence[Series]) -> tuple[bool, str]:
    """Whether a logarithmic axis suits curves, and what to say of values that it has no place for.

    It does not where a curve has no value above 0.
    """
    curves = [[value for _, value in [*s.points, *s.raw]] for s in series]
    if any(values and max(values) <= 0 for values in curves):
        return False, ""
    left_out = any(value <= 0 for values in curves for value in values)
    return True, " Values of 0 and below have no place on this axis and are left out." if left_out else ""


def _end(runs: Sequence[RunHistory]) -> int:
    return max(run.iteration for run in runs)
