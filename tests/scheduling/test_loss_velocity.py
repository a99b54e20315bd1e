"""Signal `loss_velocity`, worked out by hand."""

import math

import pytest
from synthetic_runs import new_scheduler

from paragon_plugin.scheduling import Reading

A = 1 - math.exp(-0.1)
"""Smoothing coefficient of a time constant of 10 iterations."""


def _run(value, last: int, **options):
    settings = {
        "signal": "loss_velocity",
        "baseline_iterations": 5,
        "momentum": 0.5,
        "adaptation_rate": 0.1,
        "adaptation_threshold": 0.01,
    }
    scheduler = new_scheduler({"a": "pixel"}, **{**settings, **options})
    steps = [scheduler.step(i, {"a": Reading(value(i), 1.0)}) for i in range(1, last + 1)]
    return [step.multipliers["a"] for step in steps], scheduler


def test_a_steady_loss_moves_nothing():
    assert set(_run(lambda _: 3.0, 100)[0]) == {1.0}


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("unit", [1e-3, 1.0, -1e3])
def test_a_rising_loss_steps_down_by_a_tenth_of_the_room_and_a_falling_one_up(sign, unit):
    m, _ = _run(lambda i: unit * math.exp(sign * 0.05 * i), 60)
    assert m[8] == 1.0  # window of 5, as many iterations of rest
    expected = [1.1 ** (-sign * 0.1 * k) for k in range(1, 51)]
    assert m[9:59] == pytest.approx(expected[:50])


def test_the_relative_velocity_of_an_exponential_is_its_rate_and_decides():
    """S follows exp(r k) as a multiple of it, so V / S tends to 1 - exp(-r)."""
    rate = 0.02
    for threshold, moves in ((0.9 * (1 - math.exp(-rate)), True), (1.1 * (1 - math.exp(-rate)), False)):
        m, scheduler = _run(lambda i: math.exp(rate * i), 400, momentum=0, adaptation_threshold=threshold)
        assert (m[-1] != m[-50]) == moves
    state = scheduler.signal.state_dict()
    assert state["velocity"]["a"] / state["smoothed"]["a"] == pytest.approx(1 - math.exp(-rate), rel=1e-6)


def test_smoothed_loss_and_velocity_after_a_jump():
    _, scheduler = _run(lambda i: 1.0 if i <= 3 else 2.0, 5)
    state = scheduler.signal.state_dict()
    # S_4 = 1 + A, S_5 = 1 + A + (1 - A) A; V_4 = A / 2, V_5 = V_4 / 2 + (1 - A) A / 2
    assert state["smoothed"]["a"] == pytest.approx(1 + A + (1 - A) * A)
    assert state["velocity"]["a"] == pytest.approx(A / 4 + (1 - A) * A / 2)


def test_bounds_hold():
    m, _ = _run(lambda i: math.exp(0.05 * i), 300, min_weight=0.5)
    assert m[-1] == 0.5
    m, _ = _run(lambda i: math.exp(-0.05 * i), 300, max_weight=1.5)
    assert m[-1] == 1.5


def test_a_loss_of_zero_moves_nothing():
    assert set(_run(lambda _: 0.0, 50)[0]) == {1.0}
