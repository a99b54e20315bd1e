"""Charts over iterations: what to draw as plain data, and its layout as a drawing at a wide and a narrow width."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from .drawing import Dot, Drawing, Line, Pill, Text, pill_width
from .run_history import Points

WIDE = (560, 300)
NARROW = (350, 270)
MOST_POINTS = 300
RIGHT, TOP, BOTTOM = 14, 24, 34
TICK_CHARACTER = 7.2
HEAD = 52


@dataclass(frozen=True)
class Series:
    """A curve: its values, and `raw` ones to show faintly behind a smoothed curve."""

    label: str
    points: Points
    ink: str
    raw: Points = field(default_factory=list)
    dash: float = 0.0


@dataclass(frozen=True)
class Level:
    """A horizontal line to compare with."""

    label: str
    value: float
    ink: str = "muted"


@dataclass(frozen=True)
class Mark:
    """An event at an iteration; its number is explained beside the charts."""

    iteration: int
    number: int
    link: str
    ink: str = "mark"


@dataclass(frozen=True)
class Chart:
    """A chart over iterations."""

    key: str
    """Name of its PNG file."""
    title: str
    caption: str
    series: list[Series]
    form: Callable[[float], str]
    """A value in words, for the read-out."""
    bare: bool = False
    """Bare numbers on a linear axis, with the digits that tell its steps apart, instead of `form`."""
    levels: list[Level] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    log: bool = False
    """A logarithmic axis; values of 0 and below have no place on it and are not drawn."""
    bounds: tuple[float, float] | None = None
    """Range of the vertical axis. Default: what there is to show."""
    last: int | None = None
    """Right end of the horizontal axis. Default: the last point."""

    @property
    def span(self) -> tuple[float, float]:
        """Range of the vertical axis."""
        return self.bounds or value_range([v for s in self.series for _, v in [*s.points, *s.raw]], self)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Values with grid lines, and their words."""
        values = _log_ticks(*self.span) if self.log else _ticks(*self.span, 5)
        if self.bare and not self.log:
            digits = _digits(values)
            return [(value, f"{value:,.{digits}f}") for value in values]
        return [(value, self.form(value)) for value in values]

    @property
    def left(self) -> float:
        """Room for the words of the vertical axis."""
        return 12 + TICK_CHARACTER * max((len(words) for _, words in self.ticks), default=0)

    @property
    def end(self) -> int:
        """Right end of the horizontal axis."""
        points = [iteration for s in self.series for iteration, _ in s.points]
        return max([1, self.last or 0, *points])


def value_range(values: Sequence[float], chart: Chart) -> tuple[float, float]:
    """A range that holds finite values and the chart's levels, with a margin; positive on a logarithmic axis."""
    known = [v for v in [*values, *(level.value for level in chart.levels)] if math.isfinite(v)]
    known = [v for v in known if v > 0] if chart.log else known
    low, high = min(known, default=0.1), max(known, default=1.0)
    if chart.log:
        low, high = (low / 1.5, high * 1.5) if high / low < 2 else (low / 1.15, high * 1.15)
        return low, high
    margin = 0.08 * (high - low) or abs(high) * 0.05 or 1.0
    return low - margin, high + margin


