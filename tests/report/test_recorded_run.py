"""What the report makes of a record: whole, running, killed, failed, damaged; and of a run of version 0.1."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runs_on_disk import write_recorded_run

from paragon_plugin.hosts.run_reading import find_run, read_run
from paragon_plugin.report.crops import strips
from paragon_plugin.report.findings import findings
from paragon_plugin.report.page import report_page
from paragon_plugin.report.recorded_run import read_recorded_run
from paragon_plugin.report.run_history import RunHistory
from paragon_plugin.scheduling.decisions import number_text
from paragon_plugin.scheduling.run_record import (
    HEAD_FILE,
    LINES_FILE,
    RunRecord,
    process_namespace,
    process_start,
)

OLD = Path(__file__).parent / "version_0_1" / "experiments" / "old"


def page(folder: Path) -> str:
    """The report's page, without the picture files beside it."""
    runs = [read_run(folder, now=1e11)]
    return report_page(runs, strips(runs), "now")


def verdicts(run: RunHistory) -> list[str]:
    return [finding.verdict for finding in findings(run)]


def change_head(folder: Path, **entries: Any) -> None:
    head = json.loads((folder / HEAD_FILE).read_text())
    (folder / HEAD_FILE).write_text(json.dumps(head | entries))


def test_everything_of_a_finished_run_is_there(tmp_path: Path) -> None:
    run = read_run(write_recorded_run(tmp_path, "mine"))
    assert (run.name, run.state, run.iteration, run.total, run.seconds) == ("mine", "finished", 200, 200, 40)
    assert (run.network, run.network_parameters) == ("paragonsr2_tiny", 32107)
    assert run.options["train.optim_g.lr"] == "0.001"
    assert run.recipe == {"l1_loss": ("pixel", 1.0), "fft_loss": ("structural", 0.05)}
    assert run.scheduling is not None
    assert run.scheduling.target_rule == "auto"
    assert run.series["losses/l_l1_loss"] == [(50, 0.1), (100, 0.08), (150, 0.05), (200, 0.04)]
    assert run.series["metrics/Set/psnr"] == [(100, 30.0), (200, 31.5)]
    assert [decision.losses for decision in run.decisions] == [("l1_loss",), ("fft_loss",)]
    assert verdicts(run) == ["Yes.", "Unknown.", "It re-balanced the losses.", "None."]


@pytest.mark.parametrize(
    ("value", "text"),
    [(12345, "12345"), (12345.0, "12345"), (1234567, "1234567"), (0.765, "0.765"), (1e-06, "1e-06"), (-0.5, "-0.5")],
)
def test_parameters_are_shown_with_all_their_digits(tmp_path: Path, value: float, text: str) -> None:
    assert number_text(value) == text
    folder = write_recorded_run(tmp_path, "mine")
    change_head(folder, parameters=[{"name": "max_weight", "value": value, "provenance": "set by the user"}])
    assert read_run(folder).parameters == [("max_weight", text, "set by the user")]
    assert f'<td class="n">{text}</td><td>set by the user</td>' in page(folder)


def test_a_product_of_two_decimals_shows_no_rounding() -> None:
    assert number_text(0.85 * 0.9) == "0.765"


