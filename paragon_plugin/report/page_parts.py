"""What the sections of the report's page are made of: headings, columns, charts."""

import json
from collections.abc import Sequence
from html import escape

from .charts import BOTTOM, NARROW, RIGHT, TOP, WIDE, Chart, draw
from .run_history import RunHistory


def section(title: str, lead: str, body: str) -> str:
    """A section with its heading; nothing where it has no body."""
    if not body:
        return ""
    words = f'<p class="lead">{lead}</p>' if lead else ""
    return f"<section><h2>{escape(title)}</h2>{words}{body}</section>"


def columns(cells: Sequence[str]) -> str:
    """Cells under each other for one run, beside each other for two; nothing where all are empty."""
    if not any(cells):
        return ""
    if len(cells) == 1:
        return cells[0]
    return f'<div class="columns">{"".join(f"<div class=column>{cell}</div>" for cell in cells)}</div>'


def charts_of(own: Sequence[Sequence[Chart]], keys: Sequence[str]) -> list[Chart]:
    return [chart for key in keys for column in own for chart in column if chart.key == key]


def grid(*charts: Sequence[Chart]) -> str:
    cards = [f'<div class="card">{figure(chart)}</div>' for group in charts for chart in group]
    return f'<div class="columns">{"".join(cards)}</div>' if cards else ""


def figure(chart: Chart) -> str:
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


def event_prefix(runs: Sequence[RunHistory], run: RunHistory) -> str:
    """What tells the events of two runs apart."""
    return "" if len(runs) == 1 else f"run{[id(r) for r in runs].index(id(run)) + 1}-"
