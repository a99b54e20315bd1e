"""The scatter plot of `architectures.py`: Set14 PSNR against time, drawn with the report's own shapes."""

from __future__ import annotations

import math
from typing import Any

from paragon_plugin.report.drawing import Dot, Drawing, Line, Text

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 64, 52
CHARACTER = 6.6
INKS = {
    "ParagonSR2": "s0",
    "SPAN": "s2",
    "SRVGGNetCompact": "s1",
    "MSRResNet": "s4",
    "ECBSR": "s3",
    "RLFN": "s5",
}

Box = tuple[float, float, float, float]


def draw_scatter(rows: list[dict[str, Any]]) -> Drawing:
    """A dot per row (`ms` on a logarithmic axis, `set14_psnr`), its name beside it, and the Pareto front as a line."""
    low_t, high_t = min(row["ms"] for row in rows) / 1.4, max(row["ms"] for row in rows) * 1.9
    low_p, high_p = min(row["set14_psnr"] for row in rows) - 0.1, max(row["set14_psnr"] for row in rows) + 0.1

    def x(ms: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(ms / low_t) / math.log(high_t / low_t)

    def y(psnr: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (psnr - low_p) / (high_p - low_p)

    drawing = Drawing(WIDTH, HEIGHT, "PSNR on Set14 against time")
    add = drawing.shapes.append
    for tick in (t for t in (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if low_t <= t <= high_t):
        add(Line([(x(tick), TOP), (x(tick), HEIGHT - BOTTOM)], "grid"))
        add(Text(x(tick), HEIGHT - BOTTOM + 18, f"{tick:g}", anchor="middle"))
    step = 0.5 if high_p - low_p > 1.5 else 0.1
    for number in range(math.ceil(low_p / step), math.floor(high_p / step) + 1):
        add(Line([(LEFT, y(number * step)), (WIDTH - RIGHT, y(number * step))], "grid"))
        add(Text(LEFT - 8, y(number * step) + 4, f"{number * step:.1f}", anchor="end"))
    add(Text(WIDTH - RIGHT, HEIGHT - 12, "milliseconds for a 128 x 128 input, one CPU thread", anchor="end"))
    add(Text(14, 24, "x2: PSNR (Y) on Set14 in dB after the same short training", "text", size=16))
    place = 14.0
    for family in (f for f in INKS if any(row["family"] == f for row in rows)):
        drawing.shapes += [Dot(place + 4, 44, 4, INKS[family]), Text(place + 13, 48, family, "text")]
        place += 30 + 7.2 * len(family)

    front = sorted((row for row in rows if row["on_front"]), key=lambda row: row["ms"])
    add(Line([(x(row["ms"]), y(row["set14_psnr"])) for row in front], "mark", 1.4, 4, faint=True))
    taken: list[Box] = [(px - 6, py - 6, px + 6, py + 6) for px, py in ((x(r["ms"]), y(r["set14_psnr"])) for r in rows)]
    for row in rows:
        px, py = x(row["ms"]), y(row["set14_psnr"])
        add(Dot(px, py, 5, INKS[row["family"]]))
        drawing.shapes.append(_label(row["network"], px, py, taken))
    return drawing


def _label(name: str, x: float, y: float, taken: list[Box]) -> Text:
    """The name at the first free place around its dot."""
    width = CHARACTER * len(name)
    places = [
        (x + 10, y + 4),
        (x - width / 2, y + 20),
        (x - width / 2, y - 11),
        (x - width - 10, y + 4),
        (x + 8, y + 18),
    ]
    free = [
        (left, base)
        for left, base in places
        if left + width < WIDTH
        and not any(left < r and left + width > l and base - 11 < b and base + 3 > t for l, t, r, b in taken)  # noqa: E741
    ]
    left, base = (free or places)[0]
    taken.append((left, base - 11, left + width, base + 3))
    return Text(left, base, name, "text", "start")
