"""How large an image is when the host has read it, from its header alone."""

import warnings
from pathlib import Path

from PIL import Image

ORIENTATION = 0x0112
"""EXIF tag; from 5 on the picture lies on its side."""


def image_size(file: str | Path) -> tuple[int, int] | None:
    """Width and height; None where Pillow holds the picture for too large. What is no image raises nearly anything."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large images are what is trained on
            with Image.open(file) as image:
                # OpenCV turns a picture as its EXIF block says.
                turned = "exif" in image.info and image.getexif().get(ORIENTATION, 1) >= 5
                return (image.height, image.width) if turned else image.size
    except Image.DecompressionBombError:
        return None
