"""What a run leaves for its report: written as it goes, whole after a kill, rewound on resuming, never in the way."""

import json
import logging
import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from paragon_plugin.scheduling.options import parse_dynamic_loss_scheduling
from paragon_plugin.scheduling.run_record import (
    HEAD_FILE,
    LINES_FILE,
    SCHEMA,
    RunRecord,
    plain,
    read_head,
    read_lines,
    spent_seconds,
)


class Clock:
    """Moves on by a second a look."""

    def __init__(self, start: float = 1000.0):
        self.now = start

    def __call__(self) -> float:
        self.now += 1
        return self.now


def trained(folder: Path, last: int, clock: Callable[[], float]) -> RunRecord:
    """Records a run from its begin to an iteration, numbers at every tenth."""
    record = RunRecord(folder, clock)
    record.describe(name="mine", total_iter=100)
    record.start(0)
    for iteration in range(10, last + 1, 10):
        record.scalars(iteration, {"losses/l_a": 1 / iteration})
    return record


def kinds(folder: Path) -> list[tuple[str, int]]:
    return [(line["kind"], line["iteration"]) for line in read_lines(folder)]


def test_nothing_is_written_before_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    record = RunRecord(folder)
    record.describe(name="mine")
    record.scalars(10, {"lr": 1.0})
    record.warning(10, "early")
    assert not folder.exists()
    record.start(0)
    head = read_head(folder)
    assert head is not None
    assert (head["schema"], head["name"], head["state"]) == (SCHEMA, "mine", "running")
    assert head["owner"]["process"] == os.getpid()
    assert head["versions"]["paragon_plugin"]
    assert kinds(folder) == [("started", 0), ("scalars", 10), ("warning", 10)]


