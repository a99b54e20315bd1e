"""What the first validation leaves for the report: crops of the real images, computed once, training undisturbed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

pytestmark = pytest.mark.usefixtures("host")

METRICS = {"psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": True}}


@pytest.fixture(scope="module")
def loader() -> DataLoader:
    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import SamplePhotosDataset

    return DataLoader(SamplePhotosDataset({"phase": "val", "scale": 2, "name": "Photos"}), batch_size=1)


def test_references_and_crops_are_those_of_the_images(loader: DataLoader, tmp_path: Path) -> None:
    from paragon_plugin.hosts.basicsr.run.reference_upscalers import reference_metrics
    from paragon_plugin.hosts.basicsr.run.validation_record import recorded_references
    from paragon_plugin.report.references import read_records

    before = torch.get_rng_state()
    metrics = recorded_references(tmp_path, loader, METRICS, 2)
    assert torch.equal(torch.get_rng_state(), before)  # training goes on with the same random numbers
    assert metrics == reference_metrics(loader, METRICS, 2)

    record = read_records(tmp_path / "report" / "references.json")["Photos"]
    assert (record.images, record.scale, record.metrics) == (2, 2, metrics)
    assert [place.image for place in record.crops] == ["chelsea", "coffee"]
    for place, item in zip(record.crops, loader, strict=True):
        hr = np.round(item["gt"][0].permute(1, 2, 0).numpy() * 255)
        lr = np.round(item["lq"][0].permute(1, 2, 0).numpy() * 255)
        top, left, side = place.top, place.left, place.side
        folder = tmp_path / "report" / "Photos"
        assert np.array_equal(picture(folder / f"{place.image}_hr.png"), hr[top : top + side, left : left + side])
        half = np.s_[top // 2 : (top + side) // 2, left // 2 : (left + side) // 2]
        assert np.array_equal(picture(folder / f"{place.image}_lr.png"), lr[half])
        # Pillow's bicubic has another kernel than MATLAB's; away from the rim they agree on average
        other = np.asarray(Image.fromarray(lr.astype(np.uint8)).resize(hr.shape[1::-1], Image.Resampling.BICUBIC))
        ours = picture(folder / f"{place.image}_bicubic.png")
        assert np.abs(ours - other[top : top + side, left : left + side].astype(float)).mean() < 1.5


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), float)


def test_computed_once_per_run_and_again_when_the_metrics_change(
    loader: DataLoader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from paragon_plugin.hosts.basicsr.run import validation_record

    calls = []
    monkeypatch.setattr(
        validation_record, "reference_metrics", lambda *a: calls.append(a) or {"bicubic": {"psnr": 30.0}}
    )
    for _ in range(3):
        assert validation_record.recorded_references(tmp_path, loader, METRICS, 2) == {"bicubic": {"psnr": 30.0}}
    assert len(calls) == 1
    other = {"psnr": {**METRICS["psnr"], "crop_border": 4}}
    validation_record.recorded_references(tmp_path, loader, other, 2)
    assert len(calls) == 2
    (tmp_path / "report" / "references.json").write_text('{"Photos": 3}')
    validation_record.recorded_references(tmp_path, loader, other, 2)
    assert len(calls) == 3


def test_a_folder_that_cannot_be_written_does_not_end_the_run(loader: DataLoader, tmp_path: Path) -> None:
    from paragon_plugin.hosts.basicsr.run.validation_record import recorded_references

    (tmp_path / "report").write_text("a file where the folder should be")
    assert recorded_references(tmp_path, loader, METRICS, 2)["bicubic"]["psnr"] == pytest.approx(32.93, abs=0.05)


def test_the_crop_is_where_the_error_is() -> None:
    from paragon_plugin.hosts.basicsr.run.validation_record import hardest_place

    error = np.zeros((300, 400), np.float32)
    error[141:200, 260:330] = 1
    top, left, side = hardest_place(error, 3)
    assert side == 126
    assert top % 3 == left % 3 == 0
    assert error[top : top + side, left : left + side].sum() == error.sum()
    assert hardest_place(np.ones((50, 90), np.float32), 4) == (0, 0, 48)
