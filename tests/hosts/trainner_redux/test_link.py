"""`paragon redux link` and `unlink`: what they write, remove and refuse."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from paragon_plugin.cli.main import main
from paragon_plugin.hosts.trainner_redux.contract import PARTS
from paragon_plugin.hosts.trainner_redux.link import LINK, OUR_SCHEMA, SCHEMA


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    """A folder that has the names of a checkout and nothing behind them."""
    folder = tmp_path / "stub"
    for file in {part.file for part in PARTS}:
        lines: list[str] = []
        classes: dict[str, list[str]] = {}
        for name in dict.fromkeys(part.name for part in PARTS if part.file == file):
            same = [part for part in PARTS if (part.file, part.name) == (file, name)]
            takes = next((part.takes for part in same if part.takes), ())
            said = " + ".join(f"{part.mentions!r}" for part in same if part.mentions) or "None"
            owner, _, member = name.rpartition(".")
            lines_of = classes.setdefault(owner, []) if owner else lines
            lines_of.append(f"{'    ' if owner else ''}def {member or name}({', '.join(takes)}): return {said}")
        lines += [line for owner, members in classes.items() for line in (f"class {owner}:", *members)]
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("\n".join(lines) + "\n")
    (folder / SCHEMA).parent.mkdir()
    (folder / SCHEMA).write_text(json.dumps({"$defs": {"TrainOptions": {"properties": {"total_iter": {}}}}}))
    return folder


def tracked(folder: Path) -> Path:
    for command in ("init -q", "add -A", "-c user.name=a -c user.email=a@b commit -q -m a"):
        subprocess.run(["git", "-C", str(folder), *command.split()], check=True)
    return folder


def status(folder: Path) -> list[str]:
    done = subprocess.run(["git", "-C", str(folder), "status", "--short"], check=True, capture_output=True, text=True)
    return done.stdout.split()[1::2]


def test_link_and_unlink_leave_the_checkout_as_it_was(stub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tracked(stub)
    assert main(["redux", "link", str(stub)]) == 0
    assert status(stub) == [OUR_SCHEMA.as_posix(), LINK.as_posix()]
    assert capsys.readouterr().out.splitlines() == [f"written  {stub / file}" for file in (LINK, OUR_SCHEMA)]
    assert main(["redux", "link", str(stub)]) == 0
    assert capsys.readouterr().out.splitlines() == [f"is there {stub / file}" for file in (LINK, OUR_SCHEMA)]
    assert main(["redux", "unlink", str(stub)]) == 0
    assert capsys.readouterr().out.splitlines() == [f"removed  {stub / file}" for file in (LINK, OUR_SCHEMA)]
    assert status(stub) == []
    assert main(["redux", "unlink", str(stub)]) == 0
    assert capsys.readouterr().out == f"nothing to remove in {stub}\n"


def test_link_renews_what_an_older_version_wrote(stub: Path) -> None:
    assert main(["redux", "link", str(stub)]) == 0
    text = (stub / LINK).read_text()
    (stub / LINK).write_text(text + "old\n")
    assert main(["redux", "link", str(stub)]) == 0
    assert (stub / LINK).read_text() == text


@pytest.mark.parametrize("action", ["link", "unlink"])
def test_a_file_of_somebody_else_stays(action: str, stub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stub / LINK).write_text("mine\n")
    assert main(["redux", action, str(stub)]) == 2
    assert (stub / LINK).read_text() == "mine\n"
    told = f"paragon redux: {stub / LINK}: was not written by `paragon redux link`; move it away first\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("action", ["link", "unlink"])
def test_another_folder_is_refused(action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["redux", action, str(tmp_path)]) == 2
    assert main(["redux", action, str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"paragon redux: {tmp_path}: is no checkout of traiNNer-redux: has no traiNNer/archs",
        f"paragon redux: {tmp_path / 'none'}: is no checkout of traiNNer-redux: there is no such folder",
    ]
    assert not list(tmp_path.iterdir())


def test_a_redux_that_has_changed_is_named(stub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = stub / "traiNNer/models/sr_model.py"
    file.write_text(file.read_text().replace("init_training_settings", "set_up"))
    assert main(["redux", "link", str(stub)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "traiNNer/models/sr_model.py has no SRModel.init_training_settings" in line
    assert not (stub / LINK).exists()


def test_a_checkout_without_a_schema_is_linked(stub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stub / SCHEMA).unlink()
    assert main(["redux", "link", str(stub)]) == 0
    assert (stub / LINK).is_file()
    assert "editors get no schema" in capsys.readouterr().out


def run_as_redux_does(file: Path) -> None:
    exec(compile(file.read_text(), str(file), "exec"), {"__file__": str(file)})


def test_the_file_does_nothing_where_it_is_told_so(stub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["redux", "link", str(stub)]) == 0
    monkeypatch.setenv("PARAGON_DISABLE", "1")
    monkeypatch.setitem(sys.modules, "traiNNer.utils.options", None)
    run_as_redux_does(stub / LINK)


def test_redux_runs_on_where_the_plugin_is_gone(
    stub: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["redux", "link", str(stub)]) == 0
    capsys.readouterr()
    monkeypatch.setitem(sys.modules, "paragon_plugin.hosts.trainner_redux", None)
    run_as_redux_does(stub / LINK)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("paragon-plugin cannot be imported")
    assert line.endswith(f"Install it, or remove {stub / LINK}")


def test_a_real_checkout_is_clean_after_unlink(copied: Path) -> None:
    tracked(copied)
    assert main(["redux", "link", str(copied)]) == 0
    assert status(copied) == [OUR_SCHEMA.as_posix(), LINK.as_posix()]
    assert main(["redux", "unlink", str(copied)]) == 0
    assert status(copied) == []
