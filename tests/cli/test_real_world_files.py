"""Image files as they come: each is enlarged rightly, or is named with the reason, and the last line counts them.

What stands in a file is made from one photograph with numpy alone, so that what should come out is known without our
reader: an upright image in grey or RGB, with or without alpha, of 8 or 16 bits.
"""

import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms

from paragon_plugin.cli.main import main
from paragon_plugin.inference.images import Picture
from paragon_plugin.inference.upscaling import Settings, upscale_picture
from paragon_plugin.nets.paragonsr2 import build_paragonsr2

pytestmark = pytest.mark.usefixtures("host")

Pixels = NDArray[Any]

LOSSY = 4.0
"""Mean difference in steps of 8 bits that a lossy file may bring. Turned the wrong way the photograph is off by 60."""

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@dataclass
class Whole:
    """A file that is enlarged."""

    data: bytes
    colour: Pixels
    """What it shows, (H, W) or (H, W, 3)."""
    alpha: Pixels | None = None
    off: float = 0.0
    """Mean difference that is allowed, in steps of 8 bits."""
    icc: bool = False
    """Whether the enlarged file has the profile as well."""


@dataclass
class Refused:
    """A file that is named."""

    data: bytes
    why: str


def encoded(image: Image.Image, kind: str, *, frames: int = 1, **options: Any) -> bytes:
    """A file of one picture, or of several that differ."""
    stream = io.BytesIO()
    if frames > 1:
        turns = [image.transpose(Image.Transpose.ROTATE_180) for _ in range(frames - 1)]
        options |= {"save_all": True, "append_images": turns}
    image.copy().save(stream, kind, **options)  # a copy: saving leaves settings of the file type on an image
    return stream.getvalue()


def by_vips(pixels: Pixels, suffix: str, interpretation: str, **options: Any) -> bytes:
    image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels)).copy(interpretation=interpretation)
    return image.write_to_buffer(suffix, **options)