def test_every_kind_of_line_is_read_back(tmp_path: Path) -> None:
    record = RunRecord(tmp_path)
    record.start(0)
    record.scalars(1, {"losses/l_a": math.nan, "lr": 1e-4})
    record.validation(1, "Set5", {"psnr": math.inf})
    record.images(1, {"baby": tmp_path / "visualization" / "baby" / "baby_1.png", "far": Path("/elsewhere/far.png")})
    record.images(1, {})
    record.warning(1, "odd")
    record.end(1, "failed", "disk full")
    _, scalars, validation, images, warning, failed = read_lines(tmp_path)
    assert math.isnan(float(scalars["values"]["losses/l_a"]))
    assert scalars["values"]["lr"] == 1e-4
    assert float(validation["metrics"]["psnr"]) == math.inf
    assert validation["set"] == "Set5"
    assert images["files"]["baby"] == "visualization/baby/baby_1.png"
    assert images["files"]["far"].endswith("far.png")
    assert (warning["text"], failed["reason"]) == ("odd", "disk full")
    assert json.loads((tmp_path / HEAD_FILE).read_text())["state"] == "failed"
    for row in (tmp_path / LINES_FILE).read_text().splitlines():
        json.loads(row, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_what_comes_after_the_end_is_not_recorded(tmp_path: Path) -> None:
    record = trained(tmp_path, 20, Clock())
    record.end(20, "finished")
    record.warning(20, "of another run")
    assert kinds(tmp_path)[-1] == ("finished", 20)


def test_resuming_drops_what_was_undone_and_keeps_warnings_and_the_time(tmp_path: Path) -> None:
    clock = Clock()
    killed = trained(tmp_path, 50, clock)
    killed.warning(50, "an image is damaged")
    before = spent_seconds(read_lines(tmp_path))
    assert before == 6
    clock.now += 1000  # nobody trained
    resumed = RunRecord(tmp_path, clock)
    resumed.start(30)
    assert kinds(tmp_path) == [
        ("started", 0),
        *[("scalars", i) for i in (10, 20, 30)],
        ("warning", 50),
        ("started", 30),
    ]
    resumed.scalars(40, {"losses/l_a": 0.0})
    assert spent_seconds(read_lines(tmp_path)) == before + 1
    again = RunRecord(tmp_path, clock)
    again.start(40)
    again.end(40, "stopped")
    assert spent_seconds(read_lines(tmp_path)) == before + 2


def test_a_new_run_of_the_name_begins_afresh(tmp_path: Path) -> None:
    trained(tmp_path, 50, Clock())
    RunRecord(tmp_path).start(0)
    assert kinds(tmp_path) == [("started", 0)]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_that_a_kill_cut_off_is_left_out_and_spoils_no_other(tmp_path: Path, cut: int) -> None:
    record = trained(tmp_path, 30, Clock())
    lines = tmp_path / LINES_FILE
    lines.write_bytes(lines.read_bytes()[:-cut])
    kept = 3 if cut == 1 else 2  # the line break alone: the line is whole
    assert [i for kind, i in kinds(tmp_path) if kind == "scalars"] == [10, 20, 30][:kept]
    record.scalars(40, {"losses/l_a": 1.0})
    assert kinds(tmp_path)[-1] == ("scalars", 40)
    assert len(kinds(tmp_path)) == kept + 2


@pytest.mark.parametrize("head", ["", "{", "[1]", "null", "[" * 5000])
def test_a_damaged_description_is_none(tmp_path: Path, head: str) -> None:
    (tmp_path / HEAD_FILE).write_text(head)
    assert read_head(tmp_path) is None


@pytest.mark.parametrize("row", ["3", "[]", '{"kind": 1}', '{"iteration": "1", "kind": "scalars", "time": 0}', "\x00"])
def test_foreign_lines_are_left_out(tmp_path: Path, row: str) -> None:
    trained(tmp_path, 20, Clock())
    with open(tmp_path / LINES_FILE, "a") as file:
        file.write(f"{row}\n")
    assert [i for _, i in kinds(tmp_path)] == [0, 10, 20]


def test_a_disk_that_refuses_costs_one_warning_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(logging.getLogger("paragon_plugin"), "parent", logging.getLogger())
    record = trained(tmp_path / "file", 50, Clock())
    record.end(50, "finished")
    told = sorted(message.getMessage().partition(" cannot be written")[0] for message in caplog.records)
    assert told == ["The description of the run", "The record of the run"]  # once each


def test_a_loop_that_keeps_no_record_leaves_the_description_alone(tmp_path: Path) -> None:
    record = RunRecord(tmp_path / "run")
    record.describe(losses=[{"name": "l1_loss", "role": "pixel", "weight": 1.0}])
    record.keep_description()
    head = read_head(tmp_path / "run")
    assert head is not None
    assert head["losses"][0]["name"] == "l1_loss"
    assert "state" not in head
    assert read_lines(tmp_path / "run") == []


def test_values_become_plain() -> None:
    block = parse_dynamic_loss_scheduling({"enabled": True, "target": {"a": 1}})
    assert plain(block)["target"] == {"a": 1.0}
    assert plain({"p": Path("x"), "t": (1, 2.5, True, None), 3: math.inf}) == {
        "p": "x",
        "t": [1, 2.5, True, None],
        "3": "inf",
    }


def test_the_end_is_told_once(tmp_path: Path) -> None:
    record = trained(tmp_path, 20, Clock())
    record.end(20, "finished")
    record.end(20, "failed", "afterwards")
    head = read_head(tmp_path)
    assert head is not None
    assert (head["state"], kinds(tmp_path)[-1]) == ("finished", ("finished", 20))


def test_lines_that_the_disk_does_not_give_are_not_replaced(tmp_path: Path) -> None:
    """A folder in their place stands for a disk that fails: nothing of it may be lost."""
    (tmp_path / LINES_FILE).mkdir()
    (tmp_path / LINES_FILE / "kept").write_text("x")
    RunRecord(tmp_path).start(10)
    assert (tmp_path / LINES_FILE / "kept").read_text() == "x"


def test_a_description_under_another_loop_keeps_what_was_known(tmp_path: Path) -> None:
    first = trained(tmp_path, 20, Clock())
    first.describe(options={"scale": 2})
    second = RunRecord(tmp_path)
    second.describe(parameters=[])
    second.keep_description()
    head = read_head(tmp_path)
    assert head is not None
    assert (head["name"], head["options"], head["parameters"]) == ("mine", {"scale": 2}, [])
    assert "state" not in head
