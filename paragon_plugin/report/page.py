"""The report's page: one HTML file with everything in it, for one run or for two side by side."""

import json
from collections.abc import Sequence
from dataclasses import replace
from html import escape

from ..scheduling.decisions import percent
from ..version import __version__
from .calibration_table import calibrations
from .charts import BOTTOM, NARROW, RIGHT, TOP, WIDE, Chart, draw, short
from .crops import Strip
from .events import Event, events, meaning
from .findings import findings
from .page_style import SCRIPT, STYLE
from .run_charts import event_marks, metric_charts, rate_chart, run_charts, with_common_spans
from .run_history import RunHistory
from .standings import label, standings

STATES = {
    "finished": ("finished", "good"),
    "stopped": ("stopped, can go on", ""),
    "running": ("running", ""),
    "silent": ("fell silent", "bad"),
}
MOST_EVENTS = 40
SHARES = (
    "Several losses pull at the network at once, and each step of training, an <b>update</b>, is their sum. A loss's "
    "<b>share</b> is the part of that update which comes from it. A weight in the option file does not tell: with the "
    "same weight one loss may make 2 % of the update and another 95 %. The scheduler measures the shares, sets the "
    "weights once, where they are far from what such losses usually get (the <b>calibration</b>), and then follows "
    "slowly what drifts."
)


def report_charts(runs: Sequence[RunHistory]) -> tuple[list[Chart], list[list[Chart]]]:
    """The charts that all runs share, and those of each run."""
    end = max(run.iteration for run in runs)
    rate = rate_chart(runs)
    shared = [*metric_charts(runs), *([rate] if rate else [])]
    own = [run_charts(run, event_marks(run, _prefix(runs, run)), end) for run in runs]
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
        _section("Validation", "", _validation(runs, shared)),
        _section(
            "Pictures",
            _picture_words(strips),
            "".join(_strip(strip, number == 0) for number, strip in enumerate(strips)),
        ),
        *_scheduling(runs, own),
        _section(
            "Losses and learning rate",
            "",
            _grid(_of(own, ("losses",)), [c for c in shared if c.key == "learning_rate"]),
        ),
        _section("Incidents and warnings", "", _columns([_incidents(run) for run in runs])),
        _section("What differs", "Options with different values.", _differences(runs)) if len(runs) > 1 else "",
        _section("The run", "", _columns([_details(run) for run in runs])),
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
        common = sorted(set(dict(a.points)) & set(dict(b.points)))
        x = dict(a.points)[common[-1]] if common else a.value
        y = dict(b.points)[common[-1]] if common else b.value
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
    columns = [_header(run, small=True) + "".join(_answer_cards(run)) for run in runs]
    return _columns(columns)


def _answer_cards(run: RunHistory) -> list[str]:
    trained, compared, scheduled, incidents = findings(run)
    return [
        f'<div class="card answer {finding.tone}{" long" if finding is scheduled else ""}">'
        f'<p class="question">{escape(finding.question)}</p><p class="verdict">{escape(finding.verdict)}</p>'
        f"<p>{escape(finding.answer)}</p></div>"
        for finding in (trained, compared, incidents, scheduled)
    ]


# -- sections ------------------------------------------------------------------------------------------------------


def _section(title: str, lead: str, body: str) -> str:
    """A section with its heading; nothing where it has no body."""
    if not body:
        return ""
    words = f'<p class="lead">{lead}</p>' if lead else ""
    return f"<section><h2>{escape(title)}</h2>{words}{body}</section>"


def _columns(cells: Sequence[str]) -> str:
    """Cells under each other for one run, beside each other for two; nothing where all are empty."""
    if not any(cells):
        return ""
    if len(cells) == 1:
        return cells[0]
    return f'<div class="columns">{"".join(f"<div class=column>{cell}</div>" for cell in cells)}</div>'


def _of(own: Sequence[Sequence[Chart]], keys: Sequence[str]) -> list[Chart]:
    return [chart for key in keys for column in own for chart in column if chart.key == key]


def _grid(*charts: Sequence[Chart]) -> str:
    cards = [f'<div class="card">{_figure(chart)}</div>' for group in charts for chart in group]
    return f'<div class="columns">{"".join(cards)}</div>' if cards else ""


