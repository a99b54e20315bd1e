"""Colours for pixels that are fully transparent."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def hidden_colours_filled(colour: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Replace the colours of fully transparent pixels by the colour of the nearest pixel that is not transparent.

    Args:
        colour: (H, W, C).
        alpha: (H, W); 0 is fully transparent. If all pixels are, nothing is replaced.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return colour
    row, column = nearest(~hidden)
    return colour[row, column]


def nearest(wanted: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of the nearest wanted pixel for each pixel of an image (H, W) with at least one.

    First within the rows, then each row takes from the one above it, then from the one below it, what is nearer: the
    distance transform of Danielsson ("Euclidean Distance Mapping", 1980), whose result is rarely, and then hardly,
    farther than the nearest.
    """
    height, width = wanted.shape
    place = np.arange(width)
    nowhere = -4 * (height + width)  # farther away than any pixel
    before = np.maximum.accumulate(np.where(wanted, place, nowhere), axis=1)
    after = np.minimum.accumulate(np.where(wanted, place, -nowhere)[:, ::-1], axis=1)[:, ::-1]
    column = np.where(place - before <= after - place, before, after)
    row = np.repeat(np.arange(height)[:, None], width, axis=1)
    distance = (column - place) ** 2

    def take(line: int, other: int) -> None:
        for shift in (0, -1, 1):
            here = slice(max(shift, 0), width + min(shift, 0))
            there = slice(max(-shift, 0), width + min(-shift, 0))
            offered = (row[other, there] - line) ** 2 + (column[other, there] - place[here]) ** 2
            nearer = offered < distance[line, here]
            for values, offer in ((distance[line], offered), (row[line], row[other, there])):
                np.copyto(values[here], offer, where=nearer)
            np.copyto(column[line, here], column[other, there], where=nearer)

    for line in range(1, height):
        take(line, line - 1)
    for line in range(height - 2, -1, -1):
        take(line, line + 1)
    return row, column
