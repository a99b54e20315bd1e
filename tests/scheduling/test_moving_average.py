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


@given(values=_trace, momentum=st.floats(0, 0.99))
def test_log_average_is_the_moving_average_of_logs_and_its_window_a_geometric_mean(values, momentum):
    average = LogAverage()
    for value in values:
        average.update(value, momentum, window=True)
    weights = [momentum**age for age in range(len(values))][::-1]
    logs = math.fsum(w * math.log(v) for w, v in zip(weights, values, strict=True)) / math.fsum(weights)
    assert average.mean == pytest.approx(math.exp(logs), rel=1e-9)
    assert average.window_mean == pytest.approx(math.prod(values) ** (1 / len(values)), rel=1e-9)


def test_before_the_first_value():
    assert MovingAverage().mean == 0
    assert LogAverage().mean == LogAverage().window_mean == 0


def test_readings_outside_the_window_move_only_the_moving_average():
    average = LogAverage()
    average.update(2.0, 0.5, window=True)
    average.update(8.0, 0.5, window=False)
    assert average.window_mean == pytest.approx(2.0)
    assert average.mean == pytest.approx(2 ** ((1 * 1 + 2 * 3) / 3))


@pytest.mark.parametrize("sign", [1, -1])
def test_one_reading_moves_a_window_of_50_by_a_factor_of_at_most_1_15(sign):
    average = LogAverage()
    for i in range(50):
        average.update(1e30**sign if i == 30 else 1.0, 0.9, window=True)
    assert math.log(average.window_mean) * sign == pytest.approx(math.log(1000) / 50, rel=0.03)


def test_a_lasting_change_is_followed_however_far():
    average = LogAverage()
    average.update(1e-12, 0.9, window=False)
    for _ in range(400):
        average.update(1.0, 0.9, window=False)
    assert average.mean == pytest.approx(1.0, rel=1e-9)