def turned(upright: Pixels, orientation: int) -> Pixels:
    """The pixels that an EXIF orientation turns upright: TIFF 6.0, tag 274, where row 0 and column 0 are."""
    return {
        1: lambda p: p,  # top, left
        2: lambda p: p[:, ::-1],  # top, right
        3: lambda p: p[::-1, ::-1],  # bottom, right
        4: lambda p: p[::-1],  # bottom, left
        5: lambda p: p.swapaxes(0, 1),  # left, top
        6: lambda p: p.swapaxes(0, 1)[::-1],  # right, top
        7: lambda p: p.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
        8: lambda p: p.swapaxes(0, 1)[:, ::-1],  # left, bottom
    }[orientation](upright)


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def claimed(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is so large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def top_down(photo: Pixels) -> bytes:
    """A BMP whose first row is the top one: its height is negative."""
    height, width = photo.shape[:2]
    rows = np.zeros((height, (3 * width + 3) // 4 * 4), np.uint8)
    rows[:, : 3 * width] = photo[..., ::-1].reshape(height, -1)
    header = struct.pack("<IiiHHIIiiII", 40, width, -height, 1, 24, 0, rows.size, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + rows.size, 0, 0, 54) + header + rows.tobytes()


def files() -> dict[str, Whole | Refused]:
    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import sample_photo

    photo = np.ascontiguousarray(sample_photo("chelsea")[40:160:3, 60:228:3])  # 40 x 56
    rgb = Image.fromarray(photo)
    grey_image = rgb.convert("L")
    grey = np.asarray(grey_image)
    ramp = np.broadcast_to(np.linspace(0, 255, photo.shape[1]).astype(np.uint8), photo.shape[:2])
    ramp = np.ascontiguousarray(ramp) | 1  # nothing is fully transparent: such colours are replaced
    rgba, la = rgb.copy(), grey_image.copy()
    rgba.putalpha(Image.fromarray(ramp))
    la.putalpha(Image.fromarray(ramp))
    bits = np.where(grey > 128, 255, 0).astype(np.uint8)
    one_bit = Image.fromarray(bits > 0)
    palette = rgb.quantize(32)
    colours = np.asarray(palette.convert("RGB"))
    see_through = (np.asarray(palette) != 3).astype(np.uint8) * 127 + 128  # the colour number 3 is half transparent
    table = bytes(128 if number == 3 else 255 for number in range(32))
    deep = photo.astype(np.uint16) * 257
    deep[..., 0] += 5  # what 8 bits would lose
    deep_grey = grey.astype(np.uint16) * 257
    deep_grey -= deep_grey > 3
    deep_rgba = np.dstack([deep, ramp.astype(np.uint16) * 257])
    cmyk = Image.fromarray(np.dstack([255 - photo, np.zeros_like(grey)]), "CMYK")
    whole = encoded(rgb, "PNG")
    jpeg = {"quality": 95, "subsampling": 0}
    tiff: Callable[..., bytes] = lambda image, **options: encoded(image, "TIFF", **options)  # noqa: E731

    result: dict[str, Whole | Refused] = {
        # PNG
        "rgb.png": Whole(whole, photo),
        "rgba.png": Whole(encoded(rgba, "PNG"), photo, ramp),
        "grey.png": Whole(encoded(grey_image, "PNG"), grey),
        "grey_alpha.png": Whole(encoded(la, "PNG"), grey, ramp),
        "palette.png": Whole(encoded(palette, "PNG"), colours),
        "palette_transparent.png": Whole(encoded(palette, "PNG", transparency=table), colours, see_through),
        "palette_4_bit.png": Whole(encoded(rgb.quantize(9), "PNG"), np.asarray(rgb.quantize(9).convert("RGB"))),
        "1_bit.png": Whole(encoded(one_bit, "PNG"), bits),
        "grey_2_bit.png": Whole(by_vips(grey // 85 * 85, ".png", "b-w", bitdepth=2), grey // 85 * 85),
        "16_bit.png": Whole(by_vips(deep, ".png", "rgb16"), deep),
        "16_bit_alpha.png": Whole(by_vips(deep_rgba, ".png", "rgb16"), deep, ramp.astype(np.uint16) * 257),
        "16_bit_grey.png": Whole(by_vips(deep_grey, ".png", "grey16"), deep_grey),
        "16_bit_interlaced.png": Whole(by_vips(deep, ".png", "rgb16", interlace=True), deep),
        "colour_key.png": Whole(encoded(rgb, "PNG", transparency=(1, 2, 3)), photo, np.full_like(grey, 255)),
        "interlaced.png": Whole(by_vips(photo, ".png", "srgb", interlace=True), photo),
        "profile.png": Whole(encoded(rgb, "PNG", icc_profile=PROFILE), photo, icc=True),
        "turned.png": Whole(encoded(Image.fromarray(turned(photo, 6)), "PNG", exif=exif(6)), photo),
        "with space and ü.png": Whole(whole, photo),
        "UPPER.PNG": Whole(whole, photo),
        "one_pixel.png": Whole(
            encoded(Image.new("RGB", (1, 1), (9, 99, 199)), "PNG"), np.full((1, 1, 3), (9, 99, 199), np.uint8)
        ),
        "thin.png": Whole(encoded(rgb.crop((0, 0, 56, 1)), "PNG"), photo[:1]),
        "animated.png": Refused(encoded(rgb, "PNG", frames=2), "holds 2 pictures"),
        # JPEG
        **{
            f"orientation_{number}.jpg": Whole(
                encoded(Image.fromarray(turned(photo, number)), "JPEG", exif=exif(number), **jpeg), photo, off=LOSSY
            )
            for number in range(1, 9)
        },
        "progressive.jpeg": Whole(encoded(rgb, "JPEG", progressive=True, **jpeg), photo, off=LOSSY),
        "grey.jpg": Whole(encoded(grey_image, "JPEG", **jpeg), grey, off=LOSSY),
        "cmyk.jpg": Whole(encoded(cmyk, "JPEG", **jpeg), photo, off=LOSSY),
        "profile.jpg": Whole(encoded(rgb, "JPEG", icc_profile=PROFILE, **jpeg), photo, off=LOSSY, icc=True),
        "two_pictures.jpg": Whole(encoded(rgb, "MPO", frames=2, **jpeg), photo, off=LOSSY),  # as some phones write
        "a_png.jpg": Whole(whole, photo, off=LOSSY),
        "orientation_of_nonsense.jpg": Whole(encoded(rgb, "JPEG", exif=exif(99), **jpeg), photo, off=LOSSY),
        # WebP
        "lossless.webp": Whole(encoded(rgb, "WEBP", lossless=True), photo),
        "alpha.webp": Whole(encoded(rgba, "WEBP", lossless=True), photo, ramp),
        "lossy.webp": Whole(encoded(rgb, "WEBP", quality=95), photo, off=LOSSY),
        "turned.webp": Whole(encoded(Image.fromarray(turned(photo, 3)), "WEBP", lossless=True, exif=exif(3)), photo),
        "animated.webp": Refused(encoded(rgb, "WEBP", lossless=True, frames=2), "holds 2 pictures"),
        # TIFF
        "plain.tif": Whole(tiff(rgb), photo),
        "lzw.tiff": Whole(tiff(rgb, compression="tiff_lzw"), photo),
        "tiled.tif": Whole(by_vips(photo, ".tif", "srgb", tile=True, tile_width=16, tile_height=16), photo),
        "turned.tif": Whole(tiff(Image.fromarray(turned(photo, 8)), exif=exif(8)), photo),
        "grey.tif": Whole(tiff(grey_image), grey),
        "1_bit.tif": Whole(tiff(one_bit, compression="group4"), bits),
        "palette.tif": Whole(tiff(palette), colours),
        "alpha.tif": Whole(tiff(rgba), photo, ramp),
        "cmyk.tif": Whole(tiff(cmyk), photo, off=LOSSY),
        "profile.tif": Whole(tiff(rgb, icc_profile=PROFILE), photo, icc=True),
        "jpeg.tif": Whole(tiff(rgb, compression="jpeg", quality=95), photo, off=2 * LOSSY),
        "big_endian.tif": Whole(tiff(grey_image, big_endian=True), grey),
        "16_bit_grey.tif": Refused(by_vips(deep_grey, ".tif", "grey16"), "is written with 8 bits"),
        "float_colour.tif": Refused(by_vips(photo / np.float32(255), ".tif", "scrgb"), "of a kind that is not read"),
        "16_bit_colour.tif": Refused(by_vips(deep, ".tif", "rgb16"), "16 bits in colour"),
        "float.tif": Refused(tiff(Image.fromarray(grey / np.float32(255))), "8 and 16 bits a channel are read"),
        "pages.tif": Refused(tiff(rgb, frames=2), "holds 2 pictures"),
        # BMP
        "plain.bmp": Whole(encoded(rgb, "BMP"), photo),
        "palette.bmp": Whole(encoded(palette, "BMP"), colours),
        "grey.bmp": Whole(encoded(grey_image, "BMP"), grey),
        "1_bit.bmp": Whole(encoded(one_bit, "BMP"), bits),
        "from_the_top.bmp": Whole(top_down(photo), photo),
        "32_bit.bmp": Whole(encoded(rgba, "BMP"), photo),  # without a mask for it the fourth byte says nothing
        # broken, and not what they say
        "cut.png": Refused(whole[: len(whole) // 2], "cannot be read"),
        "cut.jpg": Refused(encoded(rgb, "JPEG", **jpeg)[:900], "cannot be read"),
        "cut.webp": Refused(encoded(rgb, "WEBP", lossless=True)[:900], "cannot be read"),
        "cut.tif": Refused(tiff(rgb)[:900], "cannot be read"),
        "cut.bmp": Refused(encoded(rgb, "BMP")[:900], "cannot be read"),
        "empty.png": Refused(b"", "is empty"),
        "no_more_than_a_start.png": Refused(whole[:12], "is a PNG that is damaged"),
        "text.jpg": Refused(b"This is no image.\n" * 9, "is not an image"),
        "huge.png": Refused(claimed(60_000, 60_000), "cannot be read"),
        "a_gif.png": Refused(encoded(rgb, "GIF"), "is GIF"),
        "flipped_bits.png": Refused(whole[:300] + bytes(255 - byte for byte in whole[300:310]) + whole[310:], "cannot"),
    }
    return result


def enlarged(net: torch.nn.Module, file: Whole) -> Pixels:
    """What should come out: colour and alpha in one array (2 H, 2 W, C)."""
    colour = file.colour if file.colour.ndim == 3 else file.colour[..., None]
    large = upscale_picture(net, 2, Picture(colour, file.alpha), Settings())
    return large.colour if large.alpha is None else np.dstack([large.colour, large.alpha])


def seen(file: Path) -> tuple[Pixels, bool]:
    """The pixels of a written file by another reader where it has 16 bits, and whether it has a profile."""
    image = Image.open(file)
    pixels = pyvips.Image.new_from_file(str(file)).numpy() if file.name.startswith("16_bit") else np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None], "icc_profile" in image.info


def test_each_file_comes_out_right_or_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    net = build_paragonsr2("nano", scale=2).eval()
    torch.save({"params": net.state_dict()}, tmp_path / "net.pth")
    (tmp_path / "in").mkdir()
    made = files()
    for name, file in made.items():
        (tmp_path / "in" / name).write_bytes(file.data)
    for name in ("animated.gif", "Thumbs.db", "list.txt"):
        (tmp_path / "in" / name).write_bytes(b"GIF89a")
    assert main(["upscale", str(tmp_path / "in"), "-m", str(tmp_path / "net.pth"), "-o", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()

    refused = {name: file for name, file in made.items() if isinstance(file, Refused)}
    lines = err.splitlines()
    for name, file in refused.items():
        (line,) = [line for line in lines if f"{os.sep}{name}: " in line]
        assert file.why in line, line
    assert len(lines) == len(refused), lines
    whole = {name: file for name, file in made.items() if isinstance(file, Whole)}
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(whole)
    for name, file in whole.items():
        pixels, profile = seen(tmp_path / "out" / name)
        expected = enlarged(net, file)
        assert (pixels.shape, pixels.dtype) == (expected.shape, expected.dtype), name
        step = 257 if pixels.dtype == np.uint16 else 1
        assert np.abs(pixels.astype(float) - expected).mean() <= file.off * step, name
        assert profile == file.icc, name
    counts = f"{len(whole)} written, {len(refused)} failed, 3 passed over (1 .db, 1 .gif, 1 .txt)"
    assert out.splitlines()[-1] == counts
    assert len(made) >= 40
