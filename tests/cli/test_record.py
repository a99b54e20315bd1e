"""The record that real trainings leave: complete, independent of the log's words, readable at any moment."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paragon_plugin.hosts.basicsr.stock_run.event_files import read_scalars
from paragon_plugin.hosts.run_reading import read_run
from paragon_plugin.report.crops import strips
from paragon_plugin.report.findings import findings
from paragon_plugin.report.page import report_page
from paragon_plugin.report.run_history import RunHistory
from paragon_plugin.scheduling.run_record import read_head, read_lines

pytestmark = pytest.mark.usefixtures("host")

OPTIONS = Path(__file__).resolve().parents[2] / "options" / "quickstart.yml"
COMMAND = [sys.executable, "-m", "paragon_plugin.train", "-opt"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run with its report, its images and TensorBoard's files."""
    root = tmp_path_factory.mktemp("finished")
    overrides = ["name=mine", "network_g:type=paragonsr2_nano", "train:total_iter=40", "val:val_freq=20"]
    overrides += ["datasets:train:gt_size=32", "datasets:train:batch_size_per_gpu=4", "logger:print_freq=10"]
    overrides += ["train:dynamic_loss_scheduling:max_weight=12345"]
    command = [*COMMAND, str(OPTIONS), "--force_yml", *overrides]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return root / "experiments" / "mine"


def page(run: RunHistory) -> str:
    return report_page([run], strips([run]), "now")


def test_says_what_the_run_was(finished: Path) -> None:
    head = read_head(finished)
    assert head is not None
    assert (head["name"], head["host"], head["state"], head["total_iter"]) == ("mine", "basicsr", "finished", 40)
    assert head["command"][:2] == ["paragon", "train"]
    assert "train:total_iter=40" in head["command"]
    assert head["options"]["train"]["total_iter"] == 40
    assert head["options"]["datasets"]["train"]["gt_size"] == 32
    assert head["options"]["train"]["dynamic_loss_scheduling"]["max_weight"] == 12345
    assert "parsed_loss_scheduling" not in head["options"]
    assert head["scheduling"]["max_weight"] == 12345
    assert head["target"] == "auto"
    assert head["losses"][0] == {"name": "l1_loss", "role": "pixel", "weight": 1.0}
    assert head["network"] == {"type": "paragonsr2_nano", "parameters": 9149}
    assert {"name": "max_weight", "value": 12345.0, "provenance": "set by the user"} in head["parameters"]
    assert head["health"] is None
    assert set(head["versions"]) >= {"paragon_plugin", "python", "torch"}


def test_holds_the_numbers_that_tensorboard_has(finished: Path) -> None:
    run, events = read_run(finished), read_scalars(finished.parents[1] / "tb_logger" / "mine")
    shared = set(run.series) & set(events)
    assert {"losses/l_l1_loss", "loss_weights/l1_loss", "loss_shares/fft_loss"} < shared
    for tag in sorted(shared):
        assert [i for i, _ in run.series[tag]] == [i for i, _ in events[tag]], tag
        assert [v for _, v in run.series[tag]] == pytest.approx([v for _, v in events[tag]], rel=1e-6), tag
    assert [iteration for iteration, _ in run.series["metrics/HeldOutPhotos/psnr"]] == [0, 20, 40]
    assert set(run.images["HeldOutPhotos/chelsea"]) == {20, 40}


def test_a_parameter_of_12345_is_shown_as_12345(finished: Path) -> None:
    assert '<td class="n">12345</td><td>set by the user</td>' in page(read_run(finished))
    assert re.search(r"max_weight +12345 +set by the user", next(finished.glob("train_*.log")).read_text())


def test_whatever_the_log_says_the_report_stays(finished: Path) -> None:
    before = page(read_run(finished))
    log = next(finished.glob("train_*.log"))
    text = log.read_text()
    try:
        log.write_text(re.sub(r"[a-z]", "x", text))
        assert page(read_run(finished)) == before
        log.unlink()
        assert page(read_run(finished)) == before
    finally:
        log.write_text(text)


def wait_for(what: Callable[[], Any], process: subprocess.Popen[Any]) -> Any:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        if found := what():
            return found
        assert process.poll() is None, "the run has ended"
        time.sleep(0.05)
    raise AssertionError("nothing came")


