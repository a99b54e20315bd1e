"""Two ranks with half the batch each take the steps of one process with the whole batch; a job survives its ranks."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def test_two_ranks_take_the_steps_of_one_process(short_options: Callable[..., Path], tmp_path: Path) -> None:
    file = short_options(
        num_gpu=0,
        train__losses=[{"type": "L1Loss"}, {"type": "FFTLoss", "loss_weight": 0.5}, {"type": "MSELoss"}],
        train__dynamic_loss_scheduling__baseline_iterations=8,
        train__dynamic_loss_scheduling__adaptation_threshold=0.0,
    )
    script = Path(__file__).with_name("same_steps.py")
    for command in ([sys.executable], TORCHRUN):
        arguments = [*command, str(script), str(file), str(tmp_path)]
        result = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False, env=ENVIRONMENT)
        assert result.returncode == 0, result.stderr
    alone, first, second = (
        torch.load(tmp_path / f"weights_{which}.pth", weights_only=True) for which in ("0_of_1", "0_of_2", "1_of_2")
    )
    assert torch.equal(first, second)
    torch.testing.assert_close(first, alone, rtol=0, atol=2e-5)  # Adam's steps are of 2e-3; thirty of them
    factors = [json.loads((tmp_path / f"factors_{which}.json").read_text()) for which in ("0_of_1", "0_of_2")]
    assert factors[0][-1]["mse_loss"] != 1
    for ours, theirs in zip(*factors, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


class Job:
    """`torchrun ... paragon_plugin.train` and the processes of its ranks."""

    def __init__(self, file: Path, folder: Path, *flags: str, launcher: tuple[str, ...] = ()):
        command = [*TORCHRUN, *launcher, "-m", "paragon_plugin.train", "-opt", str(file), "--launcher", "pytorch"]
        self.output = folder / "output.txt"
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [*command, *flags], cwd=folder, stdout=output, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT
            )

    def wait_for(self, pattern: str) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            if re.search(pattern, self.output.read_text()):
                return
            time.sleep(0.05)
        raise AssertionError(self.output.read_text())

    def rank(self, number: int) -> int:
        """Process id of a rank."""
        for folder in Path("/proc").iterdir():
            try:
                environment = (folder / "environ").read_bytes().split(b"\0")
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            if parent == self.process.pid and f"RANK={number}".encode() in environment:
                return int(folder.name)
        raise AssertionError(f"rank {number} is not running")


LONG: dict[str, Any] = {"num_gpu": 0, "train__total_iter": 100_000, "logger__save_checkpoint_freq": 5}


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the ranks in /proc")
@pytest.mark.slow
def test_a_lost_rank_ends_the_job_with_an_error(short_options: Callable[..., Path], tmp_path: Path) -> None:
    job = Job(short_options(**LONG), tmp_path)
    job.wait_for("Checkpoint of iteration 10 saved")
    os.kill(job.rank(1), signal.SIGKILL)
    assert job.process.wait(60) != 0
    said = job.output.read_text()
    assert re.search(r"^paragon train: rank 0 has lost another process of this run.*--auto_resume goes on", said, re.M)
    assert "Traceback" not in said.partition("torch/distributed/elastic")[0]  # torchrun's own comes after that
    states = (tmp_path / "experiments/short/training_states").glob("*.state")
    assert all(int(path.stem) % 5 == 0 for path in states)  # none was written for the occasion


TWO_FILES = """
import os, sys
from paragon_plugin.cli.main import main
sys.exit(main(["train", "-opt", sys.argv[1 + int(os.environ["RANK"])], "--launcher", "pytorch"]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["an option", "the data"])
def test_ranks_that_read_other_things_do_not_begin(
    short_options: Callable[..., Path], tmp_path: Path, what: str
) -> None:
    import cv2
    import numpy as np
    from training_parts import paired_folders

    script = tmp_path / "two_files.py"
    script.write_text(TWO_FILES)
    files = []
    for rank in range(2):
        root = tmp_path / (f"data{rank}" if what == "the data" else "data")
        for number in range(4 + rank):
            for folder, side in (("HR", 64), ("LR", 32)):
                (root / folder).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(root / folder / f"{number}.png"), np.full((side, side, 3), 9 * number, np.uint8))
        (tmp_path / str(rank)).mkdir()
        (tmp_path / str(rank) / "data").symlink_to(root)
        options = {"train__total_iter": 20 + rank} if what == "an option" else {}
        text = short_options(num_gpu=0, **paired_folders(Path("data"), "train"), **options).read_text()
        file = tmp_path / str(rank) / "short.yml"
        file.write_text(text)
        files.append(str(file))
    script.write_text(
        TWO_FILES.replace("import os, sys", "import os, sys\nos.chdir(sys.argv[3 + int(os.environ['RANK'])])")
    )
    command = [*TORCHRUN, str(script), *files, str(tmp_path / "0"), str(tmp_path / "1")]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    told = {
        "an option": r"train\.total_iter: rank 1 has 21, rank 0 has 20",
        "the data": r"datasets\.train: rank 1 has 5 images",
    }
    assert re.search(rf"^paragon train: {told[what]}.*all ranks must read the same", result.stderr, re.M), result.stderr
    assert not (tmp_path / "0" / "experiments").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the ranks in /proc")
def test_torchruns_restart_goes_on_from_the_last_checkpoint(short_options: Callable[..., Path], tmp_path: Path) -> None:
    """Also where the command line does not say --auto_resume: it is the same run."""
    job = Job(short_options(**{**LONG, "train__total_iter": 200}), tmp_path, launcher=("--max-restarts=1",))
    job.wait_for("Checkpoint of iteration 10 saved")
    os.kill(job.rank(0), signal.SIGKILL)
    assert job.process.wait(120) == 0, job.output.read_text()
    said = job.output.read_text()
    resumed = re.search(r"Resuming from iteration (\d+) ", said)
    assert resumed, said
    assert int(resumed[1]) >= 10
    assert "Trained to iteration 200 " in said
    assert len(list((tmp_path / "experiments").iterdir())) == 1  # none was moved aside


@pytest.mark.slow
def test_all_ranks_stop_at_the_same_step(short_options: Callable[..., Path], tmp_path: Path) -> None:
    """torchrun passes a signal on to the ranks, which get it at different steps; each keeps its own random state."""
    job = Job(short_options(**LONG), tmp_path)
    job.wait_for("Checkpoint of iteration 10 saved")
    job.process.send_signal(signal.SIGTERM)
    job.process.wait(60)
    said = job.output.read_text()
    stopped = re.search(r"Stopped at iteration ([\d,]+) with a checkpoint", said)
    assert stopped, said
    iteration = int(stopped[1].replace(",", ""))
    root = tmp_path / "experiments" / "short"
    state = torch.load(root / "training_states" / f"{iteration}.state", weights_only=True)
    one, other = state["ranks"]
    assert not torch.equal(one["random"]["torch"], other["random"]["torch"])
    again = Job(short_options(**{**LONG, "train__total_iter": iteration + 3}), tmp_path, "--auto_resume")
    assert again.process.wait(120) == 0, again.output.read_text()
    assert f"Resuming from iteration {iteration:,} " in again.output.read_text()
