"""Damaged image files: what the host's reader says itself, and what only `image_damage` sees."""

from pathlib import Path

import cv2
import numpy as np
import pytest

FORMATS = (".png", ".jpg", ".webp")


def image_damage(path: Path) -> str | None:
    from paragon_plugin.resilience.image_damage import image_damage

    return image_damage(path)


def encoded(extension: str) -> bytes:
    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import sample_photo

    photo = np.ascontiguousarray(sample_photo("coffee")[:256, :256, ::-1])
    return cv2.imencode(extension, photo)[1].tobytes()


def decoded(data: bytes) -> np.ndarray | None:
    """As the host reads, None where it raises."""
    from basicsr.utils import imfrombytes

    try:
        return imfrombytes(data)
    except cv2.error:
        return None


@pytest.fixture(autouse=True)
def _host(host: None) -> None:
    pass


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("tail", [b"", b"\0" * 4096, b"x" * 4096], ids=["as written", "filled up", "with a trailer"])
def test_sound_files_are_left_alone(tmp_path: Path, extension: str, tail: bytes) -> None:
    data = encoded(extension) + tail
    (tmp_path / "image").write_bytes(data)
    assert image_damage(tmp_path / "image") is None
    assert np.array_equal(decoded(data), decoded(encoded(extension)))  # type: ignore[arg-type]


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("part", [0, 0.01, 0.5, 0.9, 0.999])
def test_truncated_files_are_told_by_themselves_or_by_the_reader(tmp_path: Path, extension: str, part: float) -> None:
    data = encoded(extension)[: int(part * len(encoded(extension)))]
    (tmp_path / "image").write_bytes(data)
    assert image_damage(tmp_path / "image") is not None or decoded(data) is None


@pytest.mark.parametrize("extension", [".jpg", ".webp"])
def test_an_end_of_zeros_passes_the_reader_in_silence_and_is_told_here(tmp_path: Path, extension: str) -> None:
    data = encoded(extension)
    data = data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
    picture, sound = decoded(data), decoded(encoded(extension))
    assert picture is not None
    assert sound is not None
    assert np.mean((picture != sound).any(-1)) > 0.3  # a third of the picture is not there, without a word
    (tmp_path / "image").write_bytes(data)
    assert image_damage(tmp_path / "image") == "ends in zeros"


def test_a_flipped_bit_in_a_png_is_told_by_the_reader() -> None:
    data = bytearray(encoded(".png"))
    data[len(data) // 2] ^= 1
    assert decoded(bytes(data)) is None


def test_missing_and_empty_files_are_told(tmp_path: Path) -> None:
    assert image_damage(tmp_path / "none") == "cannot be read (No such file or directory)"
    (tmp_path / "empty").touch()
    assert image_damage(tmp_path / "empty") == "is empty"
