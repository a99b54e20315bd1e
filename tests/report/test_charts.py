"""Charts put values where they belong, in both forms."""

import re
from dataclasses import fields, replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from paragon_plugin.report.charts import NARROW, WIDE, Chart, Level, Mark, Series, count, draw, short, thinned
from paragon_plugin.report.crops import chosen, psnr
from paragon_plugin.report.drawing import Drawing, Line, Pill
from paragon_plugin.report.run_charts import factor_chart, loss_chart, metric_charts, with_common_spans
from paragon_plugin.report.run_history import RunHistory


def chart(points: list[tuple[int, float]], **kinds: object) -> Chart:
    return Chart("key", "Title <&>", "", [Series("a", points, "s0")], form=short, **kinds)  # type: ignore[arg-type]


@pytest.mark.parametrize(("log", "middle"), [(False, 55.0), (True, 10**1.0)])
def test_equal_steps_of_value_are_equal_steps_on_paper(log: bool, middle: float) -> None:
    low, high = (10.0, 100.0) if not log else (1.0, 100.0)
    curve = curve_of(draw(chart([(0, low), (50, middle), (100, high)], log=log, bounds=(low, high)), WIDE))
    (x0, y0), (x1, y1), (x2, y2) = curve.points
    assert x1 - x0 == pytest.approx(x2 - x1)
    assert y0 - y1 == pytest.approx(y1 - y2)
    assert y0 > y2  # up is more


@given(
    st.lists(st.floats(1e-12, 1e12), min_size=1, max_size=40),
    st.booleans(),
    st.sampled_from([WIDE, NARROW]),
    st.integers(1, 10**7),
)
def test_any_values_stay_on_the_sheet(values: list[float], log: bool, size: tuple[int, int], end: int) -> None:
    points = [(1 + i * end, value) for i, value in enumerate(values)]
    drawing = draw(chart(points, log=log, marks=[Mark(points[-1][0], 1, "e")], levels=[Level("x", values[0])]), size)
    for shape in drawing.shapes:
        for x, y in shape.points if isinstance(shape, Line) else [(shape.x, shape.y)]:
            assert -1 <= x <= size[0] + 8
            assert -1 <= y <= size[1] + 8
    assert len(chart(points, log=log).ticks) >= 1


def test_marks_that_would_overlap_share_a_pill() -> None:
    marks = [Mark(10, 1, "a"), Mark(12, 2, "b"), Mark(900, 3, "c")]
    drawing = draw(chart([(0, 1.0), (1000, 2.0)], marks=marks), WIDE)
    assert [(pill.text, pill.link) for pill in drawing.shapes if isinstance(pill, Pill)] == [("1-2", "a"), ("3", "c")]


def test_texts_are_escaped_and_the_picture_has_the_curve() -> None:
    drawing = draw(chart([(0, 1.0), (100, 2.0)]), WIDE)
    assert 'aria-label="Title &lt;&amp;&gt;"' in drawing.svg()
    assert not re.search(r"nan|inf", drawing.svg().replace("role", ""))
    picture = np.asarray(Image.open(BytesIO(drawing.png())).convert("RGB"), int)
    assert picture.shape == (WIDE[1] * 2, WIDE[0] * 2, 3)
    blue = (np.abs(picture - np.array([0x1F, 0x6F, 0xEB])).sum(2) < 60).nonzero()
    assert blue[1].max() - blue[1].min() > 800  # from the left of the sheet to its right
    assert abs(np.corrcoef(*blue)[0, 1]) > 0.99  # along a straight line


def test_thinning_keeps_the_mean_and_the_end_and_drops_nan() -> None:
    points = [(i, float(i % 7)) for i in range(1, 3001)]
    thin = thinned(points, 300)
    assert len(thin) == 300
    assert thin[-1][0] == 3000
    assert np.mean([v for _, v in thin]) == pytest.approx(np.mean([v for _, v in points]))
    assert thinned([(1, 1.0), (2, float("nan")), (3, float("inf"))]) == [(1, 1.0)]


