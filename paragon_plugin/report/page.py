"""The report's page: one HTML file with everything in it, for one run or for several side by side."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape

from ..version import __version__
from .charts import Chart
from .comparison import ahead, listed, results, unlike
from .crops import Strip
from .findings import findings
from .forgiving import part
from .page_parts import charts_of, columns, event_prefix, grid, section
from .page_run import details, differences, incidents
from .page_scheduling import scheduling
from .page_style import SCRIPT, STYLE
from .page_validation import picture_strip, picture_words, validation
from .run_charts import event_marks, loss_charts, metric_charts, rate_chart, run_charts, with_common_spans
from .run_history import RunHistory

STATES = {
    "finished": ("finished", "good"),
    "stopped": ("stopped, can go on", ""),
    "running": ("running", ""),
    "silent": ("fell silent", "bad"),
    "failed": ("ended with an error", "bad"),
}


def report_charts(runs: Sequence[RunHistory], left_out: list[str]) -> tuple[list[Chart], list[list[Chart]]]:
    """The charts that all runs share, and those of each run; `left_out` takes a line about what cannot be drawn."""
    end = max(run.iteration for run in runs)
    rate = part("the learning rate", lambda: rate_chart(runs), None, left_out)
    shared = [*part("the metrics", lambda: metric_charts(runs), [], left_out), *([rate] if rate else [])]
    shared += part("the losses of all", lambda: loss_charts(runs), [], left_out) if len(runs) > 1 else []

    def charts_of_run(run: RunHistory) -> list[Chart]:
        charts = run_charts(run, event_marks(run, event_prefix(runs, run)), end)
        return charts if len(runs) == 1 else [chart for chart in charts if chart.key != "losses"]

    own = [part(f"the charts of {run.name}", lambda run=run: charts_of_run(run), [], left_out) for run in runs]
    if len(runs) > 1:
        pairs = zip(runs, own, strict=True)
        own = [[replace(chart, title=f"{run.name}: {chart.title}") for chart in charts] for run, charts in pairs]
    return shared, part("the charts' common axes", lambda: with_common_spans(own), own, left_out)


def report_page(
    runs: Sequence[RunHistory],
    strips: Sequence[Strip],
    made: str,
    left_out: Sequence[str] = (),
    reload_seconds: int | None = None,
) -> str:
    """The whole page.

    Args:
        runs: One run, or several to compare.
        strips: Crops of validation images, see `crops.strips`.
        made: When the report is made, in words.
        left_out: What could not be made before, a line each.
        reload_seconds: After how long a browser reads the page anew, for one that is renewed; None: never.
    """
    told = [line for run in runs for line in run.left_out] + list(left_out)
    shared, own = report_charts(runs, told)
    title = listed([run.name for run in runs])
    single = len(runs) == 1
    sections: dict[str, Callable[[], str]] = {
        "the heading": lambda: _header(runs[0], small=False) if single else _headers(runs),
        "the results": lambda: section("Results", "", results(runs, _state_words)) if not single else "",
        "the answers": lambda: _answers(runs),
        "the validation": lambda: section("Validation", "", validation(runs, shared)),
        "the pictures": lambda: section(
            "Pictures",
            picture_words(strips),
            "".join(picture_strip(strip, number == 0) for number, strip in enumerate(strips)),
        ),
        "the scheduling": lambda: "".join(scheduling(runs, own)),
        "the losses": lambda: section(
            "Losses and learning rate",
            "",
            grid(charts_of(own, ("losses",)), [c for c in shared if c.key.startswith(("loss_", "learning_rate"))]),
        ),
        "the incidents": lambda: section("Incidents and warnings", "", columns([incidents(run) for run in runs])),
        "the differences": lambda: (
            section("What differs", "Options with different values.", differences(runs)) if not single else ""
        ),
        "the run": lambda: section("The run", "", columns([details(run) for run in runs])),
    }
    parts = [part(what, make, "", told) for what, make in sections.items()]
    lines = "".join(f"<li>{escape(line)}</li>" for line in dict.fromkeys(told))
    parts.append(section("Left out", "What could not be read or drawn.", f"<ul>{lines}</ul>" if lines else ""))
    footer = f"Made {escape(made)} by paragon-plugin {__version__}."
    script = SCRIPT
    if reload_seconds is not None:
        footer += f" This page reads itself anew every {reload_seconds} seconds."
        script += f"setTimeout(() => location.reload(), {1000 * reload_seconds});\n"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(title)} - training report</title><style>{STYLE}</style></head>'
        f"<body><main>{''.join(parts)}<footer>{footer}</footer></main><script>{script}</script></body></html>\n"
    )


# -- top -----------------------------------------------------------------------------------------------------------


def _state_words(run: RunHistory) -> str:
    return STATES[run.state][0]


def _header(run: RunHistory, small: bool) -> str:
    words, tone = STATES[run.state]
    tag = "h2" if small else "h1"
    return (
        f'<header><{tag}>{escape(run.name)}<span class="state {tone}">{words}</span></{tag}>'
        f'<p class="about">{escape(_about(run))}</p></header>'
    )


def _headers(runs: Sequence[RunHistory]) -> str:
    names = escape(listed([run.name for run in runs]))
    count = "Two" if len(runs) == 2 else str(len(runs))
    sentence = f'<p class="about">{count} runs side by side. {ahead(runs)}</p>'
    notes = "".join(f"<li>{escape(note)}</li>" for note in unlike(runs))
    first = f'<div class="card unlike"><b>Before you compare</b><ul>{notes}</ul></div>' if notes else ""
    return f"<header><h1>{names}</h1>{first}{sentence}</header>"


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
