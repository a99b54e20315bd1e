"""`paragon runs`: a table of runs that anybody reads at a glance."""

import os
from pathlib import Path

import pytest
from runs_on_disk import write_recorded_run, write_run

from paragon_plugin.cli.main import main


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_says_what_each_run_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_recorded_run(tmp_path, "recorded")
    write_run(tmp_path, "stock")
    folder = tmp_path / "experiments"
    (folder / "no run").mkdir()
    (folder / "notes.txt").touch()
    os.utime(folder / "recorded" / "run_record.jsonl", (2e9, 2e9))
    assert main(["runs", str(folder)]) == 0
    head, first, second = lines(capsys)
    assert head.split()[:4] == ["run", "state", "iterations", "best"]
    assert first.startswith("recorded")
    assert second.startswith("stock")
    assert "PSNR on" in first
    assert first.index("PSNR") == head.index("best")


def test_a_run_that_cannot_be_read_takes_no_other_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_recorded_run(tmp_path, "good")
    folder = tmp_path / "experiments"
    (folder / "odd").mkdir()
    (folder / "odd" / "run_record.json").write_text('{"schema": 99, "losses": 5, "total_iter": []}')
    assert main(["runs", str(folder)]) == 0
    assert {line.split()[0] for line in lines(capsys)} == {"run", "good", "odd"}


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_no_runs_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["runs", name]) == 2
    assert capsys.readouterr().err.count("\n") == 1
