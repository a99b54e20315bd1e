"""`paragon upscale` as a user runs it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paragon_plugin.cli.main import main
from paragon_plugin.nets.paragonsr2 import build_paragonsr2
from paragon_plugin.resilience.checkpoints import network_metadata

pytestmark = pytest.mark.usefixtures("host")

Paragon = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An untrained nano: its output is its base, a good classical upscale."""
    folder = tmp_path / "models"
    folder.mkdir()
    net = build_paragonsr2("nano", scale=2)
    metadata = network_metadata({"type": "paragonsr2_nano"}, net, 2)
    torch.save({"params": net.state_dict(), "paragon": metadata.plain()}, folder / "net_g_latest.pth")
    return folder / "net_g_latest.pth"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import sample_photo

    folder = tmp_path / "pictures"
    folder.mkdir()
    photo = Image.fromarray(sample_photo("chelsea")[:120, :160])
    photo.save(folder / "cat.jpg", quality=95)
    photo.convert("L").save(folder / "grey.png")
    photo.putalpha(128)
    photo.save(folder / "glass.webp", lossless=True)
    (folder / "notes.txt").write_text("not a picture")
    return folder


@pytest.mark.usefixtures("model")
def test_a_photograph_in_one_command(paragon: Paragon, pictures: Path, tmp_path: Path) -> None:
    result = paragon("upscale", "pictures/cat.jpg", "-m", "models/net_g_latest.pth", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert result.stdout.splitlines()[1:] == ["pictures/cat.jpg -> pictures/cat_x2.jpg  320 x 240"]
    small, large = Image.open(pictures / "cat.jpg"), Image.open(pictures / "cat_x2.jpg")
    back = np.asarray(large.resize(small.size, Image.Resampling.BOX), float)
    error = np.sqrt(np.mean((back - np.asarray(small, float)) ** 2))
    assert error < 4  # the same picture, larger


def test_a_folder(model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upscale", str(pictures), "-m", str(model)]) == 0
    made = tmp_path / "pictures_x2"
    assert {p.name for p in made.iterdir()} == {"cat.jpg", "grey.png", "glass.webp"}
    assert Image.open(made / "grey.png").mode == "L"
    glass = Image.open(made / "glass.webp")
    assert glass.size == (320, 240)
    assert np.unique(np.asarray(glass)[..., 3]).tolist() == [128]
    assert "\r" not in capsys.readouterr().err


def test_one_bad_picture_does_not_stop_the_others(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "broken.png").write_bytes(b"\x89PNG and no more")
    assert main(["upscale", str(pictures), "-m", str(model), "-o", str(tmp_path / "out")]) == 2
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"cat.jpg", "grey.png", "glass.webp"}
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1
    assert captured.out.splitlines()[-1] == "3 written, 1 failed, 1 passed over (1 .txt)"


def test_folders_below_and_what_is_there_already(
    model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "more").mkdir()
    (pictures / "cat.jpg").rename(pictures / "more" / "cat.jpg")
    run = tmp_path  # its weights stand under models/
    out = pictures / "large"  # inside the input: what is made there is no input of the next call
    assert main(["upscale", str(pictures), "-m", str(run), "-o", str(out), "-r"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 written, 1 passed over (1 .txt)"
    assert {p.relative_to(out).as_posix() for p in out.rglob("*.*")} == {"more/cat.jpg", "grey.png", "glass.webp"}
    (out / "grey.png").unlink()
    assert main(["upscale", str(pictures), "-m", str(model), "-o", str(out), "-r", "--skip-existing"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 written, 2 there already, 1 passed over (1 .txt)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nowhere.png -m MODEL", "nowhere.png: does not exist"),
        ("cat.jpg -m nowhere.pth", "nowhere.pth: does not exist"),
        ("cat.jpg -m cat.jpg", "cat.jpg: is damaged or not a checkpoint"),
        ("notes.txt -m MODEL", "notes_x2.txt: must end in .png"),
        ("notes.txt -m MODEL -o new/out.png", "notes.txt: is not an image of a known type"),
        ("glass.webp -m MODEL -o new/out.jpg", "JPEG keeps no alpha channel"),
        ("cat.jpg -m MODEL -o cat.jpg", "cat.jpg: is the input"),
        (". -m MODEL -o .", "is the input"),
        ("cat.jpg -m MODEL -o notes.txt/out.png", "notes.txt: cannot be written to"),
        ("cat.jpg -m MODEL -o /proc/out.png", "/proc: cannot be written to"),
        ("cat.jpg -m MODEL --tile 3", "--tile: must be at least 16"),
        ("cat.jpg -m MODEL --device quantum", "--device: quantum cannot be used"),
    ],
)
def test_what_cannot_work_leaves_one_line_and_nothing_else(
    model: Path,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    message: str,
) -> None:
    if "/proc" in arguments and not Path("/proc").is_dir():
        pytest.skip("needs /proc, where not even root can write")
    monkeypatch.chdir(pictures)
    before = {p: p.stat().st_mtime_ns for p in pictures.rglob("*")}
    assert main(["upscale", *arguments.replace("MODEL", str(model)).split()]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert {p: p.stat().st_mtime_ns for p in pictures.rglob("*")} == before


def test_a_full_disk_leaves_no_half_picture(
    model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    before = set(pictures.rglob("*"))
    assert main(["upscale", str(pictures / "cat.jpg"), "-m", str(model)]) == 2
    assert "cat_x2.jpg: cannot be written: No space left on device" in capsys.readouterr().err
    assert set(pictures.rglob("*")) == before


def test_works_without_the_host(pictures: Path, model: Path) -> None:
    """What upscales must not need BasicSR: its import alone takes seconds."""
    import sys

    code = (
        "import sys; sys.modules['basicsr'] = None; from paragon_plugin.cli.main import main;"
        f"sys.exit(main(['upscale', r'{pictures / 'cat.jpg'}', '-m', r'{model}']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_full_hd_within_bounded_memory() -> None:
    """Untiled, tiny at 1920 x 1080 takes 1.6 GB more than before it starts; in tiles 0.2 GB."""
    import sys

    code = (
        "import resource as r, numpy as np\n"
        "from paragon_plugin.inference.upscaling import *\n"
        "from paragon_plugin.nets.paragonsr2 import build_paragonsr2\n"
        "net = build_paragonsr2('tiny', scale=2).eval()\n"
        "picture = Picture(np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), dtype=np.uint8))\n"
        "peak = lambda: r.getrusage(r.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(); upscale_picture(net, 2, picture, Settings()); print((peak() - before) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=500, check=True)
    assert int(done.stdout) < 600
