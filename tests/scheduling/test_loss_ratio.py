"""Signal `loss_ratio`, worked out by hand."""

import math

import pytest
from synthetic_runs import Roles, new_scheduler

from paragon_plugin.scheduling import Reading

ROLES: Roles = {"a": "pixel", "b": "perceptual"}


def _run(value_of_a, last: int, **options):
    settings = {
        "signal": "loss_ratio",
        "baseline_iterations": 10,
        "momentum": 0,
        "adaptation_rate": 0.1,
        "adaptation_threshold": 0,
    }
    scheduler = new_scheduler(ROLES, **{**settings, **options})
    return [scheduler.step(i, {"a": Reading(value_of_a(i), 1.0), "b": Reading(-2.0, 1e4)}) for i in range(1, last + 1)]


def test_nothing_moves_inside_the_range():
    steps = _run(lambda i: 1.0 if i <= 20 else 9.9 if i % 2 else 0.11, 60)
    assert {step.factors["a"] for step in steps} == {1.0}


@pytest.mark.parametrize(("level", "wanted"), [(20.0, 1 / 20), (0.05, 20.0)])
def test_outside_the_range_the_multiplier_goes_to_one_over_the_ratio(level, wanted):
    """A loss far above its baseline is weighed down, one far below is raised."""
    steps = _run(lambda i: 2.0 if i <= 20 else 2.0 * level, 80)
    assert steps[20].multipliers["a"] == pytest.approx(1.1 ** math.copysign(1, math.log(wanted)))
    assert steps[24].multipliers["a"] == pytest.approx(1.1 ** (5 * math.copysign(1, math.log(wanted))))
    assert steps[-1].multipliers["a"] == pytest.approx(wanted)  # log 20 / log 1.1 = 31.4 steps
    assert steps[-1].factors["a"] == pytest.approx(wanted)
    assert steps[-1].factors["b"] == 1.0


def test_back_inside_the_range_it_returns_to_one():
    steps = _run(lambda i: 40.0 if 20 < i <= 80 else 2.0, 200)
    assert steps[79].multipliers["a"] == pytest.approx(1 / 20)
    assert steps[-1].multipliers["a"] == pytest.approx(1.0, rel=1e-12)


def test_the_ratio_is_of_the_ema_of_the_magnitude_to_the_mean_over_the_window():
    # Window: |1|, |-3|, ... mean 2. Then constantly -50: EMA after k steps is 50 - (50 - e) 0.5^k.
    steps = _run(lambda i: (1.0 if i % 2 else -3.0) if i <= 10 else -50.0, 60, momentum=0.5, adaptation_rate=1.0)
    ema, weight = 0.0, 0.0
    for i in range(1, 16):
        value = (1.0 if i % 2 else 3.0) if i <= 10 else 50.0
        ema, weight = 0.5 * ema + 0.5 * value, 0.5 * weight + 0.5
    # Factors rest while the (trivial) calibration eases in, iterations 10..19; at most halved per iteration after.
    assert steps[18].multipliers["a"] == 1.0
    assert steps[19].multipliers["a"] == 0.5
    assert steps[-1].multipliers["a"] == pytest.approx(2 / 50, rel=1e-9)
    assert ema / weight / 2 > 10  # it had left the range within five iterations


def test_the_range_is_an_option():
    steps = _run(lambda i: 1.0 if i <= 20 else 3.0, 80, target_ratio_range=[0.5, 2.0])
    assert steps[-1].multipliers["a"] == pytest.approx(1 / 3)
    steps = _run(lambda i: 1.0 if i <= 20 else 3.0, 80, target_ratio_range=[0.5, 3.5])
    assert steps[-1].multipliers["a"] == 1.0


def test_the_dead_band_and_the_bounds_hold():
    steps = _run(lambda i: 1.0 if i <= 20 else 20.0, 200, adaptation_threshold=0.3)
    assert 1 / 20 < steps[-1].multipliers["a"] <= 1.3 / 20
    steps = _run(lambda i: 1.0 if i <= 20 else 20.0, 200, min_weight=0.2)
    assert steps[-1].multipliers["a"] == 0.2


def test_a_loss_that_is_zero_throughout_stays_as_it_is():
    steps = _run(lambda _: 0.0, 60)
    assert {step.factors["a"] for step in steps} == {1.0}


def test_a_loss_that_falls_to_zero_is_raised_no_further_than_its_bound():
    steps = _run(lambda i: 1.0 if i <= 20 else 0.0, 4000, momentum=0.5, max_weight=7)
    assert steps[-1].multipliers["a"] == 7.0


def test_nothing_is_calibrated():
    assert all(step.decisions == () for step in _run(lambda _: 1.0, 60))
