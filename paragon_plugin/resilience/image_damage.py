"""Finds damage in image files that a decoder does not report, from a few bytes at their ends.

OpenCV 5 gives no image for a truncated PNG, JPEG, WebP, BMP or TIFF in memory, and none for a PNG with a wrong
checksum. But a JPEG or WebP whose end is zeros, as after a crash or on a full disk, gives a picture that is grey from
there on, without an error. OpenCV 4 does the same for a truncated JPEG. This module finds such files. It cannot find a
flipped bit within a JPEG, WebP, BMP or TIFF.
"""

import os
from pathlib import Path

from PIL import Image

TAIL = 64
"""Bytes at the end of a file that are looked at."""

_JPEG, _PNG, _WEBP = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF"
_JPEG_END, _PNG_END = b"\xff\xd9", b"IEND"


def image_damage(path: str | Path) -> str | None:
    """What is wrong with an image file, in words, or None.

    Reads the first 16 and the last 64 bytes; a file whose end looks wrong is read as a whole to be sure. A file of
    another format than JPEG, PNG or WebP is only found empty or missing.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size == 0:
                return "is empty"
            file.seek(0)
            head = file.read(16)
            file.seek(max(0, size - TAIL))
            tail = file.read()
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    zeros = size > TAIL and not tail.strip(b"\0")
    if head.startswith(_JPEG):
        if zeros:  # some writers fill up the last block after the end of the picture
            return None if _ends_with(path, _JPEG_END) else "ends in zeros"
        return None if _JPEG_END in tail else _undecodable(path)
    if head.startswith(_PNG):
        return None if _PNG_END in tail else _undecodable(path)
    if head.startswith(_WEBP) and head[8:12] == b"WEBP":
        length = 8 + int.from_bytes(head[4:8], "little")
        return "is cut off" if length > size else "ends in zeros" if zeros and length > size - TAIL else None
    return None


def _ends_with(path: str | Path, marker: bytes) -> bool:
    return Path(path).read_bytes().rstrip(b"\0").endswith(marker)


def _undecodable(path: str | Path) -> str | None:
    """Bytes may follow a whole picture (cameras append films): only a decoder can tell."""
    try:
        with Image.open(path) as image:
            image.load()
    except Exception as error:  # Pillow raises nearly anything on damaged files
        return "is cut off" if "truncated" in str(error) else "cannot be decoded"
    return None
