"""`paragon init --host trainner-redux`: the file and the images are what redux's own loader and data sets take."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from redux_runs import read_options

from paragon_plugin.cli.main import main

RECIPES = ("fidelity", "perceptual", "gan", "realesrgan")
KINDS = {
    "a photo (1).png": "RGB",
    "b.jpg": "RGB",
    "c.bmp": "RGB",
    "d.tif": "L",
    "e.png": "RGBA",
    "f.png": "LA",
    "g.png": "P",
    "h.jpg": "CMYK",
    "more/b.png": "RGB",
    "more/b.webp": "RGB",
}
"""Photographs of all kinds; the last two have one stem."""


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my photos"
    random = np.random.default_rng(0)
    for name, mode in KINDS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (150, 131, 3), dtype=np.uint8)).convert(mode).save(folder / name)
    (folder / "Thumbs.db").write_bytes(b"no image")
    return folder


def init(photos: Path, *arguments: str) -> int:
    command = ["init", str(photos), "--host", "trainner-redux", "--size", "nano", "--iterations", "40", "-o", "one.yml"]
    return main([*command, *arguments])


def test_what_trains_is_linked_and_the_others_are_pairs(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(photos, "--scale", "4") == 0
    said = capsys.readouterr().out
    assert "9 images train, 1 validate" in said
    assert "for redux trains on whole folders and validates pairs" in said
    images = Path("one_images").absolute()
    training = {file.relative_to(images / "train").as_posix() for file in images.glob("train/**/*.*")}
    assert training == set(KINDS) - {"c.bmp", "more/b.webp"} | {"c.bmp.png"}
    hr, lr = (Image.open(images / "val" / kind / "more/b.png") for kind in ("hr", "lr"))
    assert hr.size == (128, 148)
    assert lr.size == (32, 37)
    data = yaml.safe_load(Path("one.yml").read_text())["datasets"]
    assert data["train"]["dataroot_gt"] == str(images / "train")
    assert data["val"]["dataroot_lq"] == str(images / "val/lr")


@pytest.mark.parametrize("there", ["one.yml", "one_images"])
def test_what_is_there_is_left_alone(there: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(there).mkdir()
    assert init(photos) == 2
    assert f"--output: {there} is there already and is not overwritten" in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == sorted([there, "my photos"])


def test_an_image_that_cannot_be_read_leaves_nothing(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "more/b.webp").unlink()
    Image.new("F", (150, 131)).save(photos / "more/z.tif")
    assert init(photos) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["my photos"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_redux_takes_the_file_and_reads_the_images(recipe: str, photos: Path, redux: Path, tmp_path: Path) -> None:
    from traiNNer.data import build_dataset  # pyright: ignore[reportMissingImports]

    assert init(photos, "--recipe", recipe) == 0
    opt: Any = read_options(Path("one.yml"), redux)
    assert opt.train.total_iter == opt.train.scheduler["periods"][0] == 40
    assert opt.network_g == {"type": "paragonsr2_nano"}
    assert opt.high_order_degradation == (recipe == "realesrgan")
    train, val = opt.datasets["train"], opt.datasets["val"]
    train.gt_size = train.lq_size * opt.scale
    dataset = build_dataset(train)
    assert len(dataset) == 9
    side = train.gt_size + 32 * (recipe == "realesrgan")
    for sample in range(len(dataset)):
        assert dataset[sample]["gt"].shape == (3, side, side)
    (pair,) = (build_dataset(val)[index] for index in range(len(build_dataset(val))))
    assert pair["gt"].shape == (3, 150, 130)
    assert pair["lq"].shape == (3, 75, 65)
    assert Path(pair["gt_path"]).is_relative_to(tmp_path / "one_images")