def test_numbers_for_people() -> None:
    assert [count(v) for v in (0, 800, 1500, 20_000, 12_345, 400_000, 1_500_000)] == [
        "0", "800", "1.5k", "20k", "12.345k", "400k", "1.5M",
    ]  # fmt: skip
    assert [short(v) for v in (0.0419373, 1.5524, 12300.0, 1.2e-5, 0)] == ["0.0419", "1.55", "12,300", "1.2e-05", "0"]


def test_the_strip_has_the_first_and_the_last_iteration() -> None:
    assert chosen([100, 200, 300], 4) == [100, 200, 300]
    assert chosen(list(range(100, 10_100, 100)), 4) == [100, 500, 2200, 10_000]
    assert chosen([5, 10], 1) == [10]


def test_psnr_of_a_crop() -> None:
    zeros = np.zeros((8, 8, 3), np.uint8)
    assert psnr(zeros, zeros) is None
    assert psnr(zeros, zeros + 255) == pytest.approx(0)
    assert psnr(zeros, zeros + 51) == pytest.approx(20 * np.log10(5))


def curve_of(drawing: Drawing) -> Line:
    return next(shape for shape in drawing.shapes if isinstance(shape, Line) and shape.width == 2.2)


def test_a_logarithmic_axis_leaves_out_what_has_no_place_on_it() -> None:
    whole = [(0, 1.0), (25, -3.0), (50, 10.0), (75, 0.0), (100, 100.0)]
    wanted = [point for point in whole if point[1] > 0]
    assert curve_of(draw(chart(whole, log=True), WIDE)).points == curve_of(draw(chart(wanted, log=True), WIDE)).points
    assert len(curve_of(draw(chart(whole), WIDE)).points) == 5


def run_with(series: dict[str, list[float]]) -> RunHistory:
    points = {tag: [(i, value) for i, value in enumerate(values, start=1)] for tag, values in series.items()}
    known: dict[str, Any] = {field.name: {} for field in fields(RunHistory)}
    return RunHistory(**{**known, "series": points, "decisions": [], "recipe": {"a": ("pixel", 1.0)}})


def test_the_losses_have_an_axis_on_which_they_can_be_seen() -> None:
    for values, log, left_out in (([3.0, 2.0], True, False), ([3.0, -2.0], True, True), ([-3.0, 0.0], False, False)):
        made = loss_chart(run_with({"losses/l_a": values, "losses/l_b": [5.0, 6.0]}), [], 2)
        assert made is not None
        assert made.log == log
        assert ("on a logarithmic axis" in made.caption) == log
        assert ("Values of 0 and below have no place on this axis" in made.caption) == left_out
        low, high = made.span
        assert low < min(value for value in values if value > 0 or not log) <= high
    ramped = factor_chart(run_with({"loss_weights/a": [0.0, 0.5]}), [], 2)
    assert ramped is not None
    assert ramped.caption.endswith("are left out.")


def test_two_runs_of_which_one_has_negative_losses_keep_their_axes() -> None:
    made = [loss_chart(run_with({"losses/l_a": values}), [], 2) for values in ([-5.0, -4.0], [1.0, 2.0])]
    (first,), (second,) = with_common_spans([[chart] for chart in made if chart])
    assert first.span[0] < -5
    assert second.span[0] > 0
    assert len(curve_of(draw(second, WIDE)).points) == 2


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ((26.001, 26.003), ["26.0010", "26.0015", "26.0020", "26.0025", "26.0030"]),
        ((21.0, 31.0), ["22.5", "25.0", "27.5", "30.0"]),
        ((0.9, 0.94), ["0.90", "0.91", "0.92", "0.93", "0.94"]),
        ((1000.0, 5000.0), ["1,000", "2,000", "3,000", "4,000", "5,000"]),
    ],
)
def test_the_ticks_of_a_metric_have_the_digits_of_their_step(values: tuple[float, ...], labels: list[str]) -> None:
    run = run_with({"metrics/Set/psnr": list(values)})
    assert [words for _, words in metric_charts([replace(run, iteration=2)])[0].ticks] == labels
