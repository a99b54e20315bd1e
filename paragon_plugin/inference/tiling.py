"""Cuts an image into overlapping tiles. Their results fit together without a seam.

Lengths are in pixels of the input.
"""

from __future__ import annotations

from dataclasses import dataclass

MIN_HALO = 8
"""Smallest halo. A tile at the edge may contain only one pixel of the image besides its halo, and the networks need at
least 8 x 8 pixels."""


@dataclass(frozen=True)
class Span:
    """A part of one axis: a core that is kept, and a box around it that is computed."""

    start: int
    """First pixel of the core."""
    stop: int
    """End of the core, exclusive."""
    box_start: int
    """First pixel of the box."""
    box_stop: int
    """End of the box, exclusive."""

    @property
    def box(self) -> slice:
        """The box in the image."""
        return slice(self.box_start, self.box_stop)

    def core(self, scale: int = 1) -> slice:
        """The core in the image enlarged `scale` times."""
        return slice(self.start * scale, self.stop * scale)

    def core_in_box(self, scale: int = 1) -> slice:
        """The core in the box enlarged `scale` times."""
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

    Cores cover the axis once. Boxes end at the edge of the image, so the border of the image is computed as without
    tiles.

    Args:
        size: Length of the axis.
        tile: Largest length of a core, rounded down to a multiple of `align`, but not below `align`.
        halo: Margin around a core, at least `MIN_HALO`, rounded up to a multiple of `align`.
        align: Boxes start at multiples of this.
    """
    tile = max(tile // align, 1) * align
    halo = -(-max(halo, MIN_HALO) // align) * align
    count = -(-size // tile)
    core = -(-size // (count * align)) * align
    starts = range(0, size, core)
    return [Span(s, min(s + core, size), max(s - halo, 0), min(s + core + halo, size)) for s in starts]


def tiles(height: int, width: int, tile: int, halo: int, align: int = 1) -> list[Tile]:
    """The tiles of an image, row by row. For the arguments see `spans`."""
    columns = spans(width, tile, halo, align)
    return [Tile(r, c) for r in spans(height, tile, halo, align) for c in columns]
