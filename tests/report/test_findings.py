"""What the report says of runs whose answers are known."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runs_on_disk import write_recorded_run, write_run

from paragon_plugin.hosts.run_reading import read_run
from paragon_plugin.report.calibration_table import calibrations
from paragon_plugin.report.events import events, meaning
from paragon_plugin.report.finding import Finding
from paragon_plugin.report.findings import findings
from paragon_plugin.report.logged_decisions import LoggedDecision
from paragon_plugin.report.references import SetRecord
from paragon_plugin.report.run_history import Points, RunHistory
from paragon_plugin.scheduling.options import DynamicLossScheduling, parse_dynamic_loss_scheduling


def answers(run: RunHistory) -> dict[str, Finding]:
    return dict(zip(("trained", "compared", "scheduled", "incidents"), findings(run), strict=True))


def with_bicubic(run: RunHistory, psnr: float) -> RunHistory:
    return replace(run, references={"Set": SetRecord(5, 2, {}, {"bicubic": {"psnr": psnr}})})


@pytest.fixture(params=[write_recorded_run, write_run], ids=["record", "log"])
def write(request: pytest.FixtureRequest) -> Callable[..., Path]:
    """Writes a run's folder, as training does today and as version 0.1 did."""
    return request.param


@pytest.fixture
def run_of(tmp_path: Path, write: Callable[..., Path]) -> Callable[..., RunHistory]:
    return lambda **kinds: read_run(write(tmp_path, "run", **kinds))


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


@pytest.mark.parametrize(
    ("tolerance", "words"),
    [
        (2, "within a factor of 2 of that count as your choice and are kept; those off by a factor of 8 or more"),
        (3, "within a factor of 3 of that count as your choice and are kept; those off by a factor of 27 or more"),
        (1, "is l1_loss 50 % and fft_loss 50 %. That is what they get."),
    ],
)
def test_the_rule_of_auto_is_told_with_its_numbers(tmp_path: Path, tolerance: float, words: str) -> None:
    block = {"enabled": True, "auto_calibrate": True, "share_tolerance": tolerance}
    run = replace(read_run(write_recorded_run(tmp_path, "run")), scheduling=parse_dynamic_loss_scheduling(block))
    assert words in answers(run)["scheduled"].answer


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


def test_a_killed_run_and_one_that_died_of_nan(tmp_path: Path, write: Callable[..., Path]) -> None:
    said = answers(read_run(write(tmp_path, "killed", total=900, finished=False), now=1e11))
    assert "at least iteration 200 of 900" in said["trained"].answer
    assert said["incidents"].tone == "bad"
    run = read_run(write(tmp_path, "nan", losses=(), decisions=skipped(range(3, 12)), finished=False), now=1e11)
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


def skipped(iterations: Iterable[int]) -> list[dict[str, Any]]:
    return [{"iteration": i, "kind": "nonfinite", "reason": f"skipped {i}", "losses": ["l1_loss"]} for i in iterations]


@pytest.mark.parametrize(
    ("iterations", "verdict"),
    [([37], "Yes."), ([200], "Yes."), (range(30, 39), "Yes."), (range(192, 201), "No."), (range(201, 210), "No.")],
)
def test_only_steps_skipped_at_the_end_say_that_a_run_died_of_nan(
    tmp_path: Path, write: Callable[..., Path], iterations: list[int], verdict: str
) -> None:
    folder = write(tmp_path, "run", total=900, decisions=skipped(iterations), finished=False)
    assert answers(read_run(folder, now=1e11))["trained"].verdict == verdict


def test_a_run_that_may_skip_few_steps_dies_of_few(tmp_path: Path, write: Callable[..., Path]) -> None:
    run = read_run(write(tmp_path, "run", decisions=skipped([200]), finished=False), now=1e11)
    assert answers(replace(run, scheduling=block(max_nonfinite_steps=2)))["trained"].verdict == "No."


def block(**options: Any) -> DynamicLossScheduling:
    return parse_dynamic_loss_scheduling({"enabled": True, "auto_calibrate": True, **options})


def points(*values: float) -> Points:
    return [(50 * number, value) for number, value in enumerate(values, start=1)]


def unvalidated(run: RunHistory, **losses: Points) -> RunHistory:
    """The run without validation and with these losses alone."""
    return replace(run, series={f"losses/l_{name}": values for name, values in losses.items()})


def test_adversarial_losses_do_not_judge_the_training(run_of: Callable[..., RunHistory]) -> None:
    run = replace(run_of(), recipe={"l1_loss": ("pixel", 1.0), "critic": ("adversarial", 0.1)})
    falling = points(0.4, 0.3, 0.2, 0.1)
    said = answers(unvalidated(run, l1_loss=falling, critic=points(-1, -2, -1, 3), d_real=points(1, 1, 2, 9)))
    assert said["trained"].answer.endswith("The sum of its losses fell by 75 %.")
    off = replace(run, recipe={}, options={}, scheduling=None, decisions=[])
    said = answers(unvalidated(off, l1_loss=falling, gan_loss=points(-1, -2, -1, 3)))
    assert said["trained"].answer.endswith("The sum of its losses fell by 75 %.")


