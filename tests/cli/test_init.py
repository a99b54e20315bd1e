"""`paragon init`: from a folder of photographs to an option file that passes the check."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from paragon_plugin.cli.main import main

pytestmark = pytest.mark.usefixtures("host")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six photographs, one of them in a folder below and one cut off, among other files."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my holiday"
    (folder / "more").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in ("a.png", "b.png", "c.png", "d.png", "more/e.png", "f.png"):
        Image.fromarray(generator.integers(0, 256, (130, 110, 3), dtype=np.uint8)).save(folder / name)
    whole = (folder / "f.png").read_bytes()
    (folder / "f.png").write_bytes(whole[: len(whole) // 2])
    (folder / "Thumbs.db").write_bytes(b"no image")
    return folder


@pytest.mark.parametrize("recipe", ["fidelity", "perceptual", "gan", "realesrgan"])
def test_check_passes_on_what_init_writes(recipe: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["init", str(photos), "--recipe", recipe, "--size", "nano", "--scale", "4", "--iterations", "40"]
    assert main([*arguments, "-o", "mine.yml"]) == 0
    said = capsys.readouterr().out
    assert "left out: f.png" in said
    assert "4 images train, 1 validate" in said
    assert main(["check", "-opt", "mine.yml"]) == 0
    assert "no errors, no warnings" in capsys.readouterr().out
    options = yaml.safe_load(Path("mine.yml").read_text())
    assert options["datasets"]["train"]["exclude"] == ["more/e.png", "f.png"]
    wished = {"fidelity": "fidelity", "perceptual": "perceptual"}.get(recipe)
    assert options["train"]["dynamic_loss_scheduling"].get("prefer") == wished
    # Of images 110 pixels wide, for x4 and a discriminator that halves a patch three times.
    assert options["datasets"]["train"]["gt_size"] == 104


def test_what_is_there_is_not_overwritten(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(photos)]) == 0
    written = Path("my_holiday_tiny_x2_fidelity.yml")
    before = written.read_bytes()
    assert main(["init", str(photos)]) == 2
    assert "is there already and is not overwritten" in capsys.readouterr().err
    assert written.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "PHOTOS: nowhere is no folder"),
        (["my holiday", "--scale", "5"], "--scale: must be one of 2, 3, 4, 8, is 5"),
        (["my holiday", "--recipe", "psnr"], "--recipe: must be one of fidelity, perceptual, gan, realesrgan, is psnr"),
        (["my holiday", "--size", "xxl"], "--size: must be one of nano, "),
        (["my holiday", "--iterations", "3"], "--iterations: must be a whole number of at least 20, is 3"),
        (["my holiday/more"], r"PHOTOS: holds 1 image(s) that can be used"),
        (["my holiday", "-o", "no/such/folder.yml"], "--output: no/such/folder.yml cannot be written"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], said: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert photos.is_dir()
    assert main(["init", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(Path().glob("*.yml"))


@pytest.mark.slow
def test_the_first_evening(shared_data: Path, tmp_path: Path) -> None:
    """Twenty photographs, five commands, no editing."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for file in sorted((shared_data / "kodak24").iterdir())[:20]:
        os.symlink(file, folder / file.name)

    def paragon(*arguments: str) -> str:
        command = [
            sys.executable,
            "-c",
            "import sys; from paragon_plugin.cli.main import main; sys.exit(main())",
            *arguments,
        ]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    paragon("init", str(folder), "--iterations", "400", "-o", "first.yml")
    paragon("check", "-opt", "first.yml")
    closing = paragon("train", "-opt", "first.yml")
    rows = [line.split() for line in closing.splitlines() if line.startswith("  ")]
    psnr = {row[0]: float(row[-2]) for row in rows if row and row[0] in ("bicubic", "this")}
    assert psnr["this"] > psnr["bicubic"]
    run = tmp_path / "experiments" / "photographs_tiny_x2_fidelity"
    paragon("report", str(run))
    weights = str(run / "models" / "net_g_latest.pth")
    paragon("upscale", str(folder / "kodim01.png"), "-m", weights, "-o", "large.png")
    assert Image.open(tmp_path / "large.png").size == (1536, 1024)
