"""The page for everybody: its weight, the keyboard, and text that can be read by day and by night."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from runs_on_disk import CALIBRATED, write_recorded_run
from test_page import browse, with_pictures, write_report

from paragon_plugin.report.references import CropPlace, SetRecord, write_records
from paragon_plugin.scheduling.run_record import RunRecord

WIDTHS = (1280, 390)
MOST_BYTES = 2_000_000
"""Of a page: a second on a slow line."""

CONTRAST = Path(__file__).with_name("contrast.js").read_text()


def long_run(folder: Path) -> Path:
    """As heavy as runs are: eight losses, 2,000 lines, four validation images of noise at three iterations."""
    run = write_recorded_run(folder, "long", losses=(), psnr=(), total=100_000, decisions=CALIBRATED * 40)
    (run / "run_record.jsonl").unlink()
    record, random = RunRecord(run), np.random.default_rng(0)
    names = [f"loss_{number}" for number in range(8)]
    losses = [{"name": name, "role": "pixel", "weight": 1.0} for name in names]
    record.describe(name="long", host="loop", total_iter=100_000, losses=losses, options={"scale": 2})
    record.start(0)
    for iteration in range(50, 100_001, 50):
        values = {f"losses/l_{name}": math.exp(random.normal()) for name in names}
        values |= {f"loss_shares/{name}": 1 / 8 for name in names} | {f"loss_weights/{name}": 1.0 for name in names}
        record.scalars(iteration, {"lr": 1e-3, **values})
        if iteration % 1000 == 0:
            record.validation(iteration, "Set", {"psnr": 30 + random.normal(), "ssim": random.random()})
    crops = run / "report" / "Set"
    crops.mkdir(parents=True)
    images = {}
    for number in range(4):
        for what, side in {"lr": 64, "bicubic": 128, "hr": 128}.items():
            noise(random, side).save(crops / f"{number}_{what}.png")
        for iteration in (1000, 10_000, 100_000):
            images[f"Set/{number}", iteration] = run / f"{number}_{iteration}.png"
            noise(random, 128).save(images[f"Set/{number}", iteration])
    for iteration in (1000, 10_000, 100_000):
        record.images(iteration, {image: file for (image, at), file in images.items() if at == iteration})
    places = [CropPlace(str(number), 0, 0, 128) for number in range(4)]
    write_records(run / "report" / "references.json", {"Set": SetRecord(4, 2, {}, {"bicubic": {"psnr": 30}}, places)})
    record.end(100_000, "finished")
    return run


def noise(random: np.random.Generator, side: int) -> Image.Image:
    return Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8))


def test_the_heaviest_page_is_light_enough(tmp_path: Path) -> None:
    page = write_report([long_run(tmp_path)])[0]
    text = page.read_text()
    assert page.stat().st_size < MOST_BYTES
    pictures = [part.split('"')[0] for part in text.split('src="data:image/png;base64,')[1:]]
    assert len(pictures) == len(set(pictures)) == 24  # each once, whatever is shown of it
    assert sum(map(len, pictures)) > 0.5 * len(text)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of one run, and one of three: two alike, and one that was killed in trouble."""
    folder = tmp_path_factory.mktemp("pages")
    one = with_pictures(write_recorded_run(folder, "one"))
    two = with_pictures(write_recorded_run(folder, "two", lr=2e-3))
    for run in (one, two):
        pixel = noise(np.random.default_rng(len(run.name) + (run is two)), 256)
        pixel.save(run / "visualization" / "cat" / "cat_200.png")
        record = {"kind": "images", "iteration": 200, "time": 0, "files": {"Set/cat": "visualization/cat/cat_200.png"}}
        with (run / "run_record.jsonl").open("a") as lines:
            lines.write(json.dumps(record) + "\n")
    skipped = {"kind": "nonfinite", "iteration": 150, "losses": ["l1_loss"], "before": {}, "after": {}, "reason": "NaN"}
    bad = write_recorded_run(folder, "bad", finished=False, losses=(0.1, 0.5), psnr=(20.0,), decisions=[skipped])
    return {"one": write_report([one])[0], "three": write_report([one, two, bad], folder / "three.html")[0]}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_the_contrast_of_wcag_aa(scheme: str, pages: dict[str, Path]) -> None:
    seen = browse(pages["three"], 1280, CONTRAST, scheme)
    assert (seen["errors"], seen["requests"]) == ([], [])
    value: dict[str, Any] = seen["value"]
    assert value["low"] == []
    assert value["pairs"] > 6
    assert sum(map(int, value["ground"].removeprefix("rgb(").removesuffix(")").split(","))) > 384 or scheme == "dark"


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_used_with_the_keyboard_alone(width: int, pages: dict[str, Path]) -> None:
    keys = "Tab>svg Left Left Tab>summary Tab>input[data-wipe] Right Right Tab>select Up"
    cut = "getComputedStyle(document.querySelector('.wipe')).getPropertyValue('--cut')"
    tag = "document.querySelector('.tag.left').textContent"
    seen = browse(pages["three"], width, f"[{cut}, {tag}]", "light", keys)
    assert seen["errors"] == []
    assert seen["value"] == ["52%", "bicubic"]
    for place in seen["focus"]:
        assert place["seen"], place
        assert place["inside"], place
        assert place["name"], place
    assert {"svg", "summary", "input", "select"} <= {place["tag"] for place in seen["focus"]}


def test_the_numbers_of_a_chart_are_read_with_the_arrow_keys(pages: dict[str, Path]) -> None:
    keys = {"Tab>svg": 200, "Left": 200, "Left ": 100, "Escape": 200, "Home": 100, "Right": 200, "Right ": 200}
    seen = browse(pages["one"], 1280, "null", "light", " ".join(key.strip() for key in keys))
    told = [place["chart"] for place in seen["focus"][-len(keys) :]]
    assert [f"iteration {iteration}" in text for iteration, text in zip(keys.values(), told, strict=True)] == [True] * 7
    assert ["30.00 dB" in text for text in told] == [iteration == 100 for iteration in keys.values()]


def test_two_runs_are_slid_over_each_other(pages: dict[str, Path]) -> None:
    state = """(() => {
      const card = document.querySelector(".picture"), tiles = [...card.querySelectorAll(".strip img")];
      const shown = side => tiles.findIndex(tile => tile.src === card.querySelector(`.wipe img.${side}`).src);
      const label = side => card.querySelector(`.tag.${side}`).textContent;
      const choice = card.querySelector("select[data-side=right]");
      const before = [shown("left"), shown("right"), label("left"), label("right")];
      choice.value = String(tiles.length - 1); choice.dispatchEvent(new Event("change"));
      return {before, after: [shown("left"), shown("right"), label("left"), label("right")], count: tiles.length,
        summary: card.querySelector("summary").textContent};
    })()"""
    value = browse(pages["three"], 1280, state)["value"]
    assert value["summary"] == "Larger: slide between one and two"
    assert value["before"] == [2, 3, "one, 200", "two, 200"]
    assert value["after"] == [2, value["count"] - 1, "one, 200", "HR, the original"]