@pytest.mark.parametrize("values", [(-0.1, -0.2, -0.3, -0.4), (0.1, 0.0, -0.2, -0.4), (0.0, 0.0, 0.0, 0.0)])
def test_a_sum_that_is_not_above_zero_gives_no_verdict(
    run_of: Callable[..., RunHistory], values: tuple[float, ...]
) -> None:
    said = answers(unvalidated(run_of(), l1_loss=points(*values)))["trained"]
    assert (said.verdict, said.tone) == ("Unknown.", "plain")
    assert said.answer.endswith("The sum of its losses is not above 0, so it cannot tell.")


def test_losses_that_are_nan_are_told_with_and_without_a_scheduler(run_of: Callable[..., RunHistory]) -> None:
    on = run_of(decisions=())
    off = replace(on, recipe={}, options={}, scheduling=None)
    nan = float("nan")
    for run, values, told in (
        (on, (0.4, 0.3, 0.2, nan), "fell by 50 %"),  # one step that was skipped
        (on, (nan, nan, nan, nan), "not finite"),
        (off, (0.4, 0.3, 0.2, nan), "not finite"),
        (off, (0.4, nan, 0.2, 0.1), "fell by 75 %"),
    ):
        assert told in answers(unvalidated(run, l1_loss=points(*values)))["trained"].answer
    incident = answers(unvalidated(off, l1_loss=points(0.1, nan, float("inf"))))["incidents"]
    assert (incident.verdict, incident.tone) == ("Yes.", "bad")
    assert incident.answer == "Losses that are NaN or infinite in the log (iteration 100 to 150)."
    told = unvalidated(run_of_skips(on, 100), l1_loss=points(0.1, nan, 0.1))
    assert answers(told)["incidents"].answer == "1 step(s) with NaN or infinity skipped (iteration 100)."


def run_of_skips(run: RunHistory, *iterations: int) -> RunHistory:
    return replace(run, decisions=[LoggedDecision(i, "nonfinite", "skipped", ("l1_loss",)) for i in iterations])


def test_no_incident_is_claimed_of_what_nobody_watched(run_of: Callable[..., RunHistory]) -> None:
    run = run_of(decisions=())
    manual = replace(run, scheduling=block(auto_calibrate=False))
    off = replace(manual, scheduling=block(enabled=False))
    plain = {tag: values for tag, values in run.series.items() if not tag.startswith("loss_")}
    off = replace(off, series=plain)
    for quiet, answer in (
        (run, "No NaN, no instability, no warnings."),
        (manual, "No NaN, no warnings."),
        (off, "No NaN in the logged losses, no warnings."),
        (replace(off, options={}), "No NaN in the logged losses."),
    ):
        said = answers(quiet)["incidents"]
        assert (said.verdict, said.answer, said.tone) == ("None.", answer, "good")
    assert answers(replace(off, options={}, series={}))["incidents"].verdict == "Unknown."


@pytest.mark.parametrize("signal", ["loss_ratio", "loss_velocity"])
def test_signals_that_calibrate_nothing_tell_what_the_weights_did(
    run_of: Callable[..., RunHistory], signal: str
) -> None:
    run = run_of(decisions=())
    run = replace(run, scheduling=block(signal=signal))
    said = answers(run)["scheduled"]  # weights in the log: 2 of 1, 0.0375 of 0.05
    assert said.verdict == "It moved the weights."
    assert f"signal: {signal}" in said.answer
    assert "l1_loss's weight is x 2 and fft_loss's weight is x 0.75 at the end of the log." in said.answer
    still = {**run.series, "loss_weights/l1_loss": points(1.0), "loss_weights/fft_loss": points(0.05)}
    assert answers(replace(run, series=still))["scheduled"].verdict == "It kept the weights."
    young = replace(run, parameters=[("baseline_iterations", "200", "preset tiny")])
    assert answers(young)["scheduled"].verdict == "Nothing yet."
    assert answers(young)["scheduled"].answer.endswith("It moves no weight in the first 200 iterations.")


@pytest.mark.parametrize(("window", "last", "easing"), [(None, 39, True), (None, 40, False), (5, 30, False)])
def test_a_weight_that_is_easing_in_has_not_drifted(
    run_of: Callable[..., RunHistory], window: int | None, last: int, easing: bool
) -> None:
    run = run_of()  # calibrated at iteration 20
    if window:
        run = replace(run, parameters=[("baseline_iterations", str(window), "preset tiny")])
    half = {**run.series, "loss_weights/l1_loss": [(last, 1.5)], "loss_weights/fft_loss": [(last, 0.0375)]}
    said = answers(replace(run, series=half))["scheduled"].answer
    assert ("has since changed l1_loss's weight by x 0.75" in said) != easing
    assert ("When last logged, l1_loss had not fully come to its new weight." in said) == easing
    assert "hardly moved" not in said
