"""The network that training begins with is validated: what is told of a run is what training brought."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paragon_plugin.hosts.run_reading import read_run
from paragon_plugin.report.findings import comparison_finding, training_finding
from paragon_plugin.report.summary import closing_summary

pytestmark = pytest.mark.usefixtures("host")

VALIDATED: dict[str, Any] = {
    "val": {"val_freq": 4, "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": True}}},
    "datasets__val": {"name": "V", "type": "SamplePhotosDataset"},
}


def test_a_run_that_was_never_trained_does_not_claim_to_be(
    train_here: Callable[..., Any], records: Callable[[], Any], tmp_path: Path
) -> None:
    """A warm-up a hundred times as long as the run: the result is the network that it began with."""
    schedule = {"type": "MultiStepLR", "milestones": [250000]}
    options = {**VALIDATED, "train__warmup_iter": 2_000_000, "train__ema_decay": 0.999, "train__scheduler": schedule}
    result = train_here(**options)
    (validation,) = result.validation
    assert validation.before["psnr"] == pytest.approx(validation.metrics["psnr"], abs=0.005)
    told = [(line["iteration"], line["set"]) for line in records() if line["kind"] == "validation"]
    assert told == [(0, validation.dataset), (4, validation.dataset)]
    assert "before training" in closing_summary(result)
    (log,) = (tmp_path / "experiments/short").glob("train_*.log")
    assert f"Validation {validation.dataset}, before training: psnr {validation.before['psnr']:.2f}" in log.read_text()
    run = read_run(tmp_path / "experiments" / "short")
    assert training_finding(run).verdict == "Not visibly."
    finding = comparison_finding(run)
    assert finding.verdict in ("Yes, but not by training.", "No.")
    assert "training made it no different" in finding.answer
    # A run that goes on still knows where it began.
    again = train_here("--auto_resume", **{**options, "train__total_iter": 6})
    assert again.validation[0].before == validation.before
