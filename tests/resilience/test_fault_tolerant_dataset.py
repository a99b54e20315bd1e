"""Unreadable images: replaced by the next one, told once by name, counted over workers, too many end the run."""

import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

pytestmark = pytest.mark.usefixtures("host")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty pairs; every pixel of pair n is n: a sample says which image it is."""
    for number in range(20):
        for name, side in (("HR", 32), ("LR", 16)):
            (tmp_path / name).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / name / f"{number:02}.png"), np.full((side, side, 3), number, np.uint8))
    return tmp_path


def paired(folder: Path, phase: str = "train", backend: str = "disk") -> Any:
    from basicsr.data import build_dataset

    end = "" if backend == "disk" else f".{backend}"

    options = {
        "type": "PairedImageDataset",
        "name": "pairs",
        "phase": phase,
        "scale": 2,
        "dataroot_gt": str(folder / f"HR{end}"),
        "dataroot_lq": str(folder / f"LR{end}"),
        "io_backend": {"type": backend},
        "gt_size": 16,
        "use_hflip": True,
        "use_rot": True,
    }
    dataset = build_dataset(options)
    dataset.paths.sort(key=lambda pair: pair["gt_path"])
    return dataset


def tolerant(folder: Path, **options: Any) -> Any:
    from paragon_plugin.resilience.fault_tolerant_dataset import FaultTolerantDataset

    return FaultTolerantDataset(paired(folder), "datasets.train", **options)


def images_of(batches: Iterator[dict[str, Any]]) -> list[int]:
    return [round(255 * float(gt.mean())) for batch in batches for gt in batch["gt"]]


def damage(folder: Path, how: str, number: int) -> None:
    hr, lr = (folder / name / f"{number:02}.png" for name in ("HR", "LR"))
    if how == "missing":
        lr.unlink()
    elif how == "text":
        hr.write_text("not an image")
    elif how == "truncated":
        hr.write_bytes(hr.read_bytes()[:-20])
    elif how == "smaller than the patch":
        cv2.imwrite(str(hr), np.zeros((8, 8, 3), np.uint8))
        cv2.imwrite(str(lr), np.zeros((4, 4, 3), np.uint8))
    else:
        cv2.imwrite(str(lr), np.zeros((5, 5, 3), np.uint8))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("how", ["missing", "text", "truncated", "smaller than the patch", "other scale"])
def test_the_next_image_takes_its_place_and_the_fault_is_told_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, workers: int, how: str
) -> None:
    from paragon_plugin.resilience.fault_tolerant_dataset import UnreadableImages

    told: list[str] = []
    monkeypatch.setattr(logging.getLogger(UnreadableImages.__module__), "warning", told.append)
    loader = DataLoader(tolerant(folder), batch_size=4, num_workers=workers)
    damage(folder, how, 7)
    faults = UnreadableImages("datasets.train", 20, max_share=0.05)
    seen = [images_of(faults.watched(iter(loader))) for _ in range(3)]
    expected = [*range(7), 8, *range(8, 20)]
    assert seen == [expected] * 3
    assert len(told) == 1
    assert "07.png" in told[0]
    assert told[0].startswith("datasets.train: ")
    assert told[0].endswith("(1 of 20)")
    assert "\n" not in told[0]


def test_the_mark_is_gone_from_the_batch_that_training_sees(folder: Path) -> None:
    from paragon_plugin.resilience.fault_tolerant_dataset import UnreadableImages

    batch = next(UnreadableImages("datasets.train", 20).watched(iter(DataLoader(tolerant(folder), batch_size=2))))
    assert set(batch) == {"lq", "gt", "lq_path", "gt_path"}


def test_neighbours_that_fail_together_are_each_told(folder: Path) -> None:
    from paragon_plugin.resilience.fault_tolerant_dataset import UnreadableImages

    for number in (18, 19, 0):
        damage(folder, "text", number)
    faults = UnreadableImages("datasets.train", 20, max_share=0.2)
    assert images_of(faults.watched(iter(DataLoader(tolerant(folder)))))[-2:] == [1, 1]  # and round the end
    assert set(faults.found) == {18, 19, 0}


@pytest.mark.parametrize("workers", [0, 2])
def test_above_the_share_the_run_ends_with_one_line(folder: Path, workers: int) -> None:
    from paragon_plugin.errors import RunError
    from paragon_plugin.resilience.fault_tolerant_dataset import UnreadableImages, UnreadableImagesError

    for number in (3, 11):
        damage(folder, "text", number)
    loader = DataLoader(tolerant(folder), batch_size=4, num_workers=workers)
    assert len(images_of(UnreadableImages("datasets.train", 20, 0.1).watched(iter(loader)))) == 20
    faults = UnreadableImages("datasets.train", 20, 0.09)
    with pytest.raises(
        UnreadableImagesError, match=r"datasets\.train: 2 of 20 images cannot be used, more than 0\.09 "
    ):
        images_of(faults.watched(iter(loader)))
    assert issubclass(UnreadableImagesError, RunError)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_set_without_a_single_image_left_is_one_line_from_any_process(folder: Path, workers: int) -> None:
    from paragon_plugin.resilience.fault_tolerant_dataset import UnreadableImagesError

    for number in range(20):
        damage(folder, "text", number)
    with pytest.raises(UnreadableImagesError) as error:
        next(iter(DataLoader(tolerant(folder), num_workers=workers)))
    assert str(error.value).startswith("datasets.train: none of 20 images can be used; the first: ")
    assert "\n" not in str(error.value)


def test_in_validation_the_file_is_named(folder: Path) -> None:
    from paragon_plugin.resilience.fault_tolerant_dataset import FaultTolerantDataset, UnreadableImagesError

    damage(folder, "text", 2)
    dataset = FaultTolerantDataset(paired(folder, "val"), "datasets.val", replace=False)
    assert set(dataset[1]) == {"lq", "gt", "lq_path", "gt_path"}
    with pytest.raises(UnreadableImagesError, match=r"^datasets\.val: \S+02\.png, \S+02\.png: cannot be decoded$"):
        dataset[2]


def test_augmentations_are_those_of_the_dataset_inside(folder: Path) -> None:
    """It draws nothing itself: without faults, samples and random state are the host's."""
    import random

    def drawn(dataset: Any) -> tuple[list[torch.Tensor], float]:
        random.seed(5)
        return [dataset[i]["gt"] for i in range(20)], random.random()

    ours, theirs = drawn(tolerant(folder)), drawn(paired(folder))
    assert all(torch.equal(a, b) for a, b in zip(ours[0], theirs[0], strict=True))
    assert ours[1] == theirs[1]


