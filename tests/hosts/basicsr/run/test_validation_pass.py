"""One pass over validation sets by a real model: means, the best network, and where images go."""

import logging
import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from training_parts import build, options_of, paired_folders

pytestmark = pytest.mark.usefixtures("host")

Options = Callable[..., Path]


def write_pair(root: Path, name: bytes, hr: np.ndarray) -> None:
    for folder, image in (("HR", hr), ("LR", cv2.resize(hr, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))):
        (root / folder).mkdir(parents=True, exist_ok=True)
        data = cv2.imencode(".png", image)[1].tobytes()
        Path(os.fsdecode(os.path.join(os.fsencode(root / folder), name))).write_bytes(data)


def photo(side: int = 64) -> np.ndarray:
    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import sample_photo

    return np.ascontiguousarray(sample_photo("astronaut")[100 : 100 + side, 100 : 100 + side])


@pytest.fixture
def validated(short_options: Options, tmp_path: Path) -> Callable[..., Any]:
    """Validates, at some iterations, and returns the model."""

    def run(*iterations: int, **options: Any) -> Any:
        from basicsr.data import build_dataloader, build_dataset

        file = short_options(
            val__save_img=True, num_gpu=0, datasets__val__name="V", **paired_folders(tmp_path, "val"), **options
        )
        prepared = options_of(file, tmp_path)
        (tmp_path / "experiments" / "short" / "models").mkdir(parents=True, exist_ok=True)
        model = build(prepared)
        sets = [block for key, block in prepared["datasets"].items() if key != "train"]
        loaders = [build_dataloader(build_dataset(block), block, num_gpu=0, dist=False) for block in sets]
        model.loaders = loaders
        for iteration in iterations:
            for loader in loaders:
                model.validation(loader, iteration, None, save_img=True)
        return model

    return run


def files(root: Path) -> set[str]:
    folder = root / "experiments" / "short" / "visualization"
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}


