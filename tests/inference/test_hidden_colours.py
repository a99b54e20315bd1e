"""Which pixel is nearest, against looking at all of them."""

import numpy as np

from paragon_plugin.inference.hidden_colours import hidden_colours_filled, nearest


def test_the_nearest_of_all() -> None:
    rng = np.random.default_rng(0)
    excess = []
    for density in (0.002, 0.01, 0.05, 0.3):
        for height, width in ((1, 30), (30, 1), (24, 37), (40, 19)):
            wanted = rng.random((height, width)) < density
            wanted[rng.integers(height), rng.integers(width)] = True
            row, column = nearest(wanted)
            assert wanted[row, column].all()
            y, x = np.mgrid[:height, :width]
            rows, columns = np.nonzero(wanted)
            true = np.hypot(y[..., None] - rows, x[..., None] - columns).min(2)
            excess.append((np.hypot(y - row, x - column) - true).ravel())
    excess = np.concatenate(excess)
    assert (excess > 1e-9).mean() < 0.01
    assert excess.max() < 2


def test_what_is_visible_stays() -> None:
    rng = np.random.default_rng(1)
    colour = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    alpha = rng.integers(0, 3, (20, 30)).astype(np.uint8)
    filled = hidden_colours_filled(colour, alpha)
    assert np.array_equal(filled[alpha > 0], colour[alpha > 0])
    assert hidden_colours_filled(colour, np.zeros_like(alpha)) is colour
    assert hidden_colours_filled(colour, np.full_like(alpha, 255)) is colour
