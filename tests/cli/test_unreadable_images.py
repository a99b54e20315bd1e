"""Images that go bad while a run is under way: named once, replaced, counted; too many of them end the run."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("host")


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Any]:
    """Options for folders of twelve pairs each to train and validate on."""
    import cv2
    import numpy as np

    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import low_resolution, sample_photo

    photo = sample_photo("coffee")
    options: dict[str, Any] = {}
    for part in ("train", "val"):
        for folder in ("HR", "LR"):
            (tmp_path / part / folder).mkdir(parents=True)
        for number in range(12):
            hr = photo[20 * number : 20 * number + 64, :80]
            lr = np.round(low_resolution(hr.astype("float32") / 255, 2) * 255).astype("uint8")
            cv2.imwrite(str(tmp_path / part / "HR" / f"{number:02}.png"), hr[..., ::-1])
            cv2.imwrite(str(tmp_path / part / "LR" / f"{number:02}.png"), lr[..., ::-1])
        options |= {
            f"datasets__{part}__type": "PairedImageDataset",
            f"datasets__{part}__dataroot_gt": str(tmp_path / part / "HR"),
            f"datasets__{part}__dataroot_lq": str(tmp_path / part / "LR"),
            f"datasets__{part}__io_backend": {"type": "disk"},
        }
    return options | {
        "datasets__train__num_worker_per_gpu": 2,
        "datasets__train__batch_size_per_gpu": 2,
        "datasets__train__dataset_enlarge_ratio": 3,
        "datasets__train__max_unreadable": 0.1,
        "val__val_freq": 40,
    }


@pytest.fixture
def run_with_damage(
    short_options: Callable[..., Path], folders: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[list[str]], int]:
    """Trains; the given files are cut short after the run has been checked. Returns the exit status."""
    from paragon_plugin.cli.main import main
    from paragon_plugin.hosts.basicsr.run import training

    def run(files: list[str]) -> int:
        original = training.carry_out

        def damage(*arguments: Any) -> Any:
            for name in files:
                file = tmp_path / name
                file.write_bytes(file.read_bytes()[:900])
            return original(*arguments)

        monkeypatch.setattr(training, "carry_out", damage)
        monkeypatch.chdir(tmp_path)
        return main(["train", "-opt", str(short_options(**folders))])

    return run


def test_one_is_named_once_and_the_run_goes_on(
    run_with_damage: Callable[[list[str]], int], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_with_damage(["train/HR/05.png"]) == 0
    log = next((tmp_path / "experiments" / "short").glob("*.log")).read_text()
    assert log.count("05.png") == 1
    assert "Trained to iteration 40" in capfd.readouterr().out


@pytest.mark.parametrize(
    "files", [["train/HR/05.png", "train/HR/06.png"], ["val/HR/07.png"]], ids=["too many", "in validation"]
)
def test_what_cannot_be_replaced_ends_the_run_in_one_line(
    run_with_damage: Callable[[list[str]], int], files: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_with_damage(files) == 1
    error = capfd.readouterr().err
    last = error.strip().splitlines()[-1]
    assert "Traceback" not in error
    assert last.startswith("paragon train: ")
    assert os.path.basename(files[-1]) in last or "unreadable" in last
