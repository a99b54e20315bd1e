"""`paragon test`: BasicSR's test pipeline on our networks, from its option files."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from paragon_plugin.cli.main import main
from paragon_plugin.nets.paragonsr2 import build_paragonsr2

pytestmark = pytest.mark.usefixtures("host")

Paragon = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def options(tmp_path: Path) -> Callable[..., Path]:
    net = build_paragonsr2("nano", scale=2, upsampler_alpha=1.0)
    torch.save({"params": net.state_dict()}, tmp_path / "net.pth")

    def write(**changes: Any) -> Path:
        content: dict[str, Any] = {
            "name": "short",
            "model_type": "ParagonSRModel",
            "scale": 2,
            "datasets": {"test_1": {"name": "SamplePhotos", "type": "SamplePhotosDataset"}},
            "network_g": {"type": "paragonsr2_nano", "upsampler_alpha": 1.0},
            "path": {"pretrain_network_g": "net.pth"},
            "val": {
                "save_img": True,
                "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": True}},
            },
        }
        for path, value in changes.items():
            target = content
            *blocks, key = path.split("__")
            for block in blocks:
                target = target[block]
            target[key] = value
        file = tmp_path / "test.yml"
        file.write_text(yaml.safe_dump(content))
        return file

    return write


def test_an_untrained_network_scores_what_its_base_does(
    paragon: Paragon, options: Callable[..., Path], tmp_path: Path
) -> None:
    result = paragon("test", "-opt", options())
    assert result.returncode == 0, result.stderr
    table = dict(re.findall(r"^  (bicubic|Magic Kernel Sharp 2021|this network) +([\d.]+)$", result.stdout, re.M))
    assert table["this network"] == table["Magic Kernel Sharp 2021"] != table["bicubic"]
    images = tmp_path / "results" / "short" / "visualization" / "SamplePhotos"
    assert {p.name for p in images.iterdir()} == {"chelsea_short.png", "coffee_short.png"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path__pretrain_network_g": None}, "path.pretrain_network_g: is missing"),
        ({"path__pretrain_network_g": "nowhere.pth"}, "nowhere.pth does not exist"),
        ({"path__pretrain_network_g": "test.yml"}, "test.yml is damaged or not a checkpoint"),
        ({"network_g__type": "paragonsr2_tiny"}, "net.pth is paragonsr2_nano x2; network_g is paragonsr2_tiny x2"),
        ({"datasets__test_1__type": "Nothing"}, "datasets.test_1.type: nothing is registered as 'Nothing'"),
        ({"datasets": {"train": {"name": "a", "type": "SamplePhotosDataset"}}}, "datasets.train: must be called test"),
        ({"val__metrics": {"a": {"type": "calculate_pnsr"}}}, "did you mean 'calculate_psnr'"),
    ],
)
def test_bad_options_leave_one_line_and_nothing_else(
    options: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["test", "-opt", str(options(**changes))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert {p.name for p in tmp_path.iterdir()} == {"net.pth", "test.yml"}


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A test set of two photographs without ground truth, in the current folder."""
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        image = (255 * np.random.default_rng(number).random((24, 32, 3))).astype(np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), image)
    block = {"name": "Photos", "type": "SingleImageDataset", "dataroot_lq": "photos", "io_backend": {"type": "disk"}}
    return {"datasets": {"test_1": block}}


def test_images_without_ground_truth_are_upscaled_whole_where_the_network_alone_says_the_scale(
    options: Callable[..., Path],
    photographs: dict[str, Any],
    tmp_path: Path,
) -> None:
    file = options(**photographs, val__metrics=None, network_g__scale=2)
    file.write_text(file.read_text().replace("\nscale: 2\n", "\n"))
    assert main(["test", "-opt", str(file)]) == 0
    image = cv2.imread(str(tmp_path / "results/short/visualization/Photos/0_short.png"))
    assert image is not None
    assert image.shape == (48, 64, 3)


def test_metrics_without_ground_truth_are_refused(
    options: Callable[..., Path],
    photographs: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["test", "-opt", str(options(**photographs))]) == 2
    assert "datasets.test_1: has no HR images, which val.metrics.psnr compares with" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_a_damaged_image_is_named(
    options: Callable[..., Path],
    photographs: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "photos" / "1.png"
    file.write_bytes(file.read_bytes()[:-100])
    assert main(["test", "-opt", str(options(**photographs, val__metrics=None))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "datasets.test_1: " in line
    assert "1.png" in line


def test_an_image_too_small_for_the_network_is_refused_before(
    options: Callable[..., Path],
    photographs: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It would end the test at its place in the set, with half of the images written."""
    cv2.imwrite(str(tmp_path / "photos" / "zz.png"), np.zeros((6, 6, 3), np.uint8))
    assert main(["test", "-opt", str(options(**photographs, val__metrics=None))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("paragon test: datasets.test_1: zz.png (6 x 6) cannot be validated: ")
    assert not (tmp_path / "results").exists()