def thinned(points: Points, most: int = MOST_POINTS) -> Points:
    """At most `most` points: means of equally many neighbours, at the last of their iterations. Drops what is not
    finite."""
    points = [point for point in points if math.isfinite(point[1])]
    size = -(-len(points) // most)
    if size <= 1:
        return points
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def smoothed(points: Points) -> Points:
    """Running means over an eighth of the curve, to see a trend through the noise of batches."""
    half = max(1, len(points) // 16)
    values = [value for _, value in points]
    result: Points = []
    for i, (iteration, _) in enumerate(points):
        window = values[max(0, i - half) : i + half + 1]
        result.append((iteration, sum(window) / len(window)))
    return result


def draw(chart: Chart, size: tuple[int, int]) -> Drawing:
    """Lay a chart out on a sheet of that width and height."""
    width, height = size
    drawing = Drawing(width, height, chart.title)
    low, high = chart.span
    end, left = chart.end, chart.left

    def x(iteration: float) -> float:
        return left + (width - left - RIGHT) * iteration / end

    def y(value: float) -> float:
        if chart.log:
            part = (math.log(max(value, 1e-300)) - math.log(low)) / (math.log(high) - math.log(low))
        else:
            part = (value - low) / (high - low)
        return height - BOTTOM - (height - TOP - BOTTOM) * min(max(part, -0.02), 1.02)

    def places(points: Points) -> list[tuple[float, float]]:
        return [(x(iteration), y(value)) for iteration, value in points if value > 0 or not chart.log]

    add = drawing.shapes.append
    for value, words in chart.ticks:
        add(Line([(left, y(value)), (width - RIGHT, y(value))], "grid"))
        add(Text(left - 8, y(value) + 4, words, anchor="end"))
    ticks = [tick for tick in _ticks(0, end, 6 if width > 450 else 4) if tick == int(tick)]
    words = count(ticks[-1]) + (" iterations" if width == WIDE[0] else "")
    place = min(x(ticks[-1]) + TICK_CHARACTER * len(words) / 2, width - RIGHT + 6)
    for tick in ticks[:-1]:
        if x(tick) + TICK_CHARACTER * len(count(tick)) / 2 + 4 < place - TICK_CHARACTER * len(words):
            add(Text(x(tick), height - 14, count(tick), anchor="middle"))
    add(Text(place, height - 14, words, anchor="end"))
    for mark in chart.marks:
        add(Line([(x(mark.iteration), TOP), (x(mark.iteration), height - BOTTOM)], mark.ink, 1, 2, faint=True))
    _add_levels(drawing, chart, y, width)
    for series in chart.series:
        raw = places(series.raw)
        if raw:
            add(Line(raw, series.ink, 1.2, faint=True))
        points = places(series.points)
        if len(points) > 1:
            add(Line(points, series.ink, 2.2, series.dash))
        if len(points) <= 24 and not series.dash:
            for px, py in points:
                add(Dot(px, py, 3, series.ink))
    _add_marks(drawing, chart, x)
    return drawing


def draw_titled(chart: Chart) -> Drawing:
    """The wide form with title and legend on it, to stand alone as a picture."""
    plain = draw(chart, WIDE)
    drawing = Drawing(plain.width, plain.height + HEAD, chart.title)
    for shape in plain.shapes:
        if isinstance(shape, Line):
            drawing.shapes.append(replace(shape, points=[(x, y + HEAD) for x, y in shape.points]))
        else:
            drawing.shapes.append(replace(shape, y=shape.y + HEAD))
    drawing.shapes.append(Text(14, 22, chart.title, "text", size=16))
    x = 14.0
    for series in chart.series:
        if not series.dash:
            drawing.shapes += [Dot(x + 4, 40, 4, series.ink), Text(x + 13, 44, series.label, "text")]
            x += 30 + TICK_CHARACTER * len(series.label)
    return drawing


def _add_levels(drawing: Drawing, chart: Chart, y: Callable[[float], float], width: int) -> None:
    """Dashed lines with their labels at the right, the lower of two near ones below its line."""
    above: list[float] = []
    for level in sorted(chart.levels, key=lambda level: -level.value):
        place = y(level.value)
        drawing.shapes.append(Line([(chart.left, place), (width - RIGHT, place)], level.ink, 1.4, 5))
        crowded = any(abs(place - other) < 18 for other in above)
        above.append(place)
        if not level.label:
            continue
        text = f"{level.label} {chart.form(level.value)}"
        drawing.shapes.append(Text(width - RIGHT, place + (14 if crowded else -5), text, level.ink, "end", 11.5))


def _add_marks(drawing: Drawing, chart: Chart, x: Callable[[float], float]) -> None:
    """Numbers over the marks; those too near each other share a pill."""
    groups: list[list[Mark]] = []
    for mark in chart.marks:
        if groups and x(mark.iteration) - x(groups[-1][-1].iteration) < pill_width("00") + 2:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    for group in groups:
        numbers = sorted({mark.number for mark in group})
        text = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
        middle = (x(group[0].iteration) + x(group[-1].iteration)) / 2
        serious = next((mark for mark in group if mark.ink != "mark"), group[0])
        drawing.shapes.append(Pill(max(middle, chart.left), 11, text, serious.ink, serious.link))


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round values inside a range, about that many."""
    step = 10 ** math.floor(math.log10((high - low) / about))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if (high - low) / (step * factor) <= about)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _digits(ticks: Sequence[float]) -> int:
    """Digits after the point that the step between ticks has."""
    step = min((b - a for a, b in pairwise(ticks)), default=1.0)
    return next((digits for digits in range(12) if abs(round(step, digits) - step) < 1e-6 * step), 12)


def _log_ticks(low: float, high: float) -> list[float]:
    """Round values inside a range for a logarithmic axis, at least two of them where the range allows."""
    for factors, every in (((1,), 3), ((1,), 2), ((1,), 1), ((1, 3), 1), ((1, 2, 5), 1), ((1, 1.5, 2, 3, 4, 5, 7), 1)):
        exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        values = [f * 10.0**e for e in exponents if e % every == 0 for f in factors]
        inside = [value for value in values if low <= value <= high]
        if len(inside) >= 3:
            return inside
    return _ticks(low, high, 4)


def count(value: float) -> str:
    """A number of iterations, short: 800, 20k, 1.5M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= 10 * size or (value >= size and value % (size / 10) == 0):
            return f"{value / size:g}{letter}"
    return f"{value:,.0f}"


def short(value: float) -> str:
    """A value with three digits: 0.0123, 1.55, 12,300, 1.2e-05."""
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.2g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
