"""`paragon train` twice at once, and a killed data worker: real processes."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.usefixtures("host"),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc"),
]

Options = Callable[..., Path]
QUICK = {"num_gpu": 0, "val": ..., "datasets__val": ..., "logger__use_tb_logger": False}


def start(file: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "paragon_plugin.train", "-opt", str(file), *arguments]
    return subprocess.Popen(command, cwd=file.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def one_of_two_trains(file: Path) -> None:
    """The winner goes on until it is told to stop: the other one comes while it lives, however slow it is."""
    both = [start(file), start(file)]
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and all(process.poll() is None for process in both):
        time.sleep(0.05)
    refused = next(process for process in both if process.poll() is not None)
    winner = next(process for process in both if process is not refused)
    said = refused.communicate()[1]
    winner.send_signal(signal.SIGTERM)
    output, errors = winner.communicate(timeout=240)
    assert refused.returncode == 2, said
    assert re.fullmatch(rf"paragon train: name: .*in use by process {winner.pid} on .*\n", said), said
    assert winner.returncode == 128 + signal.SIGTERM, errors
    assert "with a checkpoint" in output
    left = sorted(path.name for path in (file.parent / "experiments").iterdir())
    assert left == ["short"]


def test_of_two_starts_at_once_one_trains(short_options: Options) -> None:
    one_of_two_trains(short_options(train__total_iter=100_000, **QUICK))


@pytest.mark.slow
def test_of_two_starts_at_once_one_trains_twenty_times(short_options: Options) -> None:
    file = short_options(train__total_iter=100_000, **QUICK)
    for _ in range(20):
        one_of_two_trains(file)
        shutil.rmtree(file.parent / "experiments")


def children(process: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            if folder.name.isdigit() and int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == process:
                found.append(int(folder.name))
    return found


@pytest.mark.slow
def test_a_killed_data_worker_is_one_line_and_a_killed_owner_in_nobodys_way(short_options: Options) -> None:
    file = short_options(
        train__total_iter=100_000, logger__save_checkpoint_freq=2, datasets__train__num_worker_per_gpu=2, **QUICK
    )
    states = file.parent / "experiments" / "short" / "training_states"

    def training(process: subprocess.Popen[str], beyond: int) -> None:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            if any(int(path.stem) > beyond for path in states.glob("*.state")):
                return
            time.sleep(0.1)
        raise AssertionError("no checkpoint")

    process = start(file)
    training(process, 0)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert "Traceback" not in said, said
    last = max(int(path.stem) for path in states.glob("*.state"))
    assert re.search(
        rf"^paragon train: a data worker \(process \d+\).*training_states/{last}\.state; --auto_resume", said, re.M
    )

    second = start(file, "--auto_resume")
    training(second, last)
    workers = children(second.pid)
    assert workers
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)  # they outlive it
    second.kill()
    second.wait()  # not for the ends of its pipes, which the workers have as well
    third = start(file, "--auto_resume")
    try:
        training(third, max(int(path.stem) for path in states.glob("*.state")))
        assert all(Path(f"/proc/{worker}").exists() for worker in workers)
    finally:
        third.send_signal(signal.SIGTERM)
        third.communicate(timeout=120)
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
    assert third.returncode == 128 + signal.SIGTERM
