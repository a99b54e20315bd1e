"""A print never ends a command, whatever its text, its encoding or its reader."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from paragon_plugin.resilience.tolerant_output import TolerantOutput, tolerant_output

MAIN = "import sys; from paragon_plugin.cli.main import main; sys.exit(main())"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf-16"])
@pytest.mark.parametrize("text", ["naïve", "\udcff.png", "日本", "a\0b"])
def test_any_text_is_written_in_any_encoding(encoding: str, text: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    tolerant = TolerantOutput(stream)
    print(text, file=tolerant, flush=True)
    print("after", file=tolerant, flush=True)
    said = stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert said.endswith("after\n")
    try:
        text.encode(encoding)
        assert said.startswith(text)
    except UnicodeEncodeError:
        assert said.startswith(text.encode(encoding, "backslashreplace").decode(encoding))


def test_what_nobody_reads_is_dropped() -> None:
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "w")
    os.close(reader)
    tolerant = TolerantOutput(stream)
    for _ in range(3):
        print("x" * 100_000, file=tolerant, flush=True)
    stream.close()  # the interpreter flushes it at its end


def test_a_stream_that_is_not_there_takes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with tolerant_output():
        print("x")
        print("x", file=sys.stderr)
        assert not sys.stderr.isatty()
        assert not sys.stdout.isatty()
    assert sys.stdout is None


def test_help_behind_a_closed_pipe_ends_quietly() -> None:
    """The whole command, for what the interpreter does at its end."""
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-c", MAIN, "--help"], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (result.returncode, result.stderr) == (0, "")


def test_an_option_file_with_an_accent_and_an_ascii_terminal(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    command = [sys.executable, "-c", MAIN, "report", "naïve\udcff"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "na\\xefve" in result.stderr


@pytest.mark.usefixtures("host")
def test_a_run_with_an_accent_trains_behind_a_closed_ascii_pipe(
    short_options: Callable[..., Path], tmp_path: Path
) -> None:
    file = short_options(name="naïve", train__total_iter=2, val=..., datasets__val=..., logger__print_freq=1)
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-c", MAIN, "train", "-opt", str(file)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert (tmp_path / "experiments" / "naïve" / "models" / "net_g_latest.pth").is_file()