def _figure(chart: Chart) -> str:
    """A chart with its title, its legend, which is also the read-out, and its caption."""
    data = {
        "series": [[[i, chart.form(v)] for i, v in s.points] for s in chart.series],
        "left": chart.left,
        "right": RIGHT,
        "top": TOP,
        "bottom": BOTTOM,
        "end": chart.end,
    }
    legend = "".join(
        f'<li{" hidden" if s.dash else ""}><span class="c {s.ink}"></span>{escape(s.label)}'
        f"<b data-series>{' ' + escape(chart.form(s.points[-1][1])) if s.points else ''}</b></li>"
        for s in chart.series
    )
    last = max((s.points[-1][0] for s in chart.series if s.points), default=0)
    return (
        f'<figure data-chart="{escape(json.dumps(data, separators=(",", ":"), ensure_ascii=False))}">'
        f"<h3>{escape(chart.title)}</h3>"
        f'<ul class="legend">{legend}<li class="at">iteration {last:,}</li></ul>'
        f"{draw(chart, WIDE).svg('class=wide')}{draw(chart, NARROW).svg('class=narrow')}"
        f'<figcaption class="caption">{escape(chart.caption)}</figcaption></figure>'
    )


def _validation(runs: Sequence[RunHistory], shared: Sequence[Chart]) -> str:
    charts = [f'<div class="card">{_figure(chart)}</div>' for chart in shared if chart.key.startswith("metric_")]
    tables = [_comparison(run, len(runs) > 1) for run in runs]
    cards = [f'<div class="card">{table}</div>' for table in tables if table]
    return f'<div class="columns">{"".join([*charts, *cards])}</div>' if charts else ""


def _comparison(run: RunHistory, named: bool) -> str:
    """Table: every upscaler's metrics, and how far ours is from each."""
    rows = []
    for standing in standings(run):
        rows.append(f'<tr><th>{escape(label(standing))}</th><th class="n">value</th><th class="n">ours is</th></tr>')
        for name, value in standing.references.items():
            gain = standing.gain(value)
            tone, side = ("good-text", "better") if gain >= 0 else ("bad-text", "worse")
            rows.append(
                f'<tr><td>{escape(name)}</td><td class="n">{standing.form(value)}</td>'
                f'<td class="n {tone}">{standing.form_gain(gain)} {side}</td></tr>'
            )
        best = (min if standing.lower_is_better else max)(standing.points, key=lambda point: point[1])
        rows.append(
            f'<tr class="ours"><td>this network, iteration {standing.points[-1][0]:,}</td>'
            f'<td class="n">{standing.form(standing.value)}</td><td class="n"></td></tr>'
        )
        if best[0] != standing.points[-1][0]:
            rows.append(
                f'<tr><td>its best, iteration {best[0]:,}</td><td class="n">{standing.form(best[1])}</td>'
                '<td class="n"></td></tr>'
            )
    if not rows:
        return ""
    heading = f"{run.name}: beside classical upscaling" if named else "Beside classical upscaling"
    return f'<h3>{escape(heading)}</h3><div class="scroll"><table>{"".join(rows)}</table></div>'


def _picture_words(strips: Sequence[Strip]) -> str:
    if not any(tile.kind == "hr" for strip in strips for tile in strip.tiles):
        return "The middle of each saved validation image, as training went on."
    ours = any(tile.kind == "ours" for strip in strips for tile in strip.tiles)
    lacking = "" if ours else " The run saved no images of its own; <b>val: save_img: true</b> makes it."
    return (
        "A small crop of each validation image, pixel by pixel, taken where bicubic is furthest from the original. The "
        f"network sees only the LR picture. Decibels are of this crop alone: more is closer to the original.{lacking}"
    )


def _strip(strip: Strip, first: bool) -> str:
    tiles = []
    for tile in strip.tiles:
        value = f"{tile.psnr:.1f} dB" if tile.psnr is not None else "&nbsp;"
        tiles.append(
            f'<figure class="{tile.kind}"><img src="{tile.uri()}" alt="{escape(strip.image)}: {escape(tile.label)}">'
            f"<figcaption>{escape(tile.label)}<span>{value}</span></figcaption></figure>"
        )
    return (
        f'<div class="card" style="margin-top:14px"><div class="picture"><h3>{escape(strip.image)}</h3>'
        f'<div class="strip">{"".join(tiles)}</div>{_wipe(strip, first)}</div></div>'
    )


def _wipe(strip: Strip, unfolded: bool) -> str:
    """Bicubic and ours over each other with a slider between them, and the original beside them."""
    last = {tile.kind: tile for tile in strip.tiles}
    if not {"bicubic", "ours", "hr"} <= set(last):
        return ""
    left, right, original = last["bicubic"], last["ours"], last["hr"]
    return (
        f"<details{' open' if unfolded else ''}><summary>Slide between bicubic and ours</summary>"
        f'<div class="pair"><div class="slide"><div class="wipe"><img src="{left.uri()}" alt="">'
        f'<img class="over" src="{right.uri()}" alt=""><span class="tag a">{escape(left.label)}</span>'
        f'<span class="tag b">{escape(right.label)}</span></div>'
        '<input type="range" min="0" max="100" value="50" data-wipe aria-label="Where bicubic ends and ours begins">'
        f'</div><div class="wipe still"><img src="{original.uri()}" alt="">'
        f'<span class="tag a">{escape(original.label)}</span></div></div></details>'
    )


