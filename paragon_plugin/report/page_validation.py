"""The report's sections on validation: metrics beside classical upscaling, and crops of the images."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from .charts import Chart
from .crops import Strip, Tile
from .page_parts import figure
from .run_history import RunHistory
from .standings import label, standings

EMPTY = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
"""A picture of one transparent pixel."""


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
    """Two crops over each other with a slider between them; the right one whole and the original beside them.

    Of one run: bicubic and ours. Of several: the first two, and any two that are chosen.
    """
    last = {tile.run or tile.kind: (number, tile) for number, tile in enumerate(strip.tiles) if tile.kind != "lr"}
    runs = [name for name, (_, tile) in last.items() if tile.run]
    left, right = runs[:2] if len(runs) > 1 else ("bicubic", runs[0] if runs else "ours")
    if left not in last or right not in last:
        return ""
    words = escape(f"{left} and {right}")
    choices = ""
    if runs and len(last) > 2:
        choices = "".join(_choice(side, last, name) for side, name in (("left", left), ("right", right)))
        choices = f'<div class="choices">{choices}</div>'
    original = _still(*last["hr"]) if "hr" in last else ""
    return (
        f"<details{' open' if unfolded else ''}><summary>Larger: slide between {words}</summary>"
        f'<div class="pair"><div class="slide"><div class="wipe">{_again(last[left][0], "left")}'
        f'{_again(last[right][0], "right over")}<span class="tag a left">{escape(last[left][1].label)}</span>'
        f'<span class="tag b right">{escape(last[right][1].label)}</span></div>'
        f'<input type="range" min="0" max="100" value="50" data-wipe aria-label="Where {escape(left)} ends and '
        f'{escape(right)} begins">{choices}</div>{_still(*last[right], "right")}{original}</div></details>'
    )


def _choice(side: str, tiles: Mapping[str, tuple[int, Tile]], chosen: str) -> str:
    """A list to choose one side of the slider from: each value is a crop's place in the strip."""
    options = "".join(
        f'<option value="{number}"{" selected" if name == chosen else ""}>{escape(tile.label)}</option>'
        for name, (number, tile) in tiles.items()
    )
    return f'<label>{side} <select data-side="{side}">{options}</select></label>'


def _still(number: int, tile: Tile, side: str = "") -> str:
    return f'<div class="wipe still">{_again(number, side)}<span class="tag a {side}">{escape(tile.label)}</span></div>'


def _again(number: int, side: str) -> str:
    """A crop of the strip once more; the script puts it in, so that the page holds it once."""
    return f'<img src="{EMPTY}" data-tile="{number}" class="{side}" alt="">'
