"""16-bit PNGs are the same for us and for libvips, whatever filters and interlacing they have."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

from paragon_plugin.errors import OptionError
from paragon_plugin.inference import png_16_bit
from paragon_plugin.inference.images import read_picture

INTERPRETATIONS = {1: "grey16", 2: "grey16", 3: "rgb16", 4: "rgb16"}
FILTERS = (8, 16, 32, 64, 128, 248)
"""None, sub, up, average, Paeth, and the best of them row by row."""


def smooth_noise(height: int, width: int, channels: int) -> NDArray[np.uint16]:
    """Every byte varies, and neighbours are similar enough for each filter to be chosen somewhere."""
    rng = np.random.default_rng(height * width * channels)
    steps = rng.integers(-900, 900, (height, width, channels)).cumsum(0).cumsum(1)
    return (steps + 32768).astype(np.uint16)


@pytest.mark.parametrize("channels", INTERPRETATIONS)
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("size", [(33, 65), (2, 9), (5, 1), (1, 1)])
def test_files_of_another_library(channels: int, interlaced: bool, size: tuple[int, int]) -> None:
    pixels = smooth_noise(*size, channels)
    image = pyvips.Image.new_from_array(pixels).copy(interpretation=INTERPRETATIONS[channels])
    for row_filter in FILTERS:
        data: Any = image.write_to_buffer(".png", interlace=interlaced, filter=row_filter)
        assert np.array_equal(png_16_bit.decode(data), pixels)


@pytest.mark.parametrize("channels", INTERPRETATIONS)
def test_another_library_reads_ours(channels: int) -> None:
    pixels = smooth_noise(3 * png_16_bit.ROWS + 1, 50, channels)
    seen = pyvips.Image.new_from_buffer(png_16_bit.encode(pixels), "").numpy()
    assert np.array_equal(seen.reshape(pixels.shape), pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_becomes_alpha(channels: int, tmp_path: Path) -> None:
    pixels = smooth_noise(6, 7, channels)
    pixels[2, 3] = pixels[4, 5] = key = 4660
    pixels[0, 0, 0] = key if channels == 3 else key + 1  # one channel alone is not the colour, nor its high byte
    content = b"tRNS" + struct.pack(f">{channels}H", *[key] * channels)
    data = png_16_bit.encode(pixels)
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    file = tmp_path / "a.png"
    file.write_bytes(data[:33] + chunk + data[33:])
    picture = read_picture(file)
    assert np.array_equal(picture.colour, pixels)
    assert picture.alpha is not None
    assert np.argwhere(picture.alpha == 0).tolist() == [[2, 3], [4, 5]]
    assert np.array_equal(pyvips.Image.new_from_file(str(file)).numpy()[..., -1], picture.alpha)


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    data = bytearray(png_16_bit.encode(smooth_noise(40, 40, 3)))
    file = tmp_path / "a.png"
    for place in (len(data) // 2, 60):
        damaged = data.copy()
        damaged[place] ^= 255
        file.write_bytes(damaged)
        with pytest.raises(OptionError, match=r"a\.png: (cannot be read|is not an image|is a PNG that is damaged)"):
            read_picture(file)
    for keep in (40, 60, len(data) - 300):
        file.write_bytes(data[:keep])
        with pytest.raises(OptionError, match=r"a\.png: (cannot be read|is not an image|is a PNG that is damaged)"):
            read_picture(file)
