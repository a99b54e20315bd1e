"""Several runs on one page: what makes them unlike comes first, then who is ahead, results, differences, pictures."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runs_on_disk import write_recorded_run

from paragon_plugin.hosts.run_reading import read_run
from paragon_plugin.report.comparison import ahead, unlike, with_names_of_their_own
from paragon_plugin.report.crops import strips
from paragon_plugin.report.page import report_page
from paragon_plugin.report.run_history import RunHistory
from paragon_plugin.report.written_report import default_output, write_report


@pytest.fixture
def three(tmp_path: Path) -> list[RunHistory]:
    values = {"a": (30.0, 31.5), "b": (30.0, 31.75), "c": (29.0, 30.5)}
    return [
        read_run(write_recorded_run(tmp_path, name, psnr=psnr, lr=lr))
        for (name, psnr), lr in zip(values.items(), (1e-3, 2e-3, 1e-3), strict=True)
    ]


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html.split("<body>")[1].split("<script>")[0]))


def test_three_runs_stand_on_one_page(three: list[RunHistory]) -> None:
    page = report_page(three, strips(three), "now")
    text = plain(page)
    assert "a, b and c" in text
    assert "3 runs side by side." in text
    order = "b is ahead in PSNR on Set at iteration 200, the last at which all were validated:"
    assert f"{order} b 31.75 dB, a 31.50 dB and c 30.50 dB." in plain(page.replace("<b>", "").replace("</b>", ""))
    assert "Before you compare" not in text
    assert re.search(r"train\.optim_g\.lr 0\.001 0\.002 0\.001", text)
    assert re.search(r"c finished 200 \S+ \S+ 32,107 30\.50 dB 30\.50 dB at 200", text)
    assert page.count("<b>31.75 dB at 200</b>") == 1
    for title in ("PSNR on Set", "Learning rate", "l1_loss", "fft_loss"):
        (figure,) = re.findall(rf"<figure data-chart[^>]*><h3>{title}</h3>.*?</figure>", page)
        assert len(re.findall("data-series", figure)) == 3
    assert "<h3>Losses" not in page


def test_what_makes_runs_unlike_comes_first(tmp_path: Path) -> None:
    short = read_run(write_recorded_run(tmp_path, "short", losses=(0.1, 0.08), psnr=(30.0,), total=100))
    long = read_run(write_recorded_run(tmp_path, "long"))
    page = report_page([short, long], [], "now")
    told = "They are of different lengths, in iterations: short: 100, long: 200."
    assert unlike([short, long]) == [told]
    text = plain(page)
    assert text.index("Before you compare") < text.index(told) < text.index("Two runs side by side.")
    assert "They are level: PSNR on Set at iteration 100, the last at which both were validated" in text


def with_options(run: RunHistory, **options: str) -> RunHistory:
    return replace(run, options={**run.options, **{key.replace("__", "."): value for key, value in options.items()}})


def on_another_set(run: RunHistory) -> RunHistory:
    return replace(run, series={tag.replace("/Set/", "/Other/"): points for tag, points in run.series.items()})


VAL = {"datasets__val__name": "Set", "datasets__val__dataroot_gt": "hr"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"scale": "4"}, "They enlarge by different factors (a: 2, b: 4): their metrics are not to be compared."),
        (
            {"val__metrics__psnr__crop_border": "4"},
            "The metric psnr is not measured in the same way: crop_border is ",
        ),
        ({"datasets__val__dataroot_gt": "others"}, "The validation set Set is not made of the same files in all of "),
        ({"datasets__val__images": "['x.png']"}, "The validation set Set is not made of the same files in all of "),
        ({"train__ema_decay": "0.9"}, None),
    ],
)
def test_each_way_to_be_unlike_is_told(changes: dict[str, str], told: str | None, three: list[RunHistory]) -> None:
    first, second = (with_options(run, val__metrics__psnr__crop_border="2", **VAL) for run in three[:2])
    assert unlike([first, second]) == []
    found = unlike([first, with_options(second, **changes)])
    assert [sentence[: len(told)] for sentence in found] == [told] if told else found == []


def test_runs_on_different_sets_and_scales_have_no_winner(three: list[RunHistory]) -> None:
    first, second = three[:2]
    other = on_another_set(second)
    (told,) = unlike([first, other])
    assert told == "They were validated on different sets (a: Set, b: Other): no metric can be compared."
    assert ahead([first, other]) == "They have no validation in common."
    assert ahead([first, with_options(second, scale="4")]) == ""
    files = [with_options(run, **{**VAL, "datasets__val__dataroot_gt": run.name}) for run in (first, second)]
    assert ahead(files) == "They have no validation in common."


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    write_recorded_run(tmp_path, "run")
    (tmp_path / "experiments" / "run").rename(tmp_path / "experiments" / "run_archived")
    folders = [tmp_path / "experiments" / "run_archived", write_recorded_run(tmp_path, "run")]
    runs = [read_run(folder) for folder in [*folders, folders[1]]]
    assert [run.name for run in with_names_of_their_own(runs)] == ["run_archived", "run", "run (2)"]
    page = write_report(runs, tmp_path / "page.html")[0].read_text()
    assert "<title>run_archived, run and run (2) - training report</title>" in page


@pytest.mark.parametrize("count", [2, 9, 40])
def test_any_number_of_runs_has_a_page(count: int, tmp_path: Path) -> None:
    folders: list[Any] = [write_recorded_run(tmp_path, f"run_{number}") for number in range(count)]
    runs = [read_run(folder) for folder in folders]
    page = report_page(runs, strips(runs), "now")
    assert "Left out" not in page
    assert page.count("<h2>run_") == count
    assert len(str(default_output(folders))) < 255
