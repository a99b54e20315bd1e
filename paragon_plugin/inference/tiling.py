"""Cuts an image into overlapping tiles whose results fit together without a seam.

Lengths are in pixels of the input.
"""

from __future__ import annotations

from dataclasses import dataclass

MIN_HALO = 8
"""A tile at the edge may hold one pixel of the image beside its halo, and the networks take 8 x 8 or more."""


@dataclass(frozen=True)
class Span:
    """A part of one axis: the core that is kept and the box around it that is computed."""

    start: int
    stop: int
    box_start: int
    box_stop: int

    @property
    def box(self) -> slice:
        """The box on the image."""
        return slice(self.box_start, self.box_stop)

    def core(self, scale: int = 1) -> slice:
        """The core on the image enlarged `scale` times."""
        return slice(self.start * scale, self.stop * scale)

    def core_in_box(self, scale: int = 1) -> slice:
        """The core on the box enlarged `scale` times."""
        return slice((self.start - self.box_start) * scale, (self.stop - self.box_start) * scale)


@dataclass(frozen=True)
class Tile:
    """A rectangle of the image."""

    rows: Span
    columns: Span

    @property
    def box(self) -> tuple[slice, slice]:
        return self.rows.box, self.columns.box

    def core(self, scale: int = 1) -> tuple[slice, slice]:
        return self.rows.core(scale), self.columns.core(scale)

    def core_in_box(self, scale: int = 1) -> tuple[slice, slice]:
        return self.rows.core_in_box(scale), self.columns.core_in_box(scale)


def spans(size: int, tile: int, halo: int, align: int = 1) -> list[Span]:
    """Cut an axis into cores of at most `tile` pixels, about equally long, each with `halo` pixels around it.

    Cores cover the axis once. Boxes end at the image's edge, so that the border of the image is what it is untiled,
    and start at multiples of `align`.

    Args:
        size: of the axis.
        tile: rounded down to a multiple of `align`.
        halo: at least `MIN_HALO` is taken; rounded up to a multiple of `align`.
    """
    tile = max(tile // align, 1) * align
    halo = -(-max(halo, MIN_HALO) // align) * align
    count = -(-size // tile)
    core = -(-size // (count * align)) * align
    starts = range(0, size, core)
    return [Span(s, min(s + core, size), max(s - halo, 0), min(s + core + halo, size)) for s in starts]


def tiles(height: int, width: int, tile: int, halo: int, align: int = 1) -> list[Tile]:
    """The tiles of an image, row by row; see `spans`."""
    columns = spans(width, tile, halo, align)
    return [Tile(r, c) for r in spans(height, tile, halo, align) for c in columns]