def test_a_flat_image_is_left_out_of_the_mean_and_named_once(
    validated: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_pair(tmp_path, b"a.png", photo())
    write_pair(tmp_path, b"b.png", photo()[::-1].copy())
    alone = validated(1)
    mean = alone.metric_results["psnr"]
    assert math.isfinite(mean)
    write_pair(tmp_path, b"flat.png", np.zeros((64, 64, 3), np.uint8))
    logging.getLogger("basicsr").propagate = True
    with caplog.at_level(logging.WARNING, "basicsr"):
        model = validated(1, 2)
    assert model.metric_results["psnr"] == pytest.approx(mean)
    told = {record.getMessage() for record in caplog.records if "no finite number" in record.getMessage()}
    assert told == {
        "Validation V, iteration 1: psnr is no finite number on flat (inf); left out of the mean of 3 images"
    }


def test_a_metric_without_any_number_is_shown_and_never_best(validated: Callable[..., Any], tmp_path: Path) -> None:
    """A border as wide as the image leaves nothing to compare."""
    write_pair(tmp_path, b"a.png", photo(20))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = validated(1, val__metrics={"psnr": {"type": "calculate_psnr", "crop_border": 10}})
    assert math.isnan(model.metric_results["psnr"])
    assert model.best_metric_results["V"]["psnr"]["iter"] == -1
    assert not (tmp_path / "experiments" / "short" / "models" / "net_g_best.pth").exists()


def test_the_best_network_of_niqe_is_the_lowest(
    validated: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from basicsr.utils.registry import METRIC_REGISTRY

    values = iter([7.0, 5.0, 6.0, math.nan, -math.inf])
    monkeypatch.setitem(METRIC_REGISTRY._obj_map, "calculate_niqe", lambda **_: next(values))
    write_pair(tmp_path, b"a.png", photo())
    model = validated(1, 2, 3, 4, 5, val__metrics={"niqe": {"type": "calculate_niqe", "crop_border": 2}})
    assert model.best_metric_results["V"]["niqe"] == {"better": "lower", "val": 5.0, "iter": 2}


def test_a_metric_never_sees_what_is_not_its_own(
    validated: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from basicsr.utils.registry import METRIC_REGISTRY

    def strict(img: np.ndarray, img2: np.ndarray) -> float:
        return float(img.ndim == img2.ndim)

    monkeypatch.setitem(METRIC_REGISTRY._obj_map, "strict", strict)
    write_pair(tmp_path, b"a.png", photo())
    model = validated(1, val__metrics={"mine": {"type": "strict", "better": "lower"}})
    assert model.metric_results == {"mine": 1.0}


def test_sets_with_equal_names_have_a_folder_each(validated: Callable[..., Any], tmp_path: Path) -> None:
    write_pair(tmp_path, b"a.png", photo())
    write_pair(tmp_path / "other", b"a.png", photo()[::-1].copy())
    other = {"name": "Others", "type": "PairedImageDataset", "io_backend": {"type": "disk"}}
    other |= {"dataroot_gt": str(tmp_path / "other" / "HR"), "dataroot_lq": str(tmp_path / "other" / "LR")}
    validated(7, datasets__val_2=other)
    assert files(tmp_path) == {"V/a/a_7.png", "Others/a/a_7.png"}
    one, two = ((tmp_path / "experiments/short/visualization" / file).read_bytes() for file in files(tmp_path))
    assert one != two


def test_images_of_one_set_never_share_a_file(validated: Callable[..., Any], tmp_path: Path) -> None:
    for name in (b"a.png", b"a.bmp", b"a.tif"):
        write_pair(tmp_path, name, photo())
    validated(7)
    assert files(tmp_path) == {"V/a/a_7.png", "V/a_2/a_2_7.png", "V/a_3/a_3_7.png"}


@pytest.mark.parametrize(
    "name", [b"a\xff.png", b"\xe9t\xe9.png", "日本.png".encode(), b"a b\n.png", b"x" * 251 + b".png", b"%d{}[*]?.png"]
)
def test_any_file_name_will_do(validated: Callable[..., Any], tmp_path: Path, name: bytes) -> None:
    from paragon_plugin.hosts.basicsr.run.validation_record import recorded_references
    from paragon_plugin.report.references import read_records

    try:
        write_pair(tmp_path, name, photo())
    except OSError:
        pytest.skip("this file system has no such names")
    model = validated(7)
    label = os.fsdecode(name[:-4][:200])
    saved = Path(model.opt["path"]["visualization"]) / "V" / label / f"{label}_7.png"
    assert saved.stat().st_size > 0
    folder = model.opt["path"]["experiments_root"]
    recorded_references(folder, model.loaders[0], model.opt["val"]["metrics"], 2)
    (crop,) = read_records(Path(folder) / "report" / "references.json")["V"].crops
    assert crop.image == label
    assert (Path(folder) / "report" / "V" / f"{label}_hr.png").is_file()


def test_the_stock_model_validates_so_as_well(short_options: Options, tmp_path: Path) -> None:
    """The host's own SRModel, in whoever's loop."""
    from basicsr.data import build_dataloader, build_dataset

    write_pair(tmp_path, b"a\xff.png", photo())
    plain = {"train__dynamic_loss_scheduling": ..., "train__losses": ..., "train__pixel_opt": {"type": "L1Loss"}}
    file = short_options(
        num_gpu=0, model_type="SRModel", datasets__val__name="V", **plain, **paired_folders(tmp_path, "val")
    )
    options = options_of(file, tmp_path)
    model = build(options, "SRModel")
    block = options["datasets"]["val"]
    loader = build_dataloader(build_dataset(block), block, num_gpu=0, dist=False)
    model.validation(loader, 3, None, save_img=True)
    assert math.isfinite(model.metric_results["psnr"])
    assert files(tmp_path) == {"V/a\udcff/a\udcff_3.png"}
