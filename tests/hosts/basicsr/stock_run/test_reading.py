"""What is read back from a run's files: everything that is there, nothing that is not."""

import json
import os
from pathlib import Path

import pytest
from runs_on_disk import CALIBRATED, entry, step, validation, write_run

from paragon_plugin.errors import OptionError
from paragon_plugin.hosts.run_reading import find_run, read_run


def log_of(folder: Path) -> Path:
    return next(folder.glob("train_*.log"))


def test_a_finished_run_is_read_from_its_log_alone(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, "whole"))
    assert (run.state, run.iteration, run.total, run.seconds) == ("finished", 200, 200, 40)
    assert run.series["losses/l_l1_loss"] == [(50, 0.1), (100, 0.08), (150, 0.05), (200, 0.04)]
    assert run.series["metrics/Set/psnr"] == [(100, 30.0), (200, 31.5)]
    assert run.series["lr"][0] == (50, 0.001)
    assert run.options["train.optim_g.lr"] == "0.001"
    assert run.recipe == {"l1_loss": ("pixel", 1.0), "fft_loss": ("structural", 0.05)}
    assert [decision.losses[0] for decision in run.decisions] == ["l1_loss", "fft_loss"]


@pytest.mark.parametrize("cut", [1, 3, 40, 200])
def test_a_log_cut_off_anywhere_gives_only_numbers_that_were_written_whole(tmp_path: Path, cut: int) -> None:
    folder = write_run(tmp_path, "cut", finished=False)
    whole = read_run(folder).series
    log = log_of(folder)
    log.write_bytes(log.read_bytes()[:-cut])
    for tag, points in read_run(folder).series.items():
        assert set(points) <= set(whole[tag]), tag


def test_a_decision_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "cut", finished=False)
    path = folder / "loss_schedule.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    assert [decision.losses for decision in read_run(folder).decisions] == [("l1_loss",)]
    path.write_text(
        '{"iteration": "x", "kind": "phase", "reason": "r", "losses": []}\n[1]\nnull\n' + json.dumps(CALIBRATED[0])
    )
    assert [decision.iteration for decision in read_run(folder).decisions] == [20]


def test_running_and_silent_are_told_apart_by_the_age_of_the_last_line(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "going", total=1000, finished=False)
    written = max(os.stat(path).st_mtime for path in folder.glob("*.*"))
    assert read_run(folder, now=written + 30).state == "running"
    assert read_run(folder, now=written + 3600).state == "silent"
    slow = entry(0, "x") + "".join(step(900 * i, 50 * i, 0.1) for i in range(1, 4))  # a line each quarter of an hour
    log_of(folder).write_text(slow)
    written = os.stat(log_of(folder)).st_mtime
    assert read_run(folder, now=written + 3600).state == "running"
    assert read_run(folder, now=written + 5400).state == "silent"


def test_a_stopped_run_can_go_on_and_a_resumed_one_forgets_what_was_undone(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "resumed", total=1000, finished=False)
    first = log_of(folder)
    first.write_text(
        first.read_text() + entry(50, "Stopped at iteration 210 with a checkpoint; --auto_resume goes on.")
    )
    assert (read_run(folder).state, read_run(folder).iteration) == ("stopped", 210)
    second = folder / "train_resumed_20260102_110000.log"
    second.write_text(
        entry(0, "Resuming from iteration 100 (epoch 1).") + step(5, 150, 0.07) + validation(9, 200, 31.0)
    )
    run = read_run(folder)
    assert run.resumed_from == [100]
    assert run.series["losses/l_l1_loss"] == [(50, 0.1), (100, 0.08), (150, 0.07)]
    assert run.series["metrics/Set/psnr"] == [(100, 30.0), (200, 31.0)]
    assert run.state != "stopped"


def test_weights_from_before_a_resume_do_not_make_it_finished(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "longer", total=5000)
    os.utime(folder / "models" / "net_g_latest.pth", (0, 0))
    assert read_run(folder).state != "finished"


def test_tensorboard_has_more_digits_and_the_log_is_ahead_of_it(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    folder = write_run(tmp_path, "both")
    for values in ({50: 0.10004, 100: 0.08, 150: 9.0, 175: 9.0}, {150: 0.05004}):  # the second file is of a resumed run
        writer = SummaryWriter(str(tmp_path / "tb_logger" / "both"), filename_suffix=f".{len(values)}")
        for iteration, value in values.items():
            writer.add_scalar("losses/l_l1_loss", value, iteration)
        writer.close()
    files = sorted((tmp_path / "tb_logger" / "both").iterdir(), key=lambda file: -int(file.suffix[1:]))
    for second, file in enumerate(files):
        file.rename(file.with_name(f"events.out.tfevents.{1000 + second}.host.1.0"))
    points = read_run(folder).series["losses/l_l1_loss"]
    assert dict(points) == pytest.approx({50: 0.10004, 100: 0.08, 150: 0.05004, 200: 0.04})
    damaged = tmp_path / "tb_logger" / "both" / "events.out.tfevents.1001.host.1.0"
    damaged.write_bytes(damaged.read_bytes()[:-7])
    assert read_run(folder).series["losses/l_l1_loss"][-1] == (200, 0.04)


def test_validations_of_the_stock_pipeline_get_their_iterations_from_val_freq(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "stock", total=150, losses=(), finished=False)
    log = log_of(folder)
    text = log.read_text()
    for second, (iteration, psnr) in enumerate({60: 30.0, 140: 31.0}.items(), start=10):
        text += step(second, iteration, 0.1, scheduled=False)
        text += entry(second, f"Validation Set\n\t # psnr: {psnr:.4f}\tBest: {psnr:.4f} @ 100 iter\n")
    log.write_text(text + entry(30, "End of training. Time consumed: 0:01:00"))
    run = read_run(folder)
    assert run.series["metrics/Set/psnr"] == [(100, 30.0), (150, 31.0)]  # the last is at the end of the run
    assert run.state == "finished"


def test_what_is_no_run_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, "mine")
    monkeypatch.chdir(tmp_path)
    assert find_run("mine").is_dir()
    assert find_run("experiments/mine").is_dir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for name, words in {"nowhere": "no such folder; runs here: mine", "empty": "holds no", "file": "is a file"}.items():
        with pytest.raises(OptionError, match=f"^{name}: {words}") as refused:
            find_run(name)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "2026-01-02 10:00:00,123 INFO: cut o"])
def test_a_log_without_entries_is_passed_over(tmp_path: Path, text: str) -> None:
    folder = write_run(tmp_path, "resumed", finished=False)
    whole = read_run(folder)
    for time in ("20260102_090000", "20260102_110000"):
        (folder / f"train_resumed_{time}.log").write_text(text)
    assert read_run(folder).series == whole.series
    assert read_run(folder).options == whole.options
    log_of(folder).unlink()
    for path in folder.glob("*.*"):
        path.write_text(text)
    assert (read_run(folder).iteration, read_run(folder).options) == (0, {})


def test_the_options_tell_that_scheduling_was_on_before_the_recipe_does(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "early", losses=(), decisions=(), finished=False)
    log = log_of(folder)
    log.write_text("".join(line for line in log.read_text().splitlines(True) if "Loss scheduling" not in line))
    assert read_run(folder).scheduled
    log.write_text(log.read_text().replace("enabled: True", "enabled: False"))
    assert not read_run(folder).scheduled
