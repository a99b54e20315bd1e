"""`kill -9` while a training trains, validates and writes; signals while it validates; by the benchmark's own means.

The long form, fifty kills, is `benchmarks/kill_and_resume.py`.
"""

import random
import re
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "kill_and_resume.py"
TOTAL = 24


@pytest.fixture(scope="module")
def kills() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.mark.slow
def test_a_run_that_is_killed_four_times_is_the_run_that_was_not(kills: dict[str, Any], tmp_path: Path) -> None:
    for name in ("reference", "killed"):
        kills["write_options"](tmp_path / name, TOTAL)
    kills["run_reference"](tmp_path / "reference")
    moments = ("training", "writing", "validating", "any moment")
    did = kills["train_with_kills"](tmp_path / "killed", 4, random.Random(0), moments)
    assert len(did) >= 3  # the last one may come after the end
    assert did[0] in ("training", "writing")  # a step takes as long as writing
    wanted = kills["what_is_left"](tmp_path / "reference")
    assert {"net_g_latest.pth", "net_d_latest.pth", "net_g_best.pth", f"{TOTAL}.state", "decisions"} <= wanted.keys()
    assert kills["differences"](kills["what_is_left"](tmp_path / "killed"), wanted) == []
    logged = kills["logged_values"](tmp_path / "reference")
    assert len(logged) == TOTAL
    assert kills["logged_values"](tmp_path / "killed") <= logged


def test_a_difference_is_seen(kills: dict[str, Any]) -> None:
    """The comparison compares."""
    import torch

    one = {"a": [torch.zeros(2), 1.0], "b": ("x", {"c": None})}
    assert kills["differences"](one, {"a": [torch.zeros(2), 1.0], "b": ("x", {"c": None})}) == []
    assert kills["differences"](one, {"a": [torch.tensor([0, 1e-30]), 1.0], "b": ("x", {"c": None})}) == ["/a/0"]
    assert kills["differences"](one, {"a": [torch.zeros(2), 1.0], "b": ("x", {"c": 0})}) == ["/b/1/c"]
    assert kills["differences"](one, {"a": [torch.zeros(2), 1.0]}) == [": ['b']"]


@pytest.mark.slow
@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_validation_at_once_and_the_resumed_run_makes_it(
    short_options: Callable[..., Path], tmp_path: Path, number: signal.Signals
) -> None:
    """The validation set is the same photograph hundreds of times. Workers run."""
    import cv2

    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import sample_photo

    for folder, size in (("HR", 256), ("LR", 128)):
        (tmp_path / folder).mkdir()
        photo = cv2.resize(sample_photo("astronaut"), (size, size))
        for image in range(300):
            cv2.imwrite(str(tmp_path / folder / f"{image}.png"), photo)
    validation = {"name": "Long", "type": "PairedImageDataset", "io_backend": {"type": "disk"}}
    validation |= {"dataroot_gt": str(tmp_path / "HR"), "dataroot_lq": str(tmp_path / "LR")}
    file = short_options(
        train__total_iter=8,
        val__val_freq=4,
        logger__print_freq=1,
        datasets__val=validation,
        datasets__train__num_worker_per_gpu=1,
    )
    command = [sys.executable, "-u", "-m", "paragon_plugin.train", "-opt", str(file)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log = wait_for_log(tmp_path, r"iter: +4,")
    time.sleep(2)
    process.send_signal(number)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + number, said
    assert "Stopped at iteration 4 with a checkpoint" in said
    assert "Traceback" not in said
    assert "Validation Long" not in log.read_text()
    for path in [*(tmp_path / "HR").iterdir(), *(tmp_path / "LR").iterdir()]:
        if path.stem not in ("0", "1"):
            path.unlink()
    resumed = subprocess.run([*command, "--auto_resume"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    validated = re.findall(r"^Validation Long, iteration (\d+): psnr", resumed.stdout, re.MULTILINE)
    assert validated == ["4", "8"]


def wait_for_log(folder: Path, pattern: str) -> Path:
    """The log of the first run in a folder, once it matches."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for log in folder.glob("experiments/*/train_*.log"):
            if re.search(pattern, log.read_text()):
                return log
        time.sleep(0.1)
    raise AssertionError("the run did not begin")
