"""Stability: incidents, cool-down and recovery, on the monitor and through the scheduler."""

import itertools
import math
import random

import pytest
from synthetic_runs import new_scheduler

from paragon_plugin.scheduling import Reading
from paragon_plugin.scheduling.calibration import Factors
from paragon_plugin.scheduling.stability import CORRECTIONS, StabilityMonitor, detect_instability

ONE = ["l1"]


def observe(monitor: StabilityMonitor, totals, first: int = 1000, active=ONE) -> dict[int, str]:
    """What the monitor answered, by iteration, where it answered."""
    answers = {i: monitor.observe(i, total, active) for i, total in enumerate(totals, start=first)}
    return {i: answer for i, answer in answers.items() if answer}


def warm() -> StabilityMonitor:
    monitor = StabilityMonitor(100_000)
    assert observe(monitor, [1.0] * 50, first=900) == {}
    return monitor


# -- what counts as an issue -------------------------------------------------------------------------------------------


def test_correction_table():
    assert CORRECTIONS["exponential_loss_growth"] == Factors(momentum=1.05, adaptation_rate=0.8, max_weight=0.7)
    assert CORRECTIONS["high_loss_variance"] == Factors(momentum=1.03, adaptation_rate=0.9, max_weight=0.8)


@pytest.mark.parametrize(
    ("history", "issue"),
    [
        ([1] * 19 + [7], "exponential_loss_growth"),  # last five: 2.2
        ([1] * 19 + [5.9], "high_loss_variance"),  # last five: 1.98; mean 1.245, deviation 1.068
        ([1] * 15 + [2.01] * 5, "exponential_loss_growth"),
        ([2.6] * 5 + [1] * 15, None),  # mean 1.4, deviation sqrt((5 * 1.2^2 + 15 * .4^2) / 20) = 0.693: 0.495
        ([2.65] * 5 + [1] * 15, "high_loss_variance"),  # mean 1.4125, deviation 0.714: 0.506
        ([1.0] * 19, None),  # too few
        ([9] * 80 + [1.0] * 20, None),  # only the last 20 count
        ([0.0] * 20, None),
    ],
)
def test_detection_by_hand(history, issue):
    assert detect_instability([float(value) for value in history]) == issue


def test_detection_needs_twenty_values():
    assert detect_instability([1.0] * 14 + [50.0] * 5) is None
    assert detect_instability([1.0] * 15 + [50.0] * 5) == "exponential_loss_growth"


def test_huge_values_are_no_overflow():
    assert detect_instability([1e200] * 15 + [1e-3] * 5) == "high_loss_variance"


# -- when it answers ---------------------------------------------------------------------------------------------------


def test_one_spike_gives_one_correction():
    answers = observe(warm(), [1.0] * 20 + [100.0] + [1.0] * 79)
    assert answers == {1020: "exponential_loss_growth"}


def test_persistent_divergence_gives_several_spaced_by_the_cool_down():
    answers = observe(warm(), [1.15**i for i in range(200)])
    moments = list(answers)
    assert len(moments) >= 5
    assert set(answers.values()) == {"exponential_loss_growth"}
    assert all(b - a > 20 for a, b in itertools.pairwise(moments))
    assert all(b - a <= 22 for a, b in itertools.pairwise(moments))


@pytest.mark.parametrize(("total_iter", "start"), [(100_000, 500), (5000, 500), (4000, 400), (1000, 100), (100, 20)])
def test_not_before_iteration_500_or_a_tenth_of_a_short_run(total_iter, start):
    answers = observe(StabilityMonitor(total_iter), [1.5**i for i in range(600)], first=1)
    assert min(answers) == start  # (in a run of 100 it takes 20 values)


def test_no_answer_before_twenty_values():
    monitor = StabilityMonitor(100_000)
    assert min(observe(monitor, [1.5**i for i in range(40)], first=1000)) == 1019


def test_a_late_loss_starting_or_ending_is_no_growth():
    monitor = warm()
    assert observe(monitor, [500.0] * 100, active=["l1", "gan"]) == {}
    assert observe(monitor, [1.0] * 100, first=1100) == {}


def test_quiet_training_recovers_half_way_in_log_and_in_the_end_exactly():
    monitor = warm()
    observe(monitor, [1.0] * 20 + [100.0])
    assert monitor.correction == CORRECTIONS["exponential_loss_growth"]
    answers = observe(monitor, [1.0] * 120, first=1021)
    assert answers == {1021 + 119: "recovered"}  # 20 of cool-down, then 100 quiet ones
    assert monitor.correction.max_weight == pytest.approx(math.sqrt(0.7))
    assert monitor.correction.momentum == pytest.approx(math.sqrt(1.05))
    answers = observe(monitor, [1.0] * 2000, first=1141)
    assert set(answers.values()) == {"recovered"}
    assert monitor.correction == Factors()
    assert len(answers) < 10  # and then there is nothing left to say


