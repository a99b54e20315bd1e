"""PNG of 16 bits per channel, for which Pillow has no pixels.

A PNG filters bytes, not pixels: each byte is predicted from bytes at the same place of neighbouring pixels. So the
bytes of a 16-bit image, dealt out to images of 8 bits by their place in the pixel, are PNGs that Pillow decodes.
PNG (Third Edition), W3C, chapters 7 to 11.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"

ROWS = 64
"""Rows that are filtered at once for writing."""

_GREY, _RGB, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 4, 6
_CHANNELS = {_GREY: 1, _RGB: 3, _GREY_ALPHA: 2, _RGB_ALPHA: 4}
_COLOUR_TYPE = {channels: colour_type for colour_type, channels in _CHANNELS.items()}
_PAETH = 4
_WHOLE = ((0, 0, 1, 1),)
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of each pass of an interlaced file: first column, first row, and the steps to the next."""


def decode(data: bytes) -> NDArray[np.uint16]:
    """The pixels of a PNG of 16 bits per channel.

    Returns:
        (H, W, C): grey, grey and alpha, RGB or RGBA. A transparent colour in the file becomes alpha, 0 or 65535.

    Raises:
        ValueError, zlib.error, struct.error, OSError, SyntaxError: The file is damaged.
    """
    chunks: dict[bytes, bytes] = {}
    packed: list[bytes] = []
    for kind, content in _chunks(data):
        if kind == b"IDAT":
            packed.append(content)
        else:
            chunks.setdefault(kind, content)
    width, height, bits, colour_type, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    if bits != 16 or colour_type not in _CHANNELS:
        raise ValueError(f"a PNG of {bits} bits and colour type {colour_type} is not one of 16 bits")
    channels = _CHANNELS[colour_type]
    grids = [
        (slice(y, None, dy), slice(x, None, dx), -((y - height) // dy), -((x - width) // dx))
        for x, y, dx, dy in (_ADAM7 if interlaced else _WHOLE)
        if x < width and y < height
    ]
    sizes = [rows * (1 + columns * 2 * channels) for _, _, rows, columns in grids]
    raw = zlib.decompressobj().decompress(b"".join(packed), sum(sizes))
    if len(raw) < sum(sizes):
        raise ValueError("the image data end too early")
    pixels = np.empty((height, width, channels), np.uint16)
    start = 0
    for (y, x, rows, columns), size in zip(grids, sizes, strict=True):
        lines = np.frombuffer(raw, np.uint8, size, start).reshape(rows, -1)
        pixels[y, x] = _unfiltered(lines[:, 0], lines[:, 1:].reshape(rows, columns, 2 * channels))
        start += size
    if colour_type in (_GREY, _RGB) and b"tRNS" in chunks:
        transparent = struct.unpack(f">{channels}H", chunks[b"tRNS"])
        alpha = np.where((pixels == np.array(transparent, np.uint16)).all(2), 0, 65535)
        pixels = np.concatenate([pixels, alpha[..., None].astype(np.uint16)], axis=2)
    return pixels


def encode(pixels: NDArray[np.uint16], icc_profile: bytes | None = None) -> bytes:
    """A PNG of 16 bits per channel.

    Args:
        pixels: (H, W, C): grey, grey and alpha, RGB or RGBA.
        icc_profile: The colour profile, or None for sRGB.
    """
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPE[channels], 0, 0, 0)
    parts = [SIGNATURE, _chunk(b"IHDR", header)]
    if icc_profile is not None:
        parts.append(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc_profile)))
    compressor = zlib.compressobj(4)
    above = np.zeros((1, width, 2 * channels), np.uint8)
    for start in range(0, height, ROWS):
        block = np.ascontiguousarray(pixels[start : start + ROWS], ">u2").view(np.uint8)
        packed = compressor.compress(_filtered(block, np.concatenate([above, block[:-1]])))
        parts.append(_chunk(b"IDAT", packed))
        above = block[-1:]
    return b"".join([*parts, _chunk(b"IDAT", compressor.flush()), _chunk(b"IEND", b"")])


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each chunk; the checksums are Pillow's to check."""
    start = len(SIGNATURE)
    while start + 12 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, start)
        yield kind, data[start + 8 : start + 8 + size]
        start += 12 + size


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _unfiltered(filters: NDArray[np.uint8], lines: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Undo the filter of each row of bytes (H, W, 2 C); returns (H, W, C)."""
    if filters.max() > _PAETH:
        raise ValueError("a row has an unknown filter")
    places = lines.shape[2]
    width = places if places <= 4 else places // 2  # an image of 8 bits has at most 4 channels
    images = [_decoded_8_bit(filters, lines[..., first : first + width]) for first in range(0, places, width)]
    return np.concatenate(images, axis=2).view(">u2").astype(np.uint16)


def _decoded_8_bit(filters: NDArray[np.uint8], lines: NDArray[np.uint8]) -> NDArray[Any]:
    height, width, channels = lines.shape
    raw = np.concatenate([filters[:, None], lines.reshape(height, -1)], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPE[channels], 0, 0, 0)
    chunks = (_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(raw, 0)), _chunk(b"IEND", b""))
    return np.asarray(Image.open(io.BytesIO(SIGNATURE + b"".join(chunks)))).reshape(height, width, channels)


def _filtered(rows: NDArray[np.uint8], above: NDArray[np.uint8]) -> bytes:
    """Rows of bytes (H, W, 2 C) as what is left of them after Paeth's prediction from the rows above."""
    left = np.pad(rows[:, :-1], ((0, 0), (1, 0), (0, 0)))
    corner = np.pad(above[:, :-1], ((0, 0), (1, 0), (0, 0)))
    a, b, c = (array.astype(np.int16) for array in (left, above, corner))
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    predicted = np.where((to_a <= to_b) & (to_a <= to_c), left, np.where(to_b <= to_c, above, corner))
    residual = (rows - predicted).reshape(len(rows), -1)
    return np.concatenate([np.full((len(rows), 1), _PAETH, np.uint8), residual], axis=1).tobytes()
