"""The page in a real browser: it renders, its script works, and it asks for nothing from elsewhere."""

import importlib.util
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image
from runs_on_disk import write_run

from paragon_plugin.hosts.run_reading import read_run
from paragon_plugin.report import written_report
from paragon_plugin.report.references import CropPlace, SetRecord, write_records


def write_report(folders: list[Path], output: Path | None = None) -> list[Path]:
    return written_report.write_report(
        [read_run(folder) for folder in folders], output or written_report.default_output(folders)
    )


BROWSER = Path(__file__).parent / "browser.py"
HOVER = """(() => {
  const figure = [...document.querySelectorAll("figure[data-chart]")].find(
    f => ["Losses", "l1_loss"].includes(f.querySelector("h3").textContent));
  const svg = [...figure.querySelectorAll("svg")].find(s => s.getBoundingClientRect().width > 0);
  const box = svg.getBoundingClientRect();
  const event = kind => svg.dispatchEvent(new PointerEvent(kind, {clientX: box.left + box.width / 2}));
  const text = () => figure.querySelector(".legend").textContent;
  const before = text(); event("pointermove"); const during = text(); event("pointerleave");
  const range = document.querySelector("[data-wipe]");
  if (range) { range.value = 20; range.dispatchEvent(new Event("input")); }
  return {before, during, after: text(), inner: window.innerWidth, width: document.documentElement.scrollWidth,
    cut: range && getComputedStyle(document.querySelector(".wipe")).getPropertyValue("--cut"),
    broken: [...document.images].filter(image => !image.naturalWidth).length, images: document.images.length,
    charts: [...document.querySelectorAll("figure svg")].filter(s => s.getBoundingClientRect().height > 100).length,
    text: document.body.innerText};
})()"""


def with_pictures(folder: Path) -> Path:
    """The run with saved validation images and recorded references, from a real photograph."""
    photo = skimage.data.chelsea()[:256, :256]
    small = np.asarray(Image.fromarray(photo).resize((128, 128), Image.Resampling.BICUBIC))
    large = np.asarray(Image.fromarray(small).resize((256, 256), Image.Resampling.BICUBIC))
    images = folder / "visualization" / "cat"
    images.mkdir(parents=True)
    for iteration in (100, 200):
        Image.fromarray(large).save(images / f"cat_{iteration}.png")
    (images / "cat_300.png").write_bytes(b"\x89PNG cut off")
    crops = folder / "report" / "Set"
    crops.mkdir(parents=True)
    for what, picture in {"lr": small[:64, :64], "bicubic": large[:128, :128], "hr": photo[:128, :128]}.items():
        Image.fromarray(picture).save(crops / f"cat_{what}.png")
    record = SetRecord(1, 2, {}, {"bicubic": {"psnr": 30.5}}, [CropPlace("cat", 0, 0, 128)])
    write_records(folder / "report" / "references.json", {"Set": record})
    return folder


def browse(page: Path, width: int, expression: str = HOVER, *more: str) -> dict[str, Any]:
    if importlib.util.find_spec("PyQt6") is None or importlib.util.find_spec("PyQt6.QtWebEngineCore") is None:
        pytest.skip("needs a browser: pip install PyQt6-WebEngine")
    command = [sys.executable, str(BROWSER), str(page), str(width), str(page.with_suffix(f".{width}.png")), expression]
    result = subprocess.run([*command, *more], capture_output=True, text=True, timeout=90, check=False)
    if result.returncode != 0 and re.search(
        r"cannot open shared object|could not be loaded|no Qt platform", result.stderr
    ):
        pytest.skip(f"the browser lacks a library of the system: {result.stderr.strip().splitlines()[-1]}")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("width", [1280, 390])
def test_one_run_in_a_browser(tmp_path: Path, width: int) -> None:
    page = write_report([with_pictures(write_run(tmp_path, "cats & dogs"))])[0]
    seen = browse(page, width)
    assert seen["loaded"]
    assert seen["errors"] == []
    assert seen["requests"] == []
    value = seen["value"]
    assert value["broken"] == 0
    assert value["images"] == 9  # five in the strip, two to slide between, two beside them
    assert value["charts"] == 5  # metric, shares, multipliers, losses, learning rate: the form for this width
    assert value["width"] <= value["inner"]  # nothing sticks out sideways
    for words in ("Did it train?", "1.00 dB better than bicubic", "It re-balanced the losses.", "cats & dogs"):
        assert words in value["text"]
    assert "iteration 200" in value["before"]
    assert "iteration 100" in value["during"]
    assert "0.08" in value["during"]
    assert value["after"] == value["before"]
    assert value["cut"] == "20%"


