"""Training from HR images alone gives what training from pairs gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from paragon_plugin.errors import OptionError
from paragon_plugin.ops.bicubic_reduction import bicubic_reduction
from paragon_plugin.resilience.fault_tolerant_dataset import FaultTolerantDataset, UnreadableImagesError
from paragon_plugin.resilience.random_state import seeded_by

pytestmark = pytest.mark.usefixtures("host")

SIZES = {"a.png": (70, 61), "B.PNG": (48, 97), "more/c.png": (64, 64), "more/deep/a.png": (80, 50)}


def photo(width: int, height: int, seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    y, x, channel = np.mgrid[:height, :width, :3]
    noise = np.random.default_rng(seed).normal(0, 25, (height, width, 3))
    return np.clip(128 + 100 * np.sin(x / 5 + channel) * np.cos(y / 6) + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, (name, (width, height)) in enumerate(SIZES.items()):
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(width, height, seed)).save(file)
    for name in ("Thumbs.db", ".hidden.png", "more/notes.txt"):
        (tmp_path / "photos" / name).write_bytes(b"no image")
    return tmp_path / "photos"


def build(folder: Path, phase: str = "train", **options: Any) -> Any:
    from basicsr.data import build_dataset

    sizes = {"gt_size": 24} if phase == "train" else {}
    base = {"type": "HRImageDataset", "name": "mine", "phase": phase, "scale": 2, "dataroot_gt": str(folder)}
    return build_dataset({**base, **sizes, **options})


def pairs(folder: Path, beside: Path, phase: str, scale: int) -> Any:
    """The host's data set of the same images and their reductions, written as files."""
    from basicsr.data import build_dataset

    for kind in ("hr", "lr"):
        (beside / kind).mkdir(parents=True)
    for place, name in enumerate(sorted(SIZES)):
        hr = torch.from_numpy(np.array(Image.open(folder / name)))
        hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
        for kind, image in (("hr", hr), ("lr", bicubic_reduction(hr, scale))):
            Image.fromarray(image.numpy()).save(beside / kind / f"{place}.png")
    options = {"type": "PairedImageDataset", "name": "pairs", "io_backend": {"type": "disk"}, "phase": phase}
    options |= {"dataroot_gt": str(beside / "hr"), "dataroot_lq": str(beside / "lr"), "scale": scale}
    data = build_dataset({**options, "gt_size": 24, "use_hflip": True, "use_rot": True})
    data.paths.sort(key=lambda entry: entry["gt_path"])
    return data


@pytest.mark.parametrize("cache_mb", [0, 1024])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("phase", ["train", "val"])
def test_gives_what_pairs_give(phase: str, scale: int, cache_mb: int, folder: Path, tmp_path: Path) -> None:
    alone = build(folder, phase, scale=scale, cache_mb=cache_mb)
    paired = pairs(folder, tmp_path / "pairs", phase, scale)
    assert len(alone) == len(paired) == len(SIZES)
    for index in range(len(SIZES)):
        for seed in range(6 if phase == "train" else 1):
            with seeded_by((seed, index)):
                ours = alone[index]
            with seeded_by((seed, index)):
                theirs = paired[index]
            assert torch.equal(ours["gt"], theirs["gt"])
            assert torch.equal(ours["lq"], theirs["lq"])


def test_images_are_found_in_sub_folders_in_one_order(folder: Path) -> None:
    found = [Path(path).relative_to(folder).as_posix() for path in build(folder).paths]
    assert found == sorted(SIZES)


def test_images_that_validate_are_never_trained_on(folder: Path) -> None:
    held_out = ["more/deep/a.png", "B.PNG"]
    training, validation = build(folder, exclude=held_out), build(folder, "val", images=held_out)
    assert not set(training.paths) & set(validation.paths)
    assert len(training) + len(validation) == len(SIZES)


def test_images_of_one_name_are_told_apart(folder: Path) -> None:
    named = [Path(build(folder, "val")[index]["lq_path"]).name for index in range(len(SIZES))]
    assert sorted(named) == ["B.PNG", "a.png", "c.png", "more_deep_a.png"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dataroot_gt": "nowhere"}, r"datasets.train.dataroot_gt: must be a folder of images, is 'nowhere'"),
        ({"dataroot_gt": None}, "dataroot_gt: must be a folder"),
        (
            {"images": ["more/d.png"]},
            r"datasets.train.images: no image 'more/d.png' in .*; did you mean 'more/c.png'\?",
        ),
        ({"exclude": "a.png"}, r"datasets.train.exclude: must be a list of file names, is 'a.png'"),
        ({"images": ["a.png"], "exclude": ["a.png"]}, "no image of .* is left"),
        ({"gt_size": 25}, "gt_size: must be a multiple of scale 2, is 25"),
        ({"cache_mb": -1}, "cache_mb: must be a number of megabytes, is -1"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any], said: str, folder: Path) -> None:
    with pytest.raises(OptionError, match=said):
        build(folder, **options)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OptionError, match="holds no images"):
        build(tmp_path)


def test_a_damaged_image_is_replaced_or_named(folder: Path) -> None:
    whole = (folder / "B.PNG").read_bytes()
    (folder / "B.PNG").write_bytes(whole[: len(whole) // 2])
    data = FaultTolerantDataset(build(folder), "datasets.train")
    assert Path(data[0]["lq_path"]).name == "a.png"
    with pytest.raises(UnreadableImagesError, match=r"B\.PNG"):
        FaultTolerantDataset(build(folder, "val"), "datasets.val", replace=False)[0]


def test_the_kept_images_stay_within_their_room() -> None:
    from paragon_plugin.hosts.basicsr.data.decoded_images import DecodedImages

    read: list[str] = []

    def decode(file: str) -> torch.Tensor:
        read.append(file)
        return torch.zeros(10, dtype=torch.uint8)

    images = DecodedImages(decode, 25)
    for file in "abacabd":
        images[file]
    assert read == ["a", "b", "c", "b", "d"]