# -- how it ended ------------------------------------------------------------------------------------------------------


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def test_a_run_runs_while_its_process_lives_and_is_silent_when_it_was_killed(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    folder = write_recorded_run(tmp_path, "mine", total=1000, finished=False)
    owner = {"host": socket.gethostname(), "namespace": process_namespace()}
    change_head(folder, owner={**owner, "process": process.pid, "began": process_start(process.pid)})
    written = (folder / LINES_FILE).stat().st_mtime
    run = read_run(folder, now=written + 30)
    assert (run.state, run.eta) == ("running", "0:02:40")  # 10 s for 50 iterations, 800 to go
    assert "It is still running: 200 of 1,000 iterations" in findings(run)[0].answer
    process.kill()
    process.wait()
    assert read_run(folder, now=written + 30).state == "silent"


def test_a_process_of_another_machine_is_believed_for_a_while(tmp_path: Path) -> None:
    folder = write_recorded_run(tmp_path, "mine", total=1000, finished=False)
    written = (folder / LINES_FILE).stat().st_mtime
    assert read_run(folder, now=written + 30).state == "running"
    assert read_run(folder, now=written + 3600).state == "silent"
    assert "killed or has crashed" in findings(read_run(folder, now=written + 3600))[0].answer


def test_a_run_that_ended_with_an_error_says_which(tmp_path: Path) -> None:
    folder = write_recorded_run(tmp_path, "mine", total=1000, finished=False)
    record = RunRecord(folder)
    record.start(200)
    record.end(210, "failed", "gan_loss gave NaN for 10 steps in a row.")
    run = read_run(folder)
    trained, incidents = findings(run)[0], findings(run)[-1]
    assert (run.state, run.iteration) == ("failed", 210)
    assert "It ended with an error at iteration 210 of 1,000" in trained.answer
    assert "gan_loss gave NaN for 10 steps in a row." in trained.answer
    assert (incidents.verdict, incidents.tone) == ("Yes.", "bad")


def test_a_resumed_run_forgets_what_was_undone(tmp_path: Path) -> None:
    folder = write_recorded_run(tmp_path, "mine", total=1000, finished=False)
    record = RunRecord(folder)
    record.start(100)
    record.scalars(150, {"losses/l_l1_loss": 0.07})
    record.end(160, "stopped")
    run = read_run(folder)
    assert (run.state, run.iteration, run.resumed_from) == ("stopped", 160, [100])
    assert run.series["losses/l_l1_loss"] == [(50, 0.1), (100, 0.08), (150, 0.07)]


def test_the_last_line_tells_the_end_where_the_description_came_too_late(tmp_path: Path) -> None:
    folder = write_recorded_run(tmp_path, "mine")
    change_head(folder, state="running")
    assert read_run(folder, now=1e11).state == "finished"


def test_a_warning_of_what_was_undone_is_no_progress(tmp_path: Path) -> None:
    folder = write_recorded_run(tmp_path, "mine", total=1000, finished=False)
    RunRecord(folder).start(200)
    record = RunRecord(folder)
    record.start(200)
    record.warning(700, "of an earlier life")
    again = RunRecord(folder)
    again.start(200)
    run = read_run(folder)
    assert (run.iteration, run.warnings) == (200, ["of an earlier life"])


# -- damage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 7, 30, 200])
def test_a_record_cut_in_its_last_line_gives_a_report(tmp_path: Path, cut: int) -> None:
    folder = write_recorded_run(tmp_path, "mine", finished=False)
    lines = folder / LINES_FILE
    lines.write_bytes(lines.read_bytes()[:-cut])
    assert "Did it train?" in page(folder)
    assert read_run(folder).series["losses/l_l1_loss"][:3] == [(50, 0.1), (100, 0.08), (150, 0.05)]


WRONG: list[Any] = [None, 3, -1.5, "x", [], {}, [1, "a"], {"a": {"b": 1}}, True]


@pytest.mark.parametrize(
    "entry",
    ["name", "options", "scheduling", "losses", "parameters", "network", "total_iter", "state", "owner", "target"],
)
def test_an_entry_of_the_wrong_kind_costs_only_itself(tmp_path: Path, entry: str) -> None:
    folder = write_recorded_run(tmp_path, "mine")
    for value in WRONG:
        change_head(folder, **{entry: value})
        assert "Did it train?" in page(folder), value


def test_lines_of_the_wrong_kind_cost_only_themselves(tmp_path: Path) -> None:
    folder = write_recorded_run(tmp_path, "mine")
    with open(folder / LINES_FILE, "a") as file:
        for kind in ("started", "scalars", "validation", "images", "warning", "finished", "failed", "of the future"):
            for value in WRONG:
                line = {"iteration": 60, "kind": kind, "time": 1.0}
                keys = ("values", "set", "metrics", "files", "text", "reason", "seconds")
                file.write(json.dumps(line | dict.fromkeys(keys, value)) + "\n")
    assert "Did it train?" in page(folder)
    assert read_run(folder).series["losses/l_l1_loss"] == [(50, 0.1), (100, 0.08), (150, 0.05), (200, 0.04)]


def test_without_its_description_the_folder_is_read_as_a_stock_run(tmp_path: Path) -> None:
    folder = write_recorded_run(tmp_path, "mine")
    (folder / HEAD_FILE).write_text("{")
    assert read_recorded_run(folder) is None
    assert read_run(folder).name == "mine"
    assert "Did it train?" in page(folder)


def test_a_folder_with_a_record_alone_is_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_recorded_run(tmp_path, "mine")
    shutil.rmtree(folder / "models")
    os.remove(folder / "loss_schedule.jsonl")
    monkeypatch.chdir(tmp_path)
    assert find_run("mine").resolve() == folder.resolve()
    assert "Did it train?" in page(folder)


# -- version 0.1 -------------------------------------------------------------------------------------------------------


def test_a_run_of_version_0_1_is_read_from_its_log(tmp_path: Path) -> None:
    """A folder as `paragon train` 0.1.0 left it, without its weights and images."""
    folder = tmp_path / "experiments" / "old"
    shutil.copytree(OLD, folder)
    (folder / "models").mkdir()
    (folder / "models" / "net_g_latest.pth").write_bytes(b"weights")
    run = read_run(folder)
    assert (run.name, run.state, run.iteration, run.total) == ("old", "finished", 60, 60)
    assert (run.network, run.network_parameters) == ("paragonsr2_nano", 4921)
    assert run.recipe == {"l1_loss": ("pixel", 1.0), "fft_loss": ("structural", 0.05)}
    assert run.scheduling is not None
    assert (run.scheduling.auto_calibrate, run.scheduling.momentum) == (True, 0.9)
    assert ("momentum", "0.9", "set by the user") in run.parameters
    assert [iteration for iteration, _ in run.series["losses/l_l1_loss"]] == [10, 20, 30, 40, 50, 60]
    assert [iteration for iteration, _ in run.series["metrics/HeldOutPhotos/psnr"]] == [30, 60]
    assert run.references["HeldOutPhotos"].metrics["bicubic"]["psnr"] == pytest.approx(32.93, abs=0.01)
    text = page(folder)
    assert "It kept the weights." in text
    assert "set by the user" in text
