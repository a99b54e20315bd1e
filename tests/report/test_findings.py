"""What the report says of runs whose answers are known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runs_on_disk import write_run

from paragon_plugin.report.calibration_table import calibrations
from paragon_plugin.report.events import events, meaning
from paragon_plugin.report.findings import Finding, findings
from paragon_plugin.report.record_files import SetRecord
from paragon_plugin.report.run_history import RunHistory, read_run


def answers(run: RunHistory) -> dict[str, Finding]:
    return dict(zip(("trained", "compared", "scheduled", "incidents"), findings(run), strict=True))


def with_bicubic(run: RunHistory, psnr: float) -> RunHistory:
    return replace(run, references={"Set": SetRecord(5, 2, {}, {"bicubic": {"psnr": psnr}})})


@pytest.fixture
def run_of(tmp_path: Path) -> Callable[..., RunHistory]:
    return lambda **kinds: read_run(write_run(tmp_path, "run", **kinds))


def test_a_good_run(run_of: Callable[..., RunHistory]) -> None:
    said = answers(with_bicubic(run_of(), 30.5))
    assert said["trained"].verdict == "Yes."
    assert "all of its 200 iterations in 40 s" in said["trained"].answer
    assert "rose from 30.00 dB at iteration 100 to 31.50 dB at iteration 200" in said["trained"].answer
    assert said["compared"].verdict == "Yes."
    assert "1.00 dB better than bicubic (30.50 dB), as a mean over 5 images" in said["compared"].answer
    assert "pixel errors 11 % smaller" in said["compared"].answer  # 10^(-1/20) = 0.891
    assert "l1_loss made 20 % and fft_loss made 80 %" in said["scheduled"].answer
    assert "to give l1_loss 40 % and fft_loss 60 %." in said["scheduled"].answer
    assert "l1_loss 50 % and fft_loss 50 %. Proportions within a factor of 2" in said["scheduled"].answer
    assert "hardly moved" in said["scheduled"].answer
    assert said["incidents"].verdict == "None."


def test_a_run_that_is_worse_than_bicubic_and_gets_worse(run_of: Callable[..., RunHistory]) -> None:
    said = answers(with_bicubic(run_of(psnr=(29.0, 28.5)), 30.0))
    assert (said["trained"].verdict, said["trained"].tone) == ("Not visibly.", "bad")
    assert (said["compared"].verdict, said["compared"].tone) == ("No.", "bad")
    assert "1.50 dB worse than bicubic" in said["compared"].answer


def test_without_validation_the_losses_tell(run_of: Callable[..., RunHistory]) -> None:
    run = run_of()
    blind = replace(run, series={tag: p for tag, p in run.series.items() if not tag.startswith("metrics/")})
    assert answers(blind)["trained"].answer.endswith("The sum of its losses fell by 60 %.")
    assert answers(blind)["compared"].verdict == "Not measured."
    rising = {**blind.series, "losses/l_l1_loss": [(i, 1.0 * i) for i in (50, 100, 150, 200)]}
    assert answers(replace(blind, series=rising))["trained"].verdict == "Not visibly."


def test_a_metric_of_which_less_is_better(run_of: Callable[..., RunHistory]) -> None:
    run = with_bicubic(run_of(psnr=(6.0, 4.0)), 5.0)
    run = replace(run, options={**run.options, "val.metrics.psnr.type": "calculate_niqe"})
    said = answers(run)
    assert said["trained"].verdict == "Yes."
    assert said["compared"].verdict == "Yes."
    assert "1.0000 better than bicubic" in said["compared"].answer


def test_a_killed_run_and_one_that_died_of_nan(tmp_path: Path) -> None:
    said = answers(read_run(write_run(tmp_path, "killed", total=900, finished=False), now=1e11))
    assert "at least iteration 200 of 900" in said["trained"].answer
    assert said["incidents"].tone == "bad"
    skipped: list[dict[str, Any]] = [
        {"iteration": i, "kind": "nonfinite", "reason": f"skipped {i}", "losses": ["l1_loss"]} for i in range(3, 12)
    ]
    run = read_run(write_run(tmp_path, "nan", losses=(), decisions=skipped, finished=False), now=1e11)
    assert answers(run)["trained"].verdict == "No."
    assert "9 step(s) with NaN or infinity skipped (iteration 3 to 11)" in answers(run)["incidents"].answer
    assert [(event.iteration, event.last) for event in events(run)] == [(3, 11)]


def test_the_calibration_table_parts_calibration_from_drift(run_of: Callable[..., RunHistory]) -> None:
    run = run_of()
    rows = {row.loss: row for row in calibrations(run)}
    assert rows["l1_loss"].multiplier == pytest.approx(1)  # weight 2 = base 1 x calibration 2
    drifted = {**run.series, "loss_weights/l1_loss": [(200, 3.0)]}
    assert {row.loss: row for row in calibrations(replace(run, series=drifted))}["l1_loss"].multiplier == pytest.approx(
        1.5
    )
    assert "l1_loss's weight by x 1.5" in answers(replace(run, series=drifted))["scheduled"].answer


def test_a_changed_parameter_is_told_in_plain_words(run_of: Callable[..., RunHistory]) -> None:
    change = {
        "iteration": 30,
        "kind": "phase",
        "reason": "main phase",
        "losses": [],
        "before": {"momentum": 0.8, "adaptation_rate": 0.007, "max_weight": 5.0},
        "after": {"momentum": 0.9, "adaptation_rate": 0.01, "max_weight": 10.0},
    }
    words = " ".join(meaning(events(run_of(decisions=[change]))[0]))
    assert "at most 1 % per iteration (before: 0.7 %)" in words
    assert "up to 10 times (before: 5)" in words
    assert "over about 10 iterations (before: 5)" in words