def test_what_the_dataset_inside_tells_shows_through(folder: Path) -> None:
    dataset = tolerant(folder)
    assert len(dataset) == 20
    assert dataset.opt["name"] == "pairs"
    assert dataset.paths is dataset.dataset.paths
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.opt == dataset.opt
    with pytest.raises(AttributeError):
        _ = dataset.nothing


def test_a_zeroed_jpeg_is_replaced_though_the_reader_takes_it(folder: Path) -> None:
    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import sample_photo

    photo = sample_photo("coffee")
    for number in range(20):
        for name, side in (("HR", 256), ("LR", 128)):
            (folder / name / f"{number:02}.png").unlink()
            cv2.imwrite(str(folder / name / f"{number:02}.jpg"), photo[:side, :side])
    dataset = tolerant(folder)
    assert dataset[9]["unreadable"] == ""
    file = folder / "HR" / "09.jpg"
    data = file.read_bytes()
    file.write_bytes(data[:3000] + bytes(len(data) - 3000))
    assert dataset.dataset[9]["gt"].shape == (3, 16, 16)
    assert dataset[9]["gt_path"].endswith("10.jpg")
    assert dataset[9]["unreadable"] == f"9\t{file} ends in zeros"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_database_is_read_and_its_keys_are_not_taken_for_files(folder: Path, workers: int) -> None:
    from paragon_plugin.hosts.basicsr.checks.rehearsal import first_item
    from paragon_plugin.resilience.fault_tolerant_dataset import FaultTolerantDataset

    for name in ("HR", "LR"):
        files = sorted((folder / name).iterdir())
        with lmdb.open(str(folder / f"{name}.lmdb"), map_size=1 << 20) as database, database.begin(write=True) as put:
            for file in files:
                put.put(file.stem.encode(), file.read_bytes())
        (folder / f"{name}.lmdb" / "meta_info.txt").write_text("".join(f"{file.name} (32,32,3) 1\n" for file in files))
    dataset = FaultTolerantDataset(paired(folder, backend="lmdb"), "datasets.train")
    first_item("datasets.train", dataset)
    pickle.dumps(dataset)  # trying its first item has not opened the database: workers can be sent it
    assert images_of(iter(DataLoader(dataset, batch_size=4, num_workers=workers))) == list(range(20))