# -- the scheduler -------------------------------------------------------------------------------------------------


def _scheduling(runs: Sequence[RunHistory], own: Sequence[Sequence[Chart]]) -> list[str]:
    if not any(run.scheduled for run in runs):
        return []
    cells = [_schedule_cell(run, _prefix(runs, run)) for run in runs]
    return [_section("What the scheduler did", SHARES, _grid(_of(own, ("shares", "multipliers"))) + _columns(cells))]


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
        f'<tr><td>{escape(name)}</td><td class="n">{escape(value)}</td><td>{escape(why)}</td></tr>'
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


def _prefix(runs: Sequence[RunHistory], run: RunHistory) -> str:
    """What tells the events of two runs apart."""
    return "" if len(runs) == 1 else f"run{[id(r) for r in runs].index(id(run)) + 1}-"


# -- the rest ------------------------------------------------------------------------------------------------------


def _incidents(run: RunHistory) -> str:
    finding = findings(run)[-1]
    if finding.tone == "good":
        return ""
    serious = "".join(
        f"<li>Iteration {event.iteration:,}: {escape(decision.reason)}.</li>"
        for event in [event for event in events(run) if event.serious][:20]
        for decision in event.decisions[-1:]
    )
    warnings = "".join(f"<li>{escape(text)}</li>" for text in run.warnings[:20])
    if not serious and not warnings:
        return ""
    more = f"<p>{len(run.warnings) - 20} more are in the log.</p>" if len(run.warnings) > 20 else ""
    return (
        f'<div class="card"><p>{escape(finding.answer)}</p>'
        + (f"<ul>{serious}</ul>" if serious else "")
        + (f"<p>Warnings in the log:</p><ul>{warnings}</ul>{more}" if warnings else "")
        + "</div>"
    )


def _differences(runs: Sequence[RunHistory]) -> str:
    """Table of the options in which two runs differ; paths of the runs themselves are left out."""
    first, second = (run.options for run in runs)
    if not first or not second:
        return ""
    paths = [path for path in {**first, **second} if first.get(path) != second.get(path)]
    own = ("name", "root_path", "auto_resume", "rank", "path.experiments_root", "path.log", "path.models")
    paths = [p for p in paths if p not in (*own, "path.training_states", "path.visualization")]
    head = f"<tr><th>option</th>{''.join(f'<th>{escape(run.name)}</th>' for run in runs)}</tr>"
    rows = "".join(
        f'<tr><td class="path">{escape(path)}</td><td>{escape(first.get(path, "-"))}</td>'
        f"<td>{escape(second.get(path, '-'))}</td></tr>"
        for path in paths
    )
    table = (
        f'<div class="scroll"><table>{head}{rows}</table></div>'
        if rows
        else "<p>None: they ran with the same options.</p>"
    )
    return f'<div class="card">{table}</div>'


def _details(run: RunHistory) -> str:
    wanted = {
        "network_g.type": "network",
        "scale": "scale",
        "datasets.train.name": "training set",
        "datasets.train.gt_size": "patch size, HR pixels",
        "datasets.train.batch_size_per_gpu": "batch size per GPU",
        "train.optim_g.type": "optimizer",
        "train.optim_g.lr": "learning rate at the start",
        "train.ema_decay": "EMA decay",
        "manual_seed": "seed",
    }
    rows = [(words, run.options[path]) for path, words in wanted.items() if path in run.options]
    rows = [("folder", str(run.folder)), *rows]
    weights = run.folder / "models" / "net_g_latest.pth"
    if weights.is_file():
        rows += [
            ("trained weights", "models/net_g_latest.pth"),
            ("to use them", f"paragon upscale PICTURE -m {weights}"),
        ]
    table = "".join(f"<tr><td>{escape(words)}</td><td class=path>{escape(value)}</td></tr>" for words, value in rows)
    everything = "".join(
        f"<tr><td class=path>{escape(path)}</td><td class=path>{escape(value)}</td></tr>"
        for path, value in run.options.items()
    )
    folded = (
        f"<details><summary>All options as they ran</summary><table>{everything}</table></details>"
        if everything
        else ""
    )
    return f'<div class="card"><table>{table}</table>{folded}</div>'