def test_an_incident_during_recovery_restarts_the_quiet_time():
    monitor = warm()
    observe(monitor, [100.0])
    observe(monitor, [1.0] * 100, first=1001)  # 20 of cool-down, 80 quiet
    assert observe(monitor, [100.0], first=1101) == {1101: "exponential_loss_growth"}
    assert monitor.correction.max_weight == pytest.approx(0.49)
    assert observe(monitor, [1.0] * 119, first=1102) == {}
    assert list(observe(monitor, [1.0], first=1221).values()) == ["recovered"]


def test_divergence_without_end_can_still_be_recovered_from():
    monitor = warm()
    # 200 incidents: the plain products would be 17,000 and 1e-31
    observe(monitor, [float(2 ** (i % 20)) for i in range(5000)])
    values = vars(monitor.correction).values()
    assert all(1e-3 <= value <= 1e3 for value in values)
    observe(monitor, [1.0] * 2500, first=10_000)
    assert monitor.correction == Factors()


# -- through the scheduler ---------------------------------------------------------------------------------------------


def _trace():
    source = random.Random(1)

    def total(iteration: int) -> float:
        if 700 <= iteration < 760:
            return 1.2 ** (iteration - 700)
        if iteration == 900:
            return 60.0
        return math.exp(source.gauss(0, 0.05))

    return [total(iteration) for iteration in range(1, 1600)]


def _decisions(**options):
    scheduler = new_scheduler({"l1": "pixel", "vgg": "perceptual"}, total_iter=100_000, size="m", **options)
    steps = [
        scheduler.step(iteration, {"l1": Reading(total / 2, 1.0), "vgg": Reading(-total / 2, 1.0)})
        for iteration, total in enumerate(_trace(), start=1)
    ]
    return steps, [d for step in steps for d in step.decisions if d.kind in ("corrected", "recovered")]


def test_corrections_change_the_parameters_in_force_and_are_told():
    steps, decisions = _decisions(auto_calibrate=True)
    first = decisions[0]
    assert first.kind == "corrected"
    assert first.reason.startswith("the losses have doubled (exponential_loss_growth); momentum ")
    assert 705 <= first.iteration <= 715
    # size m, early phase: 0.92 * 0.9, 0.007 * 0.7, 30 * 0.5
    assert first.before == pytest.approx({"momentum": 0.828, "adaptation_rate": 0.0049, "max_weight": 15})
    assert first.after == pytest.approx({"momentum": 0.8694, "adaptation_rate": 0.00392, "max_weight": 10.5})
    in_force = steps[first.iteration].parameters
    assert (in_force.momentum, in_force.adaptation_rate) == pytest.approx((0.8694, 0.00392))
    assert "stability correction" in in_force.provenance["momentum"]
    # The divergence of 60 iterations three times, its sudden end once, and the spike.
    corrected = [d for d in decisions if d.kind == "corrected"]
    words = ["growth" if "loss_growth" in d.reason else "variance" for d in corrected]
    assert words == ["growth", "growth", "growth", "variance", "growth"]
    assert corrected[-1].iteration == 900
    assert decisions[-1].kind == "recovered"
    assert steps[0].parameters.momentum == steps[698].parameters.momentum == pytest.approx(0.828)


def test_the_same_trace_gives_the_same_decisions():
    assert _decisions(auto_calibrate=True) == _decisions(auto_calibrate=True)


def test_without_auto_calibrate_nothing_is_corrected():
    assert _decisions()[1] == []


def test_the_scheduler_cannot_trigger_itself():
    """Multipliers that rise by large factors leave the monitored total, of base-weighted losses, where it is."""
    scheduler = new_scheduler(
        {"l1": "pixel", "vgg": "perceptual"},
        total_iter=100_000,
        auto_calibrate=True,
        target={"l1": 0.5, "vgg": 0.5},
        baseline_iterations=10,
    )
    steps = [
        scheduler.step(i, {"l1": Reading(1.0, 1.0), "vgg": Reading(1.0, 1.0 if i < 600 else 1e-3)})
        for i in range(1, 1000)
    ]
    assert steps[-1].multipliers["vgg"] > 2
    assert {d.kind for step in steps for d in step.decisions} == {"calibrated"}


def test_losses_that_are_noisy_by_nature_leave_a_scheduler_that_can_move():
    monitor, noise = warm(), random.Random(0)
    answers = observe(monitor, [math.exp(noise.gauss(0, 1.0)) for _ in range(20_000)])
    assert len(answers) > 100
    assert monitor.correction.max_weight >= 0.7**3 - 1e-12
    assert monitor.correction.adaptation_rate >= 0.8**3 - 1e-12
    assert monitor.correction.momentum <= 1.05**3 + 1e-12
