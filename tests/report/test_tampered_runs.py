"""Reports of runs whose files are damaged or somebody else's: the report is made, says what it lacks, never raises."""

import json
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from runs_on_disk import entry, write_recorded_run, write_run

from paragon_plugin.cli.main import main
from paragon_plugin.hosts.run_reading import read_run
from paragon_plugin.report.crops import strips
from paragon_plugin.report.page import report_page
from paragon_plugin.scheduling.run_record import HEAD_FILE, LINES_FILE

pytestmark = pytest.mark.usefixtures("host")

HOSTILE: tuple[Any, ...] = (
    *(5, -1, 0, 10**400, 2**53 + 1, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf"), True, None),
    *("", "x" * 5000, "\udcff", "a/b", "../../..", "\0", "nan", "1e999", "²", "<script>", [], {}, [[]], {"a": {}}),
)
NUMBERS = ("10", "-1", "99999999999999999999", "nan", "inf", "1e999", ",", "²", "")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a record and one of version 0.1, with pictures, references and event files."""
    root = tmp_path_factory.mktemp("runs")
    for write, name in ((write_recorded_run, "mine"), (write_run, "old")):
        folder = write(root, name)
        (folder / "report" / "Set").mkdir(parents=True)
        place = {"image": "a", "top": 0, "left": 0, "side": 16}
        metrics = {"bicubic": {"psnr": 29.0}, "Magic Kernel Sharp 2021": {"psnr": 29.5}}
        record = {"images": 1, "scale": 2, "wanted": {"psnr": {}}, "metrics": metrics, "crops": [place]}
        (folder / "report" / "references.json").write_text(json.dumps({"Set": record}))
        picture = Image.fromarray(np.arange(768, dtype=np.uint8).reshape(16, 16, 3))
        for what in ("lr", "bicubic", "hr"):
            picture.save(folder / "report" / "Set" / f"a_{what}.png")
        (folder / "visualization" / "Set" / "a").mkdir(parents=True)
        picture.save(folder / "visualization" / "Set" / "a" / "a_100.png")
        (root / "tb_logger" / name).mkdir(parents=True)
        event = struct.pack("<Q", 4) + b"\0" * 4 + b"\x09\0\0\0" + b"\0" * 4
        (root / "tb_logger" / name / "events.out.tfevents.1.host").write_bytes(event)
    with (root / "experiments" / "mine" / LINES_FILE).open("a") as lines:
        files = {"Set/a": "visualization/Set/a/a_100.png"}
        lines.write(json.dumps({"iteration": 100, "kind": "images", "time": 1.0, "files": files}) + "\n")
    return root


def tampered(path: Path, draw: random.Random) -> None:
    """One of many damages to a file."""
    text, data = path.suffix in (".json", ".jsonl", ".log"), path.read_bytes()
    how = draw.choice(
        ["flip", "cut", "insert", "zeros", "gone", "folder", "empty", "noise", *(["value"] * 8 if text else [])]
    )
    place = draw.randrange(len(data) or 1)
    if how == "flip":
        data = data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)] if data else []) + data[place + 1 :]
    elif how == "cut":
        data = data[:place]
    elif how == "insert":
        data = data[:place] + draw.choice([b"\xff\xfe", b"\n5\n", b"\0", b"{", b"]", b"\r\n", b"NaN"]) + data[place:]
    elif how == "zeros":
        data = data[:place] + b"\0" * (len(data) - place)
    elif how == "noise":
        data = draw.randbytes(200)
    elif how == "value":
        data = hostile_value(path, data.decode(errors="replace"), draw).encode(errors="surrogatepass")
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how != "gone":
        path.write_bytes(b"" if how == "empty" else data)


def hostile_value(path: Path, text: str, draw: random.Random) -> str:
    """The text with one of its values replaced by one that nobody would write."""
    if path.suffix == ".log":
        words = text.split(" ")
        words[draw.randrange(len(words))] = draw.choice(NUMBERS)
        return " ".join(words)
    parts = text.splitlines() if path.suffix == ".jsonl" else [text]
    if not parts:
        return text
    number = draw.randrange(len(parts))
    try:
        value = json.loads(parts[number])
    except ValueError:  # damaged before
        return text
    if not isinstance(value, dict | list):
        return text
    block: Any = value
    while True:  # down to some depth
        key = draw.choice(list(block) if isinstance(block, dict) else range(len(block))) if block else None
        inside = block[key] if key is not None else None
        if not isinstance(inside, dict | list) or not inside or draw.random() < 0.2:
            break
        block = inside
    if key is not None:
        block[key] = draw.choice(HOSTILE)
    parts[number] = json.dumps(value if draw.random() < 0.95 else draw.choice(HOSTILE))
    return "\n".join(parts) + "\n"


def tampered_copy(runs: Path, root: Path, seed: int) -> Path:
    """A run of which one to three files are damaged."""
    draw = random.Random(seed)
    name = draw.choice(["mine", "mine", "old"])
    for part in ("experiments", "tb_logger"):
        shutil.copytree(runs / part / name, root / part / name)
    for _ in range(draw.randint(1, 3)):
        files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != "net_g_latest.pth")
        tampered(draw.choice(files), draw)
    return root / "experiments" / name


def test_a_page_is_made_of_sixty_tampered_runs(runs: Path, tmp_path: Path) -> None:
    for seed in range(60):
        folder = tampered_copy(runs, tmp_path / str(seed), seed)
        run = read_run(folder)
        page = report_page([run], strips([run]), "now")
        assert "<h1>" in page, seed


@pytest.mark.slow
def test_the_report_of_six_hundred_tampered_runs(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the command makes it, pictures and all: the page, or one line where the folder is no run any more."""
    made = 0
    for seed in range(600):
        folder = tampered_copy(runs, tmp_path / str(seed), seed)
        status = main(["report", str(folder)])
        said = capsys.readouterr()
        assert status in (0, 2), (seed, said)
        assert status == 0 or len(said.err.splitlines()) == 1, (seed, said)
        made += status == 0
        shutil.rmtree(tmp_path / str(seed))
    print(f"{made} of 600 reports made")
    assert made > 550


def lines_of(page: str) -> list[str]:
    """What the page says it lacks."""
    import html

    body = page.partition("<h2>Left out</h2>")[2].partition("</section>")[0]
    return [html.unescape(line.partition("</li>")[0]) for line in body.split("<li>")[1:]]


@pytest.mark.parametrize(
    ("file", "damage", "said"),
    [
        ("loss_schedule.jsonl", b"5\n\xff\xfe\n", "loss_schedule.jsonl: 2 lines cannot be read"),
        (LINES_FILE, b'{"iteration": "x"}\n{}\n', "run_record.jsonl: 2 lines cannot be read"),
        ("report/references.json", b"[1", "report/references.json: cannot be read"),
    ],
)
def test_what_is_left_out_is_said(runs: Path, tmp_path: Path, file: str, damage: bytes, said: str) -> None:
    folder = tmp_path / "experiments" / "mine"
    shutil.copytree(runs / "experiments" / "mine", folder)
    assert lines_of(page_of(folder)) == []
    path = folder / file
    path.write_bytes(damage + path.read_bytes())
    page = page_of(folder)
    assert lines_of(page) == [said]
    assert "PSNR on Set" in page


def page_of(folder: Path) -> str:
    run = read_run(folder)
    return report_page([run], strips([run]), "now")


@pytest.mark.parametrize("date", ["2026-13-45 10:00:00", "9999-99-99 99:99:99"])
def test_a_log_entry_of_no_calendar_is_left_out(runs: Path, tmp_path: Path, date: str) -> None:
    folder = tmp_path / "experiments" / "old"
    shutil.copytree(runs / "experiments" / "old", folder)
    log = next(folder.glob("train_*.log"))
    log.write_text(log.read_text() + entry(55, "x").replace("2026-01-02 10:00:55", date))
    assert lines_of(page_of(folder)) == [f"{log.name}: 1 entries cannot be read"]


def test_a_run_that_failed_has_a_report(tmp_path: Path) -> None:
    folder = write_recorded_run(tmp_path, "mine", finished=False)
    head = json.loads((folder / HEAD_FILE).read_text())
    (folder / HEAD_FILE).write_text(json.dumps(head | {"state": "failed"}))
    assert main(["report", str(folder)]) == 0
    assert "ended with an error" in (folder / "report.html").read_text()


def test_whatever_a_report_raises_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from paragon_plugin.report import written_report

    def broken(*_: Any) -> Callable[..., Any]:
        raise KeyError("failed")

    monkeypatch.setattr(written_report, "report_page", broken)
    assert main(["report", str(write_recorded_run(tmp_path, "mine"))]) == 2
    assert capsys.readouterr().err.count("\n") == 1
