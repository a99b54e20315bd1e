"""Reads and writes PNG, JPEG, WebP, TIFF and BMP without losing alpha, 16 bits, EXIF or the colour profile.

Pillow reads strictly: a truncated file is an error. It has no 16-bit colour; `png_16_bit` reads and writes that.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import OptionError
from ..resilience.atomic_file import atomic_file
from . import png_16_bit

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
"""Suffixes of the files that can be read and written."""

_NAMES = "PNG, JPEG, WebP, TIFF, BMP"
_FORMATS: dict[str, str] = dict(zip(SUFFIXES, ("PNG", "JPEG", "JPEG", "WEBP", "TIFF", "TIFF", "BMP"), strict=True))
_READABLE = ("PNG", "JPEG", "WEBP", "MPO", "TIFF", "BMP")  # MPO: a phone's JPEG with a second picture after the first
_STARTS = {b"\x89PNG": "PNG", b"\xff\xd8": "JPEG", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"RIFF": "WebP", b"BM": "BMP"}
"""The first bytes of a file, by its type."""
_KEPT_TAGS = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298, 0x8769, 0x8825)
"""EXIF of where, when, with what and by whom; not of how the pixels are stored, which a TIFF keeps there too."""
_QUALITY: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 4},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "quality": 50},  # in lossless mode `quality` is the effort
    "TIFF": {"compression": "tiff_adobe_deflate"},
    "BMP": {},
}


@dataclass(frozen=True)
class Picture:
    """An image in memory."""

    colour: NDArray[Any]
    """(H, W, 1) grey or (H, W, 3) RGB, uint8 or uint16."""
    alpha: NDArray[Any] | None = None
    """(H, W) of the same type, or None."""
    icc_profile: bytes | None = None
    """The colour profile, or None for sRGB."""
    exif: bytes | None = None
    """Where and how it was taken, without the orientation: the pixels are upright."""

    @property
    def bits(self) -> int:
        """Bits per channel, 8 or 16."""
        return 8 * self.colour.dtype.itemsize


def read_picture(path: Path) -> Picture:
    """Read an image and turn it upright.

    Raises:
        OptionError: The file is missing, unreadable or damaged, is an animation, or is of no type in `SUFFIXES`.
    """
    data = b""
    try:
        data = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # above twice that size Pillow raises
            return _decode(path, data)
    except OptionError:
        raise
    except UnidentifiedImageError:
        raise OptionError(str(path), _unidentified(data)) from None
    except OSError as error:
        raise OptionError(str(path), f"cannot be read: {error.strerror or error}") from error
    except (Image.DecompressionBombError, SyntaxError, ValueError, struct.error, zlib.error, EOFError) as error:
        raise OptionError(str(path), f"cannot be read: {error}") from error


def _decode(path: Path, data: bytes) -> Picture:
    image = Image.open(io.BytesIO(data))
    if image.format not in _READABLE:
        raise OptionError(str(path), f"is {image.format}; {_NAMES} are read")
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        raise OptionError(str(path), f"holds {image.n_frames} pictures; files of one picture are read")  # type: ignore[attr-defined]
    if (
        image.format == "TIFF"
        and image.mode not in ("I", "F")
        and image.mode[:4] != "I;16"
        and max(_tiff_bits(image)) > 8
    ):
        raise OptionError(str(path), "is a TIFF of 16 bits in colour, of which 8 would be lost; convert it to PNG")
    image.load()
    profile = image.info.get("icc_profile")
    if image.format == "PNG" and data[24] == 16:  # bit depth in the header
        orientation = image.getexif().get(0x0112, 1)
        return _decode_16_bit(data, profile, orientation)
    if image.mode in ("I", "F") or (image.mode.startswith("I;16") and image.format != "TIFF"):
        raise OptionError(str(path), f"has values of the kind {image.mode}; 8 and 16 bits a channel are read")
    if image.mode.startswith("I;16"):
        orientation = image.getexif().get(0x0112, 1)
        grey = np.asarray(image).astype(np.uint16)[..., None]
        return Picture(np.ascontiguousarray(_upright(grey, orientation)), None, profile)
    exif = _exif(image)
    image = ImageOps.exif_transpose(image)
    if image.mode == "CMYK":
        image, profile = image.convert("RGB"), None
    grey = image.mode in ("1", "L", "LA")
    image = image.convert(("L" if grey else "RGB") + "A" * image.has_transparency_data)
    pixels = np.asarray(image)
    if not image.mode.endswith("A"):
        return Picture(pixels.reshape(*pixels.shape[:2], -1), None, profile, exif)
    return Picture(pixels[..., :-1], pixels[..., -1], profile, exif)


def _unidentified(data: bytes) -> str:
    """What is wrong with a file that Pillow does not know."""
    kind = next((kind for start, kind in _STARTS.items() if data.startswith(start)), None)
    if kind is None:
        return f"is not an image of a known type ({_NAMES})" if data else "is empty"
    return f"is a {kind} that is damaged, or of a kind that is not read"


def _tiff_bits(image: Image.Image) -> tuple[int, ...]:
    bits = image.tag_v2.get(258, (1,))  # type: ignore[attr-defined]
    return bits if isinstance(bits, tuple) else (bits,)


def _exif(image: Image.Image) -> bytes | None:
    """The EXIF block without the orientation; None where there is nothing in it, or it cannot be read."""
    try:
        found = Image.Exif()  # a copy: the image's own still says how it is turned
        found.load(image.getexif().tobytes())
        for tag in set(found) - set(_KEPT_TAGS):
            del found[tag]
        return found.tobytes() if len(found) else None
    except Exception:  # a block of a camera that Pillow cannot make sense of; the picture counts
        return None


def _decode_16_bit(data: bytes, profile: bytes | None, orientation: int) -> Picture:
    pixels = np.ascontiguousarray(_upright(png_16_bit.decode(data), orientation))
    if pixels.shape[2] in (1, 3):
        return Picture(pixels, None, profile)
    return Picture(pixels[..., :-1], pixels[..., -1], profile)


def _upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo an EXIF orientation, 1 to 8, of pixels (H, W, C)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


def check_writable_as(path: Path, picture: Picture) -> None:
    """Refuse a file type that would lose a part of a picture.

    Raises:
        OptionError: The suffix is unknown, or the picture has alpha or 16 bits and the file type does not.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise OptionError(str(path), f"must end in {', '.join(SUFFIXES)}")
    if picture.alpha is not None and _FORMATS[suffix] in ("JPEG", "BMP"):
        raise OptionError(str(path), f"{_FORMATS[suffix]} keeps no alpha channel; write .png or .webp")
    if picture.bits == 16 and _FORMATS[suffix] != "PNG":
        raise OptionError(str(path), f"{_FORMATS[suffix]} is written with 8 bits, the image has 16; write .png")


def write_picture(path: Path, picture: Picture) -> None:
    """Write an image: without loss, but JPEG at quality 95 with full colour resolution.

    The file is written completely or not at all.

    Raises:
        OptionError: `check_writable_as` refuses the file type, the file cannot be written, or its type has no images of
            this size.
    """
    check_writable_as(path, picture)
    try:
        data = _encoded(picture, _FORMATS[path.suffix.lower()])
    except (OSError, ValueError) as error:
        raise OptionError(str(path), f"cannot be encoded: {error}") from error
    try:
        with atomic_file(path) as file:
            file.write(data)
    except OSError as error:
        raise OptionError(str(path), f"cannot be written: {error.strerror or error}") from error


def _encoded(picture: Picture, kind: str) -> bytes:
    pixels = picture.colour
    if picture.alpha is not None:
        pixels = np.concatenate([pixels, picture.alpha[..., None]], axis=2)
    if picture.bits == 16:
        return png_16_bit.encode(pixels, picture.icc_profile)
    image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    stream = io.BytesIO()
    extra = {"exif": picture.exif} if picture.exif is not None and kind != "BMP" else {}
    image.save(stream, kind, icc_profile=picture.icc_profile, **extra, **_QUALITY[kind])
    return stream.getvalue()
