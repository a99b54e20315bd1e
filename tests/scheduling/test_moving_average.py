"""Bias-corrected averages against their defining sums."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paragon_plugin.scheduling.moving_average import LogAverage, MovingAverage

_trace = st.lists(st.floats(0.05, 20), min_size=1, max_size=30)


@given(values=_trace, momentum=st.floats(0, 0.99))
def test_moving_average_is_the_weighted_mean_with_geometric_weights(values, momentum):
    average = MovingAverage()
    for value in values:
        average.update(value, momentum)
    weights = [momentum**age for age in range(len(values))][::-1]
    expected = math.fsum(w * v for w, v in zip(weights, values, strict=True)) / math.fsum(weights)
    assert average.mean == pytest.approx(expected, rel=1e-9)


@given(window=_trace, later=_trace, momentum=st.floats(0, 0.99))
def test_log_average_is_a_geometric_mean_and_then_a_moving_average_of_logs(window, later, momentum):
    average = LogAverage()
    for value in window:
        average.update(value, momentum, window=True)
    mean = math.prod(window) ** (1 / len(window))
    assert average.window_mean == average.mean == pytest.approx(mean, rel=1e-9)
    for value in later:
        average.update(value, momentum, window=False)
    ages = range(len(later))
    logs = momentum ** len(later) * math.log(mean)
    logs += math.fsum((1 - momentum) * momentum**age * math.log(later[-1 - age]) for age in ages)
    assert average.mean == pytest.approx(math.exp(logs), rel=1e-9)
    assert average.window_mean == pytest.approx(mean, rel=1e-9)


def test_before_the_first_value():
    assert MovingAverage().mean == 0
    assert LogAverage().mean == LogAverage().window_mean == 0


def test_readings_before_the_window_do_not_count_once_it_has_begun():
    average = LogAverage()
    average.update(500.0, 0.5, window=False)
    assert average.mean == pytest.approx(500.0)
    average.update(2.0, 0.5, window=True)
    assert average.window_mean == average.mean == pytest.approx(2.0)


@pytest.mark.parametrize("place", [0, 1, 30, 49])
@pytest.mark.parametrize("sign", [1, -1])
def test_one_reading_moves_a_window_of_50_by_a_factor_of_at_most_1_15_wherever_it_stands(sign, place):
    average = LogAverage()
    for i in range(50):
        average.update(1e30**sign if i == place else 1.0, 0.9, window=True)
    assert math.log(average.window_mean) * sign == pytest.approx(math.log(1000) / 50, rel=0.03)


def test_a_lasting_change_is_followed_however_far():
    average = LogAverage()
    average.update(1e-12, 0.9, window=False)
    for _ in range(400):
        average.update(1.0, 0.9, window=False)
    assert average.mean == pytest.approx(1.0, rel=1e-9)
