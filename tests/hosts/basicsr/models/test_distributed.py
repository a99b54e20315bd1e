"""Two processes on gloo: each sees other data, both hold the same."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from training_parts import ADVERSARIAL

RECIPES: dict[str, dict[str, Any]] = {
    "fidelity": {
        "train__losses": [{"type": "L1Loss"}, {"type": "FFTLoss", "loss_weight": 0.5}, {"type": "MSELoss"}],
    },
    "adversarial, in two parts": {
        **ADVERSARIAL,
        "train__pixel_opt": ...,
        "train__losses": [{"type": "L1Loss"}, {"type": "MSELoss"}, {"type": "GANFeatureMatchingLoss"}],
        "datasets__train__accum_iter": 2,
    },
}


@pytest.mark.parametrize("recipe", [pytest.param("fidelity", marks=pytest.mark.slow), "adversarial, in two parts"])
def test_ranks_hold_identical_multipliers_and_weights(
    short_options: Callable[..., Path], tmp_path: Path, recipe: str
) -> None:
    file = short_options(
        **RECIPES[recipe],
        num_gpu=0,
        manual_seed=...,
        train__dynamic_loss_scheduling__baseline_iterations=8,
        train__dynamic_loss_scheduling__adaptation_threshold=0.0,
    )
    script = Path(__file__).with_name("two_processes.py")
    result = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", script, file, tmp_path],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert first["own_l1"] != second["own_l1"]  # they did see different data
    assert first["seed"] == second["seed"]  # drawn, for the file has none
    assert first["factors"] == second["factors"]
    assert first["factors"]["mse_loss"] != 1
    assert first["weights"] == second["weights"]
    assert first.get("weights_d") == second.get("weights_d")
    # what is logged is the mean over ranks, on both
    assert first["log"]["l_l1_loss"] == second["log"]["l_l1_loss"]
    assert first["log"]["l_l1_loss"] == pytest.approx((first["own_l1"] + second["own_l1"]) / 2, rel=1e-5)
    assert first["size"] == second["size"] == "nano"  # seen through DistributedDataParallel
