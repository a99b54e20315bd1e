"""`paragon` answers help, version and slips of the pen at once, and in one line."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from paragon_plugin.cli.main import main
from paragon_plugin.version import __version__

COMMANDS = ("init", "train", "check", "test", "upscale", "export", "report", "runs", "schema", "redux")

WITHOUT_TORCH = """
import sys
from pathlib import Path
from paragon_plugin.cli.main import main

for line in sys.stdin.read().splitlines():
    try:
        status = main(line.split())
    except SystemExit as ended:
        status = ended.code
    loaded = {"torch", "numpy", "PIL", "yaml", "msgspec", "basicsr"} & set(sys.modules)
    assert not loaded, (line, loaded)
    assert status == (0 if line.endswith(("--help", "--version")) else 2), (line, status)
"""


def test_help_version_and_slips_import_no_library() -> None:
    lines = ["--version", "--help", *(f"{command} --help" for command in COMMANDS)]
    lines += ["trian -opt a.yml", "train", "train -opt a.yml --autoresume", "upscale a.png", "report"]
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert __version__ in result.stdout
    assert all(command in result.stdout for command in COMMANDS)


@pytest.mark.parametrize(
    ("words", "who", "meant"),
    [
        ("trian -opt a.yml", "paragon", "train"),
        ("upscle a.png -m a.pth", "paragon", "upscale"),
        ("--verison", "paragon", "--version"),
        ("train -opt a.yml --autoresume", "paragon train", "--auto_resume"),
        ("train -opt a.yml --launcher pytroch", "paragon train", "pytorch"),
        ("train --optt a.yml", "paragon train", "-opt"),
        ("upscale a.png -m a.pth --skip-exsting", "paragon upscale", "--skip-existing"),
        ("upscale a.png -m a.pth --devcie=cpu", "paragon upscale", "--device"),
        ("redux lnk folder", "paragon redux", "link"),
        # nothing is near, or nothing is misspelt
        ("fly", "paragon", None),
        ("train", "paragon train", None),
        ("train -opt a.yml b.yml", "paragon train", None),
        ("train -opt a.yml --colour", "paragon train", None),
        ("init photos --scale three", "paragon init", None),
        ("upscale a.png -m a.pth --tile -3 b", "paragon upscale", None),
    ],
)
def test_a_slip_is_one_line_with_what_may_be_meant(
    capsys: pytest.CaptureFixture[str], words: str, who: str, meant: str | None
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"{who}: ")
    assert line.endswith(f"See: {who} --help")
    assert f"did you mean '{meant}'?" in line if meant else "did you mean" not in line


def printed_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    pytest.importorskip("shtab", reason="needs the extra completion")
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", shell])
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    return out


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_completion_names_every_command(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    script = printed_completion(shell, capsys)
    assert all(command in script for command in COMMANDS)
    assert shell == "tcsh" or "--skip-existing" in script  # tcsh gets the commands and their files


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_commands_options_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "completion").write_text(printed_completion("bash", capsys))
    (tmp_path / "photo.png").touch()
    assert subprocess.run(["bash", "-n", "completion"], cwd=tmp_path, check=False).returncode == 0

    def offered(*words: str) -> list[str]:
        """What bash offers for the last word."""
        line = f"COMP_WORDS=({' '.join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}"
        script = f'source ./completion; {line}; _shtab_paragon "" {words[-1]!r}; printf "%s\\n" "${{COMPREPLY[@]}}"'
        found = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stderr
        return found.stdout.split()

    assert set(offered("paragon", "")) == set(COMMANDS)
    assert offered("paragon", "up") == ["upscale"]
    assert offered("paragon", "upscale", "--skip") == ["--skip-existing"]
    assert offered("paragon", "train", "--launcher", "py") == ["pytorch"]
    assert offered("paragon", "redux", "un") == ["unlink"]
    assert offered("paragon", "upscale", "pho") == ["photo.png"]
    assert offered("paragon", "train", "-opt", "pho") == ["photo.png"]


def test_completion_without_shtab_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", "bash"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        'paragon: --print-completion: needs shtab: pip install "paragon-plugin[completion]"\n'
    )
