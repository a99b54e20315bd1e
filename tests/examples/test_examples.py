"""Every example runs as people run it, leaves a record that the report can read, moves its weights, and resumes."""

import importlib.util
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from paragon_plugin.hosts.run_reading import read_run
from paragon_plugin.report.run_history import RunHistory

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Example:
    file: str
    needs: str
    """The package that has to be there."""
    validation_set: str
    losses: set[str]

    def run(self, steps: int, folder: Path, *arguments: str, **environment: str) -> RunHistory:
        if importlib.util.find_spec(self.needs) is None:
            pytest.skip(f'needs {self.needs}: pip install "paragon-plugin[examples]"')
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        command = [sys.executable, ROOT / "examples" / self.file, "--steps", str(steps), "--folder", folder, *arguments]
        result = subprocess.run(
            [str(word) for word in command],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            cwd=folder.parent,
            env={**os.environ, "PYTHONPATH": path, **environment},
        )
        assert result.returncode == 0, result.stderr[-3000:]
        return read_run(folder)


PLAIN = Example("plain_loop.py", "skimage", "chelsea", {"l1", "fft", "gan"})
LIGHTNING = Example("lightning_module.py", "lightning", "textures", {"l1", "fft", "ssim"})
ACCELERATE = Example("accelerate_loop.py", "accelerate", "textures", {"l1", "fft", "ssim"})


@pytest.fixture(scope="module", params=[PLAIN, LIGHTNING, ACCELERATE], ids=lambda example: example.file)
def example(request: pytest.FixtureRequest) -> Example:
    return request.param


@pytest.fixture(scope="module")
def runs(example: Example, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunHistory, RunHistory]:
    """The same run after 40 steps and after a second process has gone on to 60."""
    folder = tmp_path_factory.mktemp("examples") / "run"
    return example.run(40, folder), example.run(60, folder, "--resume")


def check_losses(history: RunHistory, example: Example) -> None:
    assert set(history.recipe) == example.losses
    for name in example.losses:
        values = history.series[f"losses/l_{name}"]
        assert {step for step, _ in values} == set(range(1, history.iteration + 1))
        assert all(math.isfinite(value) for _, value in values)


def check_weights_moved(history: RunHistory) -> None:
    weights = [value for _, value in history.series["loss_weights/l1"]]
    assert weights[0] == 1
    assert weights[-1] > 1.5


def test_leaves_a_record_that_can_be_read(runs: tuple[RunHistory, RunHistory], example: Example) -> None:
    history, _ = runs
    assert (history.state, history.iteration, history.total) == ("finished", 40, 40)
    check_losses(history, example)
    assert history.series[f"metrics/{example.validation_set}/psnr"]


def test_moves_its_weights(runs: tuple[RunHistory, RunHistory]) -> None:
    history, _ = runs
    check_weights_moved(history)
    assert {"calibrated"} <= {decision.kind for decision in history.decisions}


def test_goes_on_from_its_checkpoint(runs: tuple[RunHistory, RunHistory], example: Example) -> None:
    before, after = runs
    assert (after.state, after.iteration, after.resumed_from) == ("finished", 60, [40])
    check_losses(after, example)
    # A fresh calibration would begin with 1.
    last, first = dict(before.series["loss_weights/l1"])[40], dict(after.series["loss_weights/l1"])[41]
    assert first == pytest.approx(last, rel=0.05)
    assert [d.iteration for d in after.decisions if d.kind == "calibrated" and "l1" in d.losses] == [10]


def test_accumulates_gradients(tmp_path: Path) -> None:
    history = ACCELERATE.run(40, tmp_path / "run", "--parts", "2")
    assert history.iteration == 40
    check_losses(history, ACCELERATE)
    check_weights_moved(history)


def test_trains_with_constant_weights_where_it_is_disabled(tmp_path: Path) -> None:
    history = PLAIN.run(20, tmp_path / "run", PARAGON_DISABLE="1")
    assert history.state == "finished"
    assert not history.decisions
    assert "loss_weights/l1" not in history.series