def test_two_runs_in_a_browser(tmp_path: Path) -> None:
    first = with_pictures(write_run(tmp_path, "first"))
    second = write_run(tmp_path, "second", psnr=(30.0, 31.75), lr=2e-3, decisions=())
    seen = browse(write_report([first, second], tmp_path / "both.html")[0], 1280)
    assert (seen["errors"], seen["requests"]) == ([], [])
    text = seen["value"]["text"]
    assert "second is 0.25 dB better: PSNR on Set at iteration 200" in text
    assert re.search(r"train\.optim_g\.lr\s+0\.001\s+0\.002", text)
    assert seen["value"]["width"] <= seen["value"]["inner"]


def test_runs_validated_at_different_iterations_are_compared_at_their_ends(tmp_path: Path) -> None:
    first = write_run(tmp_path, "first")
    second = write_run(tmp_path, "second")
    log = next(second.glob("train_*.log"))
    log.write_text(re.sub(r"iteration (1|2)00: psnr", r"iteration \g<1>10: psnr", log.read_text()))
    text = write_report([first, second], tmp_path / "both.html")[0].read_text()
    assert "They are level: PSNR on Set, at iterations 200 and 210 is 31.50 dB for both." in text


class Page(HTMLParser):
    """Collects what a page links to and checks that every element is closed."""

    VOID = ("meta", "link", "img", "br", "input")

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A shape of a drawing: opened and closed at once, links to nothing."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_self_contained(tmp_path: Path) -> None:
    name = '"><script>alert(1)</script>'
    run = write_run(tmp_path, "x")
    log = next(run.glob("train_*.log"))
    log.write_text(log.read_text().replace("name: x\n", f"name: {name}\n"))
    files = write_report([with_pictures(run)])
    text = files[0].read_text()
    page = Page(text)
    assert all(link.startswith(("data:", "#")) for link in page.links)
    assert {link[1:] for link in page.links if link[0] == "#"} <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)
    assert "alert(1)</script>" not in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    pictures = {path.name for path in files[1:]}
    assert pictures == {
        "metric_Set_psnr.png", "learning_rate.png", "shares.png", "multipliers.png", "losses.png", "crops_cat.png",
    }  # fmt: skip
    for path in files[1:]:
        Image.open(path).verify()


@pytest.mark.parametrize(
    "missing", ["log", "decisions", "pictures", "references", "losses", "everything but decisions"]
)
def test_a_report_of_what_there_is(tmp_path: Path, missing: str) -> None:
    run = with_pictures(write_run(tmp_path, "part", losses=() if missing == "losses" else (0.1, 0.08, 0.05, 0.04)))
    if missing in ("log", "everything but decisions"):
        next(run.glob("train_*.log")).unlink()
    if missing == "decisions":
        (run / "loss_schedule.jsonl").unlink()
    if missing in ("pictures", "everything but decisions"):
        for path in (run / "visualization").glob("*/*"):
            path.unlink()
    if missing in ("references", "everything but decisions"):
        (run / "report" / "references.json").unlink()
    text = write_report([run])[0].read_text()
    Page(text)
    assert "Did it train?" in text
    assert ("Unknown." in text) == (missing == "references")
    assert ("val: save_img: true" in text) == (missing == "pictures")


def test_hovering_over_a_chart_whose_loss_was_nan_throughout(tmp_path: Path) -> None:
    run = write_run(tmp_path, "nan")
    log = next(run.glob("train_*.log"))
    log.write_text(re.sub(r"l_l1_loss: \S+", "l_l1_loss: nan", log.read_text()))
    seen = browse(write_report([run])[0], 1280)
    assert seen["errors"] == []
    assert "iteration 100" in seen["value"]["during"]
    log.write_text(re.sub(r"l_fft_loss: \S+", "l_fft_loss: nan", log.read_text()))
    assert browse(write_report([run])[0], 1280)["errors"] == []


@pytest.mark.parametrize("text", ["", "2026-01-02 10:00:00,123 INFO: cut o"])
def test_a_report_of_a_run_that_left_nothing(tmp_path: Path, text: str) -> None:
    run = write_run(tmp_path, "nothing", decisions=(), finished=False)
    for path in run.glob("*.*"):
        path.write_text(text)
    Page(write_report([run])[0].read_text())