def test_a_run_that_goes_on_is_killed_and_resumed(short_options: Callable[..., Path], tmp_path: Path) -> None:
    file = short_options(
        train__total_iter=100_000,
        datasets__train__dataset_enlarge_ratio=1000,
        logger__save_checkpoint_freq=20,
        logger__print_freq=5,
    )
    folder = tmp_path / "experiments" / "short"
    command = [*COMMAND, str(file), "--auto_resume"]
    quiet: dict[str, Any] = {"cwd": tmp_path, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **quiet)
    try:
        wait_for(lambda: any(line["iteration"] >= 25 for line in read_lines(folder)), process)
        running = read_run(folder)
        assert running.state == "running"
        assert "It is still running" in findings(running)[0].answer
        assert running.series["losses/l_l1_loss"]
        page(running)
    finally:
        process.kill()
        process.wait()
    killed = read_run(folder)
    assert killed.state == "silent"
    assert "killed or has crashed" in page(killed)

    process = subprocess.Popen(command, **quiet)
    try:
        wait_for(lambda: sum(line["kind"] == "started" for line in read_lines(folder)) == 2, process)
        start = read_run(folder).resumed_from[0]
        assert start % 20 == 0
        wait_for(lambda: any(line["iteration"] >= start + 10 for line in read_lines(folder)), process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=100) == 128 + signal.SIGTERM
    finally:
        process.kill()
        process.wait()
    stopped = read_run(folder)
    assert (stopped.state, stopped.resumed_from) == ("stopped", [start])
    iterations = [iteration for iteration, _ in stopped.series["losses/l_l1_loss"]]
    assert iterations == sorted(set(iterations))


def test_a_run_that_ends_with_an_error_says_so(
    short_options: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from paragon_plugin.cli.main import main

    monkeypatch.chdir(tmp_path)
    ruinous = {"type": "CosineAnnealingRestartLR", "periods": [7, 33], "restart_weights": [1, 1e30]}
    file = short_options(
        train__losses=[{"type": "L1Loss"}, {"type": "MSELoss"}, {"type": "FFTLoss"}],
        train__scheduler=ruinous,
        train__dynamic_loss_scheduling__max_nonfinite_steps=2,
    )
    assert main(["train", "-opt", str(file)]) == 1
    run = read_run(tmp_path / "experiments" / "short")
    assert run.state == "failed"
    assert "NaN or infinity" in run.failure


def test_a_run_under_the_hosts_own_loop_says_what_it_scheduled(
    short_options: Callable[..., Path], tmp_path: Path
) -> None:
    code = (
        "import sys, paragon_plugin; paragon_plugin.install()\n"
        "from basicsr.train import train_pipeline; train_pipeline(sys.argv.pop(1))\n"
    )
    file = short_options(train__dynamic_loss_scheduling__max_weight=12345)
    command = [sys.executable, "-c", code, str(tmp_path), "-opt", str(file)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "experiments" / "short"
    assert read_lines(folder) == []  # that loop keeps no record
    log = next(folder.glob("train_*.log"))
    log.write_text(log.read_text().replace("Loss scheduling", "Scheduling of losses").replace("Effective", "These"))
    run = read_run(folder)
    assert run.state == "finished"
    assert run.series["losses/l_l1_loss"]
    assert run.recipe["l1_loss"] == ("pixel", 1.0)
    assert ("max_weight", "12345", "set by the user") in run.parameters
    assert "set by the user" in page(run)


def test_resuming_keeps_what_was_told_before_and_a_run_without_a_record_gets_one(
    short_options: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from paragon_plugin.cli.main import main

    monkeypatch.chdir(tmp_path)

    def train(total: int) -> RunHistory:
        file = short_options(num_gpu=8, train__total_iter=total, logger__print_freq=5)
        assert main(["train", "-opt", str(file), "--auto_resume"]) == 0
        return read_run(tmp_path / "experiments" / "short")

    first = train(20)
    assert [text for text in first.warnings if "num_gpu" in text]  # told before the run's folder was there
    second = train(40)
    assert second.resumed_from == [20]
    assert second.parameters == first.parameters
    assert second.seconds is not None
    assert first.seconds is not None
    assert second.seconds > first.seconds

    for name in ("run_record.json", "run_record.jsonl"):  # as if an earlier version had trained it
        (tmp_path / "experiments" / "short" / name).unlink()
    third = train(60)
    assert [iteration for iteration, _ in third.series["losses/l_l1_loss"]] == list(range(5, 61, 5))
    assert third.resumed_from == [20, 40]
    assert [text for text in third.warnings if "num_gpu" in text]
    assert third.seconds is not None
    assert third.seconds > 1
