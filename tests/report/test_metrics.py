"""A metric is a number, NaN or an infinity, and has a direction: in the table, in findings, charts and the page."""

import html
import math
import re
from pathlib import Path

import pytest
from runs_on_disk import write_recorded_run

from paragon_plugin.hosts.run_reading import read_run
from paragon_plugin.report.findings import findings
from paragon_plugin.report.metrics import direction_of, finite_mean, is_best
from paragon_plugin.report.page import report_page
from paragon_plugin.report.results import ValidationResult
from paragon_plugin.report.run_charts import metric_charts
from paragon_plugin.report.standings import standings
from paragon_plugin.report.summary import comparison
from paragon_plugin.report.written_report import write_report

pytestmark = pytest.mark.usefixtures("host")

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("metric", "direction"),
    [
        *[
            (name, "higher")
            for name in ("calculate_psnr", "calculate_ssim", "PSNR", "ms_ssim", "calculate_musiq", "psnr_y")
        ],
        *[
            (name, "lower")
            for name in ("calculate_niqe", "LPIPS", "calculate_dists", "fid", "calculate_lpips_vgg", "mae")
        ],
        *[(name, None) for name in ("calculate_taste", "fidelity", "", "calculate_metric")],
    ],
)
def test_which_way_a_metric_is_better(metric: str, direction: str | None) -> None:
    assert direction_of(metric) == direction


@pytest.mark.parametrize(
    ("values", "mean"), [([1, 3], 2), ([1, INF, 3], 2), ([NAN, 4], 4), ([INF, INF], INF), ([-INF], -INF)]
)
def test_a_mean_is_of_finite_values(values: list[float], mean: float) -> None:
    assert finite_mean(values) == mean


def test_a_mean_of_none_is_no_number() -> None:
    assert math.isnan(finite_mean([]))
    assert math.isnan(finite_mean([INF, NAN]))


def test_what_is_no_number_is_never_the_best() -> None:
    assert is_best(1, -INF, "higher")
    assert is_best(1, INF, "lower")
    assert is_best(1, 1, "lower")
    assert not is_best(2, 1, "lower")
    for value in (NAN, INF, -INF):
        assert not is_best(value, 1, "higher")
        assert not is_best(value, 1, "lower")


@pytest.mark.parametrize(
    "psnr", [(30, NAN), (NAN, 31), (NAN, NAN), (INF, INF), (INF, 30), (30, INF), (-INF, NAN), (INF, -INF)]
)
def test_every_part_of_a_report_takes_what_is_no_number(tmp_path: Path, psnr: tuple[float, float]) -> None:
    folder = write_recorded_run(tmp_path, "mine", psnr=psnr)
    run = read_run(folder)
    page = report_page([run], [], "now")
    assert "<h2>Left out" not in page
    assert re.search(rf"this network, iteration 200</td><td class=\"n\">{psnr[1]:.2f}".replace("30.00", "30.00"), page)
    drawn = [value for chart in metric_charts([run]) for series in chart.series for _, value in series.points]
    assert drawn == [value for value in psnr if math.isfinite(value)]
    best = standings(run)[0].best
    assert (best is None) == (not drawn)
    said = findings(run)
    if not math.isfinite(psnr[1]):
        assert said[1].verdict == "Unknown."
        assert "rose" not in said[0].answer
    assert write_report([run], tmp_path / "report.html")


def test_an_upscaler_that_is_exact_is_shown_and_not_compared(tmp_path: Path) -> None:
    import json

    folder = write_recorded_run(tmp_path, "mine")
    (folder / "report").mkdir()
    metrics = {"bicubic": {"psnr": INF}, "Magic Kernel Sharp 2021": {"psnr": NAN}}
    record = {"images": 1, "scale": 2, "wanted": {}, "metrics": metrics, "crops": []}
    (folder / "report" / "references.json").write_text(json.dumps({"Set": record}))
    run = read_run(folder)
    assert findings(run)[1].verdict == "Unknown."
    assert "bicubic's is inf dB" in findings(run)[1].answer
    page = html.unescape(report_page([run], [], "now"))
    assert "Left out" not in page
    assert "not to be compared" in page
    assert metric_charts([run])[0].levels == []


def test_the_summary_shows_what_is_no_number() -> None:
    result = ValidationResult("V", 2, {"psnr": NAN, "niqe": INF}, {"bicubic": {"psnr": 30.0}})
    lines = list(comparison(result))
    assert lines[-1].split()[-2:] == ["nan", "inf"]
    assert lines[-2].split()[-2:] == ["30.00", "-"]
