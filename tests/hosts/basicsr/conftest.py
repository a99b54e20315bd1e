"""Image folders in the host's layout, cut from bundled photographs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def image_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`HR/`, `LR2/` and `LR4/` with four pairs, and `paths.txt` that names the HR images."""
    import cv2
    import numpy as np

    import paragon_plugin

    paragon_plugin.install()
    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import low_resolution, sample_photo

    root = tmp_path_factory.mktemp("images")
    for folder in ("HR", "LR2", "LR4"):
        (root / folder).mkdir()
    names = []
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        hr = sample_photo(name)[:192, :256]
        names.append(f"{name}.png")
        cv2.imwrite(str(root / "HR" / names[-1]), hr[..., ::-1])
        for scale in (2, 4):
            lr = np.round(low_resolution(hr.astype("float32") / 255, scale) * 255).astype("uint8")
            cv2.imwrite(str(root / f"LR{scale}" / names[-1]), lr[..., ::-1])
    (root / "paths.txt").write_text("\n".join(names) + "\n")
    return root


@pytest.fixture
def train_here(short_options: Callable[..., Path], tmp_path: Path) -> Callable[..., Any]:
    """Trains a run of few steps in this process, with changes to its options; logs every step, never validates."""
    from paragon_plugin.hosts.basicsr.options.file import argument_parser
    from paragon_plugin.hosts.basicsr.run.training import train

    def run(*flags: str, file: Path | None = None, **changes: Any) -> Any:
        options = {"train__total_iter": 4, "logger__save_checkpoint_freq": 2, "val__val_freq": 1000, "num_gpu": 0}
        options |= {"datasets__train__num_worker_per_gpu": 0, "logger__print_freq": 1, "logger__use_tb_logger": False}
        options |= {"val": ..., "datasets__val": ...}
        file = file or short_options(**{**options, **changes})
        return train(argument_parser().parse_args(["-opt", str(file), *flags]), str(tmp_path))

    return run


@pytest.fixture
def records(tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    """Reads the lines of the record of the run `short`."""
    from paragon_plugin.scheduling.run_record import read_lines

    return lambda: read_lines(tmp_path / "experiments" / "short")


@pytest.fixture
def checked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[Path], Any]:
    """`paragon check` in this process: exit status and lines."""
    from paragon_plugin.cli.main import main

    def check(file: Path) -> tuple[int, list[str]]:
        monkeypatch.chdir(tmp_path)
        capsys.readouterr()
        status = main(["check", "-opt", str(file)])
        captured = capsys.readouterr()
        return status, (captured.out + captured.err).splitlines()

    return check
