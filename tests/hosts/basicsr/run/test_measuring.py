"""`paragon check --measure` trains some real steps, tells time and memory, and leaves nothing behind."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from paragon_plugin.cli.main import main
from paragon_plugin.losses import FFTLoss

pytestmark = pytest.mark.usefixtures("host")

Options = Callable[..., Path]


@pytest.fixture
def measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Path], tuple[int, str]]:
    """Runs `paragon check --measure` in this process; it must write nothing."""

    def run(file: Path) -> tuple[int, str]:
        monkeypatch.chdir(tmp_path)
        before = sorted(tmp_path.rglob("*"))
        status = main(["check", "-opt", str(file), "--measure"])
        assert sorted(tmp_path.rglob("*")) == before
        return status, capsys.readouterr().out

    return run


def test_time_memory_and_length_are_told_with_late_losses_at_work(
    measured: Callable[[Path], tuple[int, str]], short_options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bool] = []
    forward = FFTLoss.forward

    def counted(self: FFTLoss, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        calls.append(True)
        return forward(self, output, target)

    monkeypatch.setattr(FFTLoss, "forward", counted)
    losses = [{"type": "L1Loss"}, {"type": "FFTLoss", "start_iter": 30}]
    changes = {"num_gpu": 0, "datasets__train__num_worker_per_gpu": 0, "train__total_iter": 2_000_000}
    file = short_options(**changes, train__losses=losses, val=..., datasets__val=...)
    status, out = measured(file)
    assert status == 0, out
    step = re.search(r"measured on the CPU, (\d+) steps: (\S+) s a step, (\d+)% of it waiting for images", out)
    assert step is not None, out
    assert 2 <= int(step[1]) <= 20
    assert len(calls) > int(step[1])  # the rehearsal alone makes 5 at most
    # This process holds torch and BasicSR: less than 0.1 GiB cannot be, and no step here takes 30 more.
    memory = re.search(r"memory of this process, .*: at most (\S+) GiB", out)
    assert memory is not None
    assert 0.1 < float(memory[1]) < 30
    length = re.search(r"2,000,000 iterations take some (?:([\d,]+) h )?(\d+) min", out)
    assert length is not None
    minutes = 60 * int((length[1] or "0").replace(",", "")) + int(length[2])
    assert minutes == pytest.approx(2_000_000 * float(step[2]) / 60, rel=0.01, abs=1)


def test_a_file_with_errors_is_not_measured(
    measured: Callable[[Path], tuple[int, str]], short_options: Options
) -> None:
    status, out = measured(short_options(train__ema_decay=2))
    assert status == 2
    assert "measured" not in out


@pytest.mark.parametrize(
    ("seconds", "iterations", "words"),
    [
        (0.4, 10, "10 iterations take some 1 s, "),
        (20.0, 40, "40 iterations take some 40 s, "),
        (3.68, 400_000, "400,000 iterations take some 20 h 26 min, "),
        (30.0, 1000, "1,000 iterations take some 25 min, "),
    ],
)
def test_the_length_of_a_run_is_told_in_people_s_units(seconds: float, iterations: int, words: str) -> None:
    from paragon_plugin.hosts.basicsr.run.measuring import Measured, measured_lines

    lines = measured_lines(
        Measured(20, seconds, seconds / 2, 3 * 2**30, "a GPU of this name"), "What helps.", iterations
    )
    assert lines[0].startswith("measured on a GPU of this name, 20 steps: ")
    assert "50% of it waiting" in lines[0]
    assert lines[1] == "memory of the GPU: at most 3.00 GiB"
    assert lines[2].startswith(words)
    assert lines[3] == "What helps."
