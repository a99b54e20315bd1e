"""A run that goes on with another option file, from another checkpoint, or from the file in its own folder."""

import argparse
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from paragon_plugin.errors import OptionError

pytestmark = pytest.mark.usefixtures("host")

SSIM = {"type": "calculate_ssim", "crop_border": 2, "test_y_channel": True}
Run = Callable[..., Any]


@pytest.fixture
def run(short_options: Callable[..., Path], tmp_path: Path) -> Run:
    """Trains the shortest run there is, with changes to its options, to iteration 4 unless they say otherwise."""
    from paragon_plugin.hosts.basicsr.options.file import argument_parser
    from paragon_plugin.hosts.basicsr.run.training import train

    def run(*flags: str, file: Path | None = None, **changes: Any) -> Any:
        options = {"train__total_iter": 4, "train__scheduler__periods": [4], "logger__save_checkpoint_freq": 2}
        options |= {"val__val_freq": 4, "num_gpu": 0, "datasets__train__num_worker_per_gpu": 0}
        file = file or short_options(**{**options, **changes})
        args: argparse.Namespace = argument_parser().parse_args(["-opt", str(file), *flags])
        return train(args, str(tmp_path))

    return run


def state(tmp_path: Path, iteration: int) -> dict[str, Any]:
    return torch.load(tmp_path / f"experiments/short/training_states/{iteration}.state", weights_only=True)


def test_a_finished_run_is_made_longer_with_another_metric(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    longer = {"train__total_iter": 8, "train__scheduler__periods": [16], "val__metrics__ssim": SSIM}
    result = run("--auto_resume", **longer, path__param_key_g=None, train__optim_g__lr=0.5)
    assert result.iteration == 8
    (dataset,) = result.validation
    assert set(dataset.metrics) == {"psnr", "ssim"}
    (schedule,), (group,) = state(tmp_path, 8)["schedulers"], state(tmp_path, 8)["optimizers"][0]["param_groups"]
    assert schedule["periods"] == [16]
    # The eighth step's rate is the cosine after seven, of the file that holds now.
    assert group["lr"] == pytest.approx(1e-5 + (0.5 - 1e-5) * (1 + math.cos(math.pi * 7 / 16)) / 2)
    assert "train.optim_g.lr: was 0.002 when the state to resume was saved, is 0.5 from here" in capsys.readouterr().out


def test_another_optimizer_is_refused(run: Run) -> None:
    run()
    with pytest.raises(OptionError, match=r"^train\.optim_g\.type: was Adam .* is SGD"):
        run(
            "--auto_resume",
            train__total_iter=5,
            train__scheduler__periods=[5],
            train__optim_g={"type": "SGD", "lr": 1e-3},
        )


def test_what_came_after_the_checkpoint_gone_back_to_is_set_aside(run: Run, tmp_path: Path) -> None:
    run()
    states = tmp_path / "experiments" / "short" / "training_states"
    run(path__resume_state=str(states / "2.state"), train__total_iter=3, val__val_freq=100)
    assert {path.name for path in states.iterdir()} == {"2.state", "3.state", "4.state.set_aside"}
    assert run("--auto_resume", train__total_iter=5).iteration == 5


def test_the_option_file_in_the_runs_own_folder_can_be_used(run: Run, tmp_path: Path) -> None:
    run(val__val_freq=100)
    file = tmp_path / "experiments" / "short" / "short.yml"
    text = file.read_text()
    shutil.rmtree(tmp_path / "experiments" / "short" / "training_states")
    assert run(file=file).iteration == 4  # afresh: the folder with the file in it is moved aside
    assert file.read_text() == text
    file.write_text(text.replace("total_iter: 4", "total_iter: 5").replace("- 4\n", "- 5\n"))
    assert run("--auto_resume", file=file).iteration == 5
