"""The report's page: one HTML file with everything in it, for one run or for two side by side."""

import math
from collections.abc import Sequence
from dataclasses import replace
from html import escape

from ..version import __version__
from .charts import Chart
from .crops import Strip
from .findings import findings
from .page_parts import charts_of, columns, event_prefix, grid, section
from .page_run import details, differences, incidents
from .page_scheduling import scheduling
from .page_style import SCRIPT, STYLE
from .page_validation import picture_strip, picture_words, validation
from .run_charts import event_marks, metric_charts, rate_chart, run_charts, with_common_spans
from .run_history import RunHistory
from .standings import label, standings

STATES = {
    "finished": ("finished", "good"),
    "stopped": ("stopped, can go on", ""),
    "running": ("running", ""),
    "silent": ("fell silent", "bad"),
    "failed": ("ended with an error", "bad"),
}


def report_charts(runs: Sequence[RunHistory]) -> tuple[list[Chart], list[list[Chart]]]:
    """The charts that all runs share, and those of each run."""
    end = max(run.iteration for run in runs)
    rate = rate_chart(runs)
    shared = [*metric_charts(runs), *([rate] if rate else [])]
    own = [run_charts(run, event_marks(run, event_prefix(runs, run)), end) for run in runs]
    if len(runs) > 1:
        pairs = zip(runs, own, strict=True)
        own = [[replace(chart, title=f"{run.name}: {chart.title}") for chart in charts] for run, charts in pairs]
    return shared, with_common_spans(own)


def report_page(runs: Sequence[RunHistory], strips: Sequence[Strip], made: str) -> str:
    """The whole page.

    Args:
        runs: One run, or two to compare.
        strips: Crops of validation images, see `crops.strips`.
        made: When the report is made, in words.
    """
    shared, own = report_charts(runs)
    title = " and ".join(run.name for run in runs)
    parts = [
        "".join(_header(run, len(runs) > 1) for run in runs) if len(runs) == 1 else _two_headers(runs),
        _answers(runs),
        section("Validation", "", validation(runs, shared)),
        section(
            "Pictures",
            picture_words(strips),
            "".join(picture_strip(strip, number == 0) for number, strip in enumerate(strips)),
        ),
        *scheduling(runs, own),
        section(
            "Losses and learning rate",
            "",
            grid(charts_of(own, ("losses",)), [c for c in shared if c.key == "learning_rate"]),
        ),
        section("Incidents and warnings", "", columns([incidents(run) for run in runs])),
        section("What differs", "Options with different values.", differences(runs)) if len(runs) > 1 else "",
        section("The run", "", columns([details(run) for run in runs])),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(title)} - training report</title><style>{STYLE}</style></head>'
        f"<body><main>{''.join(parts)}<footer>Made {escape(made)} by paragon-plugin {__version__}.</footer></main>"
        f"<script>{SCRIPT}</script></body></html>\n"
    )


# -- top -----------------------------------------------------------------------------------------------------------


def _header(run: RunHistory, small: bool) -> str:
    words, tone = STATES[run.state]
    tag = "h2" if small else "h1"
    return (
        f'<header><{tag}>{escape(run.name)}<span class="state {tone}">{words}</span></{tag}>'
        f'<p class="about">{escape(_about(run))}</p></header>'
    )


def _two_headers(runs: Sequence[RunHistory]) -> str:
    names = " and ".join(escape(run.name) for run in runs)
    return f'<header><h1>{names}</h1><p class="about">Two runs side by side. {_against(runs)}</p></header>'


def _against(runs: Sequence[RunHistory]) -> str:
    """One sentence: which of two runs is ahead, at the last iteration where both were validated."""
    first, second = ({(s.dataset, s.metric): s for s in standings(run)} for run in runs)
    for key in first:
        if key not in second:
            continue
        a, b = first[key], second[key]
        common = sorted(set(dict(a.numbers)) & set(dict(b.numbers)))
        x = dict(a.points)[common[-1]] if common else a.value
        y = dict(b.points)[common[-1]] if common else b.value
        if not math.isfinite(y - x):
            continue
        gain = (y - x) * (-1 if a.lower_is_better else 1)
        where = f"{label(a)}, at iterations {a.points[-1][0]:,} and {b.points[-1][0]:,}"
        if common:
            where = f"{label(a)} at iteration {common[-1]:,}, the last at which both were validated"
        if a.form_gain(gain) == a.form_gain(0):
            return f"They are level: {escape(where)} is {a.form(x)} for both."
        ahead = runs[1] if gain > 0 else runs[0]
        return f"<b>{escape(ahead.name)}</b> is {a.form_gain(gain)} better: {escape(where)}."
    return "They have no validation in common."


def _about(run: RunHistory) -> str:
    parts = [run.network or run.options.get("model_type", "")]
    if run.network_parameters:
        parts.append(f"{run.network_parameters:,} parameters")
    if run.options.get("scale"):
        parts.append(f"enlarges {run.options['scale']} times")
    if run.options.get("datasets.train.name"):
        parts.append(f"trained on {run.options['datasets.train.name']}")
    return " · ".join(part for part in parts if part)


def _answers(runs: Sequence[RunHistory]) -> str:
    if len(runs) == 1:
        return f'<section class="answers">{"".join(_answer_cards(runs[0]))}</section>'
    return columns([_header(run, small=True) + "".join(_answer_cards(run)) for run in runs])


def _answer_cards(run: RunHistory) -> list[str]:
    trained, compared, scheduled, incidents = findings(run)
    return [
        f'<div class="card answer {finding.tone}{" long" if finding is scheduled else ""}">'
        f'<p class="question">{escape(finding.question)}</p><p class="verdict">{escape(finding.verdict)}</p>'
        f"<p>{escape(finding.answer)}</p></div>"
        for finding in (trained, compared, incidents, scheduled)
    ]
