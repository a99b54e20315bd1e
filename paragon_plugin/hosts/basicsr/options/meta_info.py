"""Reads lists of image files, `meta_info`, as people write them: with a BOM, empty lines, spaces in names."""

import re
from pathlib import Path

SUFFIXES = ("png", "jpg", "jpeg", "jpe", "jp2", "webp", "bmp", "dib", "tif", "tiff", "ppm", "pgm", "pbm", "exr", "hdr")
"""Ends of the names of image files that the host can open."""

_NAME = rf"(\S.*?\.(?:{'|'.join(SUFFIXES)}))"
_FIRST = re.compile(rf"{_NAME}(?=[\s,]|$)", re.IGNORECASE)
_PAIR = re.compile(rf"{_NAME}\s*,\s*{_NAME}\s*(?:\(.*)?$", re.IGNORECASE)


def read_meta_info(file: str | Path) -> list[str]:
    """The lines of a list that hold something, without what an editor put at the beginning.

    Raises:
        OSError: It cannot be read.
        UnicodeDecodeError: It is no text in UTF-8.
    """
    return [line.strip() for line in Path(file).read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def first_name(line: str) -> str:
    """The image of a line: `my photo.png` of `my photo.png (480,480,3)`; its first word where no suffix is known."""
    found = _FIRST.match(line)
    return found[1] if found else line.split(" ")[0]


def two_names(line: str) -> tuple[str, str]:
    """The two images of a line: `HR/a.png` and `LR/a.png` of `HR/a.png, LR/a.png`.

    Raises:
        ValueError: The line names no two images.
    """
    found = _PAIR.match(line)
    names = (found[1], found[2]) if found else tuple(name.strip() for name in line.split(","))
    if len(names) != 2 or not all(names):
        raise ValueError(f"a line must name two images, 'HR, LR', is {line!r}")
    return names[0], names[1]
