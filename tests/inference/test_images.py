"""Pictures keep what they have; libvips is the independent reader and writer."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray
from PIL import Image, ImageCms

from paragon_plugin.errors import OptionError
from paragon_plugin.inference.images import Picture, read_picture, write_picture
from paragon_plugin.inference.upscaling import Settings, upscale_picture
from paragon_plugin.ops.magic_kernel import MagicKernelSharp2021Upsample

RGB_16 = [("rgb16", 3, 16), ("rgb16", 4, 16)]
RNG = np.random.default_rng(0)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def noise(*shape: int, bits: int = 8) -> NDArray[Any]:
    return RNG.integers(0, 2**bits, shape, dtype=np.uint16 if bits == 16 else np.uint8)


def vips(pixels: NDArray[Any], interpretation: str) -> pyvips.Image:
    return pyvips.Image.new_from_array(pixels).copy(interpretation=interpretation)


@pytest.mark.parametrize("suffix", [".png", ".webp"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_what_is_written_is_read_back_by_another_library(
    tmp_path: Path, suffix: str, channels: int, alpha: bool, bits: int
) -> None:
    if bits == 16 and suffix == ".webp":
        pytest.skip("WebP has 8 bits")
    profile = PROFILE if channels == 3 else None  # which is of RGB
    picture = Picture(noise(9, 13, channels, bits=bits), noise(9, 13, bits=bits) | 1 if alpha else None, profile)
    file = tmp_path / f"a{suffix}"
    write_picture(file, picture)
    seen = pyvips.Image.new_from_file(str(file))
    pixels = seen.numpy().reshape(9, 13, -1)
    assert pixels.dtype == picture.colour.dtype
    if alpha:
        assert picture.alpha is not None
        assert np.array_equal(pixels[..., -1], picture.alpha)
    assert np.array_equal(pixels[..., :channels], picture.colour)
    assert profile is None or seen.get("icc-profile-data") == profile
    back = read_picture(file)
    assert (back.alpha is not None) == alpha
    assert back.icc_profile == profile
    assert np.array_equal(back.colour[..., :1], picture.colour[..., :1])


@pytest.mark.parametrize(
    ("interpretation", "channels", "bits"),
    [("b-w", 1, 8), ("b-w", 2, 8), ("srgb", 3, 8), ("srgb", 4, 8), ("grey16", 1, 16), ("grey16", 2, 16), *RGB_16],
)
def test_pngs_of_another_library_are_read(tmp_path: Path, interpretation: str, channels: int, bits: int) -> None:
    pixels = noise(7, 5, channels, bits=bits)
    file = tmp_path / "a.png"
    vips(pixels, interpretation).write_to_file(str(file))
    picture = read_picture(file)
    colours = channels - (channels in (2, 4))
    assert picture.bits == bits
    assert np.array_equal(picture.colour, pixels[..., :colours])
    assert picture.alpha is None if colours == channels else np.array_equal(picture.alpha, pixels[..., -1])  # pyright: ignore


def test_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 2), 1)
    file = tmp_path / "a.png"
    image.save(file, transparency=0)
    picture = read_picture(file)
    assert picture.alpha is not None
    assert picture.colour[2, 1].tolist() == [0, 255, 0]
    assert picture.alpha[2, 1] == 255
    assert picture.alpha.sum() == 255


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("bits", [8, 16])
def test_pictures_are_turned_upright(tmp_path: Path, orientation: int, bits: int) -> None:
    pixels = noise(6, 9, 3, bits=bits)
    image = vips(pixels, "srgb" if bits == 8 else "rgb16").copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    file = tmp_path / "a.png"
    image.write_to_file(str(file))
    upright = pyvips.Image.new_from_file(str(file)).autorot().numpy()
    assert orientation == 1 or not np.array_equal(upright, pixels)
    assert np.array_equal(read_picture(file).colour, upright)


def test_a_jpeg_keeps_its_profile_and_nearly_its_values(tmp_path: Path) -> None:
    ramp = np.repeat(np.arange(64, dtype=np.uint8)[None, :, None] * 3, 64, axis=0).repeat(3, 2)
    file = tmp_path / "a.jpg"
    write_picture(file, Picture(ramp, None, PROFILE))
    back = read_picture(file)
    assert back.icc_profile == PROFILE
    assert np.abs(back.colour.astype(int) - ramp).max() <= 3


@pytest.mark.parametrize("suffix", ["png", "jpeg", "webp"])
def test_a_truncated_picture_is_refused_in_one_line(tmp_path: Path, suffix: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(noise(64, 64, 3)).save(stream, suffix)
    file = tmp_path / f"a.{suffix}"
    for keep in (0, 10, 200, len(stream.getvalue()) - 300):
        file.write_bytes(stream.getvalue()[:keep])
        with pytest.raises(
            OptionError, match=r"a\.\w+: (cannot be read|is empty|is a \w+ that is damaged|is not an image)"
        ) as error:
            read_picture(file)
        assert "\n" not in str(error.value)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_text("hello")
    with pytest.raises(OptionError, match="is not an image of a known type"):
        read_picture(file)
    Image.new("RGB", (4, 4)).save(file, "GIF")
    with pytest.raises(OptionError, match="is GIF; PNG, JPEG, WebP, TIFF, BMP are read"):
        read_picture(file)
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:])
    with pytest.raises(OptionError, match="holds 2 pictures"):
        read_picture(file)


@pytest.mark.parametrize(
    ("name", "alpha", "bits", "message"),
    [
        ("a.jpg", True, 8, "JPEG keeps no alpha"),
        ("a.webp", False, 16, "WEBP is written with 8 bits"),
        ("a.gif", False, 8, "must end in"),
        ("nowhere/a.png", False, 8, "cannot be written: No such file"),
    ],
)
def test_nothing_is_lost_silently(tmp_path: Path, name: str, alpha: bool, bits: int, message: str) -> None:
    picture = Picture(noise(4, 4, 3, bits=bits), noise(4, 4, bits=bits) if alpha else None)
    with pytest.raises(OptionError, match=message):
        write_picture(tmp_path / name, picture)
    assert not list(tmp_path.iterdir())


class _Nearest(MagicKernelSharp2021Upsample):
    """Stands for a network of three channels in tests of what surrounds it."""

    in_chans = 3


def test_grey_stays_grey_and_depth_stays() -> None:
    ramp = np.linspace(0, 65535, 32 * 32).reshape(32, 32, 1).astype(np.uint16)
    large = upscale_picture(_Nearest(2), 2, Picture(ramp), Settings())
    assert large.colour.shape == (64, 64, 1)
    assert large.bits == 16
    assert len(np.unique(large.colour)) > 1000  # 8 bits would give 256


def test_hidden_colours_do_not_bleed_into_the_edge() -> None:
    """Black under the transparent half, white where one sees: no dark rim."""
    alpha = np.zeros((16, 16), np.uint8)
    alpha[:, 8:] = 255
    colour = np.repeat(alpha[..., None], 3, axis=2)
    large = upscale_picture(_Nearest(2), 2, Picture(colour, alpha), Settings())
    assert large.alpha is not None
    assert large.colour[large.alpha > 0].min() == 255
    assert large.alpha[:, :13].max() < 8
    assert large.alpha[:, 19:].min() > 247


@pytest.mark.parametrize("suffix", [".tif", ".bmp", ".jpg", ".webp", ".png"])
def test_other_kinds_are_read_and_written(tmp_path: Path, suffix: str) -> None:
    pixels = noise(20, 30, 3)
    write_picture(tmp_path / f"a{suffix}", Picture(pixels))
    back = read_picture(tmp_path / f"a{suffix}").colour
    assert np.abs(back.astype(int) - pixels).mean() <= (20 if suffix == ".jpg" else 0)


def test_a_16_bit_grey_tiff_keeps_its_depth(tmp_path: Path) -> None:
    pixels = noise(20, 30, 1, bits=16)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "a.tif")
    picture = read_picture(tmp_path / "a.tif")
    assert picture.bits == 16
    assert np.array_equal(picture.colour, pixels)


def test_a_16_bit_colour_tiff_is_refused(tmp_path: Path) -> None:
    pixels = noise(20, 30, 3, bits=16)
    pyvips.Image.new_from_array(pixels).tiffsave(str(tmp_path / "a.tif"))
    with pytest.raises(OptionError, match="16 bits in colour"):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_is_kept_and_the_orientation_undone(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "A camera", 6
    Image.fromarray(noise(20, 30, 3)).save(tmp_path / f"a{suffix}", exif=exif)
    picture = read_picture(tmp_path / f"a{suffix}")
    assert picture.colour.shape == (30, 20, 3)
    write_picture(tmp_path / f"b{suffix}", upscale_picture(_Nearest(2), 2, picture, Settings()))
    with Image.open(tmp_path / f"b{suffix}") as large:
        assert large.size == (40, 60)
        kept = large.getexif()
    assert kept[0x010F] == "A camera"
    assert kept.get(0x0112, 1) == 1
