"""`paragon report` as a user runs it, on what a real run leaves behind."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from runs_on_disk import write_recorded_run

from paragon_plugin.cli import report
from paragon_plugin.cli.main import main
from paragon_plugin.scheduling.run_record import RunRecord

Paragon = Callable[..., subprocess.CompletedProcess[str]]
Options = Callable[..., Path]


def test_reports_of_a_real_run_and_of_two(paragon: Paragon, short_options: Options, tmp_path: Path) -> None:
    trained = paragon("train", "-opt", short_options(name="one", val__val_freq=20, val__save_img=True))
    assert trained.returncode == 0, trained.stderr
    shutil.copytree(tmp_path / "experiments" / "one", tmp_path / "experiments" / "two")
    result = paragon("report", "one")
    assert result.returncode == 0, result.stderr
    page = tmp_path / "experiments" / "one" / "report.html"
    assert f"report   {page.relative_to(tmp_path)}" in result.stdout
    text = page.read_text()
    for words in ("It ran all of its 40 iterations", "PSNR on HeldOutPhotos", "chelsea", "fft_loss", "Learning rate"):
        assert words in text
    assert (page.parent / "report" / "losses.png").is_file()
    result = paragon("report", "experiments/one", "two", "-o", "pair.html")
    assert result.returncode == 0, result.stderr
    assert "They are level" in (tmp_path / "pair.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: no such folder; runs here: run"),
        (["empty"], "empty: holds no training run"),
        (["run", "nowhere"], "nowhere: no such folder"),
        (["run", "-o", "page.txt"], "--output page.txt: must be the name of an HTML file"),
        (["run", "-o", "blocked/page.html"], "blocked/page.html: cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "experiments" / "run").mkdir(parents=True)
    (tmp_path / "experiments" / "run" / "loss_schedule.jsonl").write_text("")
    (tmp_path / "blocked").write_text("a file")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["report", *arguments]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"paragon report: {words}")
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_watched_page_is_renewed_until_the_run_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_recorded_run(tmp_path, "run", losses=())
    (folder / "run_record.jsonl").unlink()
    record = RunRecord(folder)
    record.describe(name="run", host="loop", total_iter=300)
    record.start(0)
    page = folder / "report.html"
    seen: list[str] = []

    def go_on(_: float) -> None:
        """What happens between two looks at the record."""
        seen.append(page.read_text())
        if len(seen) < 3:
            record.validation(100 * len(seen), "Set", {"psnr": 30.0 + len(seen)})
        else:
            record.end(300, "finished")

    monkeypatch.setattr(report.time, "sleep", go_on)
    monkeypatch.chdir(tmp_path)
    assert main(["report", "run", "--watch"]) == 0
    assert [text.count("location.reload()") for text in seen] == [1, 1, 1]
    assert ["31.00" in text for text in seen] == [False, True, True]
    assert ["32.00" in text for text in seen] == [False, False, True]
    assert "location.reload()" not in page.read_text()
    assert (folder / "report").is_dir()
    seen.clear()
    assert main(["report", "run", "--watch"]) == 0  # it has ended
    assert seen == []


def test_a_watch_is_ended_with_a_page_that_stands_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_recorded_run(tmp_path, "run", finished=False)

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(report.time, "sleep", interrupt)
    assert main(["report", str(folder), "--watch"]) == 0
    assert "location.reload()" not in (folder / "report.html").read_text()
