"""The report's sections on validation: metrics beside classical upscaling, and crops of the images."""

import math
from collections.abc import Sequence
from html import escape

from .charts import Chart
from .crops import Strip, Tile
from .page_parts import figure
from .run_history import RunHistory
from .standings import label, standings


def validation(runs: Sequence[RunHistory], shared: Sequence[Chart]) -> str:
    charts = [f'<div class="card">{figure(chart)}</div>' for chart in shared if chart.key.startswith("metric_")]
    tables = [_comparison(run, len(runs) > 1) for run in runs]
    cards = [f'<div class="card">{table}</div>' for table in tables if table]
    return f'<div class="columns">{"".join([*charts, *cards])}</div>' if charts or cards else ""


def _comparison(run: RunHistory, named: bool) -> str:
    """Table: every upscaler's metrics, and how far ours is from each."""
    rows = []
    for standing in standings(run):
        rows.append(f'<tr><th>{escape(label(standing))}</th><th class="n">value</th><th class="n">ours is</th></tr>')
        for name, value in standing.references.items():
            gain = standing.gain(value)
            tone, side = ("good-text", "better") if gain >= 0 else ("bad-text", "worse")
            said = f"{standing.form_gain(gain)} {side}" if math.isfinite(gain) else "not to be compared"
            rows.append(
                f'<tr><td>{escape(name)}</td><td class="n">{standing.form(value)}</td>'
                f'<td class="n {tone}">{said}</td></tr>'
            )
        best = standing.best
        rows.append(
            f'<tr class="ours"><td>this network, iteration {standing.points[-1][0]:,}</td>'
            f'<td class="n">{standing.form(standing.value)}</td><td class="n"></td></tr>'
        )
        if best is not None and best[0] != standing.points[-1][0]:
            rows.append(
                f'<tr><td>its best, iteration {best[0]:,}</td><td class="n">{standing.form(best[1])}</td>'
                '<td class="n"></td></tr>'
            )
    if not rows:
        return ""
    heading = f"{run.name}: beside classical upscaling" if named else "Beside classical upscaling"
    return f'<h3>{escape(heading)}</h3><div class="scroll"><table>{"".join(rows)}</table></div>'


def picture_words(strips: Sequence[Strip]) -> str:
    if not any(tile.kind == "hr" for strip in strips for tile in strip.tiles):
        return "The middle of each saved validation image, as training went on."
    ours = any(tile.kind == "ours" for strip in strips for tile in strip.tiles)
    lacking = "" if ours else " The run saved no images of its own; <b>val: save_img: true</b> makes it."
    return (
        "A small crop of each validation image, pixel by pixel, taken where bicubic is furthest from the original. The "
        f"network sees only the LR picture. Decibels are of this crop alone: more is closer to the original.{lacking}"
    )


def picture_strip(strip: Strip, first: bool) -> str:
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
    """Bicubic and ours over each other with a slider between them; ours whole and the original beside them."""
    last = {tile.kind: tile for tile in strip.tiles}
    if not {"bicubic", "ours", "hr"} <= set(last):
        return ""
    left, right, original = last["bicubic"], last["ours"], last["hr"]
    return (
        f"<details{' open' if unfolded else ''}><summary>Larger: slide between bicubic and ours</summary>"
        f'<div class="pair"><div class="slide"><div class="wipe"><img src="{left.uri()}" alt="">'
        f'<img class="over" src="{right.uri()}" alt=""><span class="tag a">{escape(left.label)}</span>'
        f'<span class="tag b">{escape(right.label)}</span></div>'
        '<input type="range" min="0" max="100" value="50" data-wipe aria-label="Where bicubic ends and ours begins">'
        f"</div>{_still(right)}{_still(original)}</div></details>"
    )


def _still(tile: Tile) -> str:
    return (
        f'<div class="wipe still"><img src="{tile.uri()}" alt=""><span class="tag a">{escape(tile.label)}</span></div>'
    )
