"""A drawing made of lines, dots, boxes and texts, painted as SVG (for the page) or as PNG (to send around).

Inks are names. In the SVG they are CSS classes, so that a page decides their colours by day and by night; in the PNG
they have the day's colours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from io import BytesIO
from itertools import pairwise
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

Anchor = Literal["start", "middle", "end"]

DAY = {
    "paper": "#ffffff",
    "text": "#1c2430",
    "muted": "#5b6576",
    "grid": "#e4e7ec",
    "mark": "#475467",
    "s0": "#1f6feb",
    "s1": "#d4650a",
    "s2": "#12805c",
    "s3": "#8a3ffc",
    "s4": "#c4254b",
    "s5": "#0e7c86",
    "s6": "#7a5c00",
    "s7": "#6b7280",
}
NIGHT = {
    "paper": "#161b22",
    "text": "#e6edf3",
    "muted": "#9aa6b5",
    "grid": "#2b3440",
    "mark": "#aab6c5",
    "s0": "#6cb0ff",
    "s1": "#ffa657",
    "s2": "#4fd39b",
    "s3": "#c8a2ff",
    "s4": "#ff8fa3",
    "s5": "#56d4dd",
    "s6": "#e3c04a",
    "s7": "#b1bac4",
}
SERIES_INKS = tuple(name for name in DAY if name[0] == "s" and name[1:].isdigit())


@dataclass(frozen=True)
class Line:
    """A polyline."""

    points: Sequence[tuple[float, float]]
    ink: str
    width: float = 1.0
    dash: float = 0.0
    faint: bool = False


@dataclass(frozen=True)
class Dot:
    """A filled circle."""

    x: float
    y: float
    radius: float
    ink: str


@dataclass(frozen=True)
class Pill:
    """A rounded box with a short text in the paper's colour; `link` is the number of the event it stands for."""

    x: float
    y: float
    text: str
    ink: str
    link: str = ""


@dataclass(frozen=True)
class Text:
    """A text whose baseline is at y."""

    x: float
    y: float
    text: str
    ink: str = "muted"
    anchor: Anchor = "start"
    size: float = 12.0


@dataclass
class Drawing:
    """Shapes on a sheet, painted in order."""

    width: float
    height: float
    title: str
    shapes: list[Line | Dot | Pill | Text] = field(default_factory=list)

    def svg(self, attributes: str = "") -> str:
        """The drawing as an SVG element; `attributes` go into its tag as they are."""
        body = "".join(_SVG[type(shape)](shape) for shape in self.shapes)
        box = f"0 0 {self.width:g} {self.height:g}"
        return f'<svg viewBox="{box}" role="img" aria-label="{escape(self.title)}" {attributes}>{body}</svg>'

    def png(self, scale: float = 2.0) -> bytes:
        """The drawing as a PNG file by day, `scale` pixels to a unit."""
        fine = scale * 2
        sheet = Image.new("RGB", (round(self.width * fine), round(self.height * fine)), DAY["paper"])
        pen = ImageDraw.Draw(sheet)
        for shape in self.shapes:
            _paint(pen, shape, fine)
        buffer = BytesIO()
        sheet.resize((round(self.width * scale), round(self.height * scale)), Image.Resampling.LANCZOS).save(
            buffer, "PNG", optimize=True
        )
        return buffer.getvalue()


def pill_width(text: str) -> float:
    """Width of a pill around a text."""
    return 10 + 6.6 * len(text)


def _svg_line(shape: Line) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
    dash = f' stroke-dasharray="{shape.dash:g}" stroke-linecap="butt"' if shape.dash else ""
    faint = ' stroke-opacity=".35"' if shape.faint else ""
    return f'<polyline class="l {shape.ink}" points="{points}" stroke-width="{shape.width:g}"{dash}{faint}/>'


def _svg_dot(shape: Dot) -> str:
    return f'<circle class="f {shape.ink}" cx="{shape.x:.1f}" cy="{shape.y:.1f}" r="{shape.radius:g}"/>'


def _svg_pill(shape: Pill) -> str:
    width = pill_width(shape.text)
    box = f'<rect class="f {shape.ink}" x="{shape.x - width / 2:.1f}" y="{shape.y - 8:.1f}" '
    box += f'width="{width:.1f}" height="16" rx="8"/>'
    text = f'<text class="f paper" x="{shape.x:.1f}" y="{shape.y + 4:.1f}" text-anchor="middle" font-size="11" '
    text += f'font-weight="600">{escape(shape.text)}</text>'
    return f'<a href="#{escape(shape.link)}">{box}{text}</a>' if shape.link else box + text


def _svg_text(shape: Text) -> str:
    place = f'x="{shape.x:.1f}" y="{shape.y:.1f}" text-anchor="{shape.anchor}" font-size="{shape.size:g}"'
    return f'<text class="f {shape.ink}" {place}>{escape(shape.text)}</text>'


_SVG = {Line: _svg_line, Dot: _svg_dot, Pill: _svg_pill, Text: _svg_text}


def _paint(pen: ImageDraw.ImageDraw, shape: Line | Dot | Pill | Text, scale: float) -> None:
    if isinstance(shape, Line):
        colour = _lighter(DAY[shape.ink]) if shape.faint else DAY[shape.ink]
        points = [(x * scale, y * scale) for x, y in shape.points]
        width = max(1, round(shape.width * scale))
        for piece in _dashes(points, shape.dash * scale) if shape.dash else [points]:
            pen.line(piece, fill=colour, width=width, joint="curve")
    elif isinstance(shape, Dot):
        x, y, r = shape.x * scale, shape.y * scale, shape.radius * scale
        pen.ellipse((x - r, y - r, x + r, y + r), fill=DAY[shape.ink])
    elif isinstance(shape, Pill):
        half = pill_width(shape.text) / 2
        box = (shape.x - half, shape.y - 8, shape.x + half, shape.y + 8)
        pen.rounded_rectangle([value * scale for value in box], 8 * scale, fill=DAY[shape.ink])
        _write(pen, shape.x, shape.y + 4, shape.text, DAY["paper"], "middle", 11, scale)
    else:
        _write(pen, shape.x, shape.y, shape.text, DAY[shape.ink], shape.anchor, shape.size, scale)


def _write(
    pen: ImageDraw.ImageDraw, x: float, y: float, text: str, colour: str, anchor: Anchor, size: float, scale: float
) -> None:
    place = {"start": "ls", "middle": "ms", "end": "rs"}[anchor]
    pen.text((x * scale, y * scale), text, fill=colour, font=ImageFont.load_default(size * scale), anchor=place)


def _lighter(colour: str) -> str:
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - 0.35 * (255 - part)):02x}" for part in parts)


def _dashes(points: Sequence[tuple[float, float]], dash: float) -> list[list[tuple[float, float]]]:
    """Pieces of a polyline, `dash` long with gaps as long; straight within each segment."""
    pieces: list[list[tuple[float, float]]] = []
    for (x0, y0), (x1, y1) in pairwise(points):
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        for start in range(int(length // (2 * dash)) + 1):
            a, b = 2 * dash * start / (length or 1), min(1.0, (2 * dash * start + dash) / (length or 1))
            if a < 1:
                pieces.append([(x0 + a * (x1 - x0), y0 + a * (y1 - y0)), (x0 + b * (x1 - x0), y0 + b * (y1 - y0))])
    return pieces
