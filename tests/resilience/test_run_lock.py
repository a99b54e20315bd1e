"""One run, one owner: real processes, real locks."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from paragon_plugin.errors import OptionError
from paragon_plugin.resilience.run_lock import RunLock

pytestmark = pytest.mark.skipif(os.name != "posix", reason="starts processes as POSIX has them")

HOLDER = """
import os, sys, time
from paragon_plugin.resilience.run_lock import RunLock
RunLock(sys.argv[1]).acquire()
child = os.fork() if sys.argv[2] == "fork" else None
if child == 0:
    time.sleep(60)
print(child or os.getpid(), flush=True)
time.sleep(60)
"""

RACER = """
import sys
from paragon_plugin.errors import OptionError
from paragon_plugin.resilience.run_lock import RunLock
for line in sys.stdin:
    lock = RunLock(line.strip())
    try:
        lock.acquire()
        print("mine", flush=True)
    except OptionError as error:
        print(error, flush=True)
    sys.stdin.readline()
    lock.release()
"""


@contextlib.contextmanager
def holder(folder: Path, how: str = "alone") -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that has the lock, and the child that it forked."""
    command = [sys.executable, "-c", HOLDER, str(folder), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            yield process, child
        finally:
            for number in {process.pid, child}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)


def pipe(end: IO[str] | None) -> IO[str]:
    assert end is not None
    return end


def test_a_living_owner_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "experiments" / "mine"
    with holder(folder) as (process, _), pytest.raises(OptionError, match=f"in use by process {process.pid} on "):
        RunLock(folder).acquire()
    assert not folder.exists()  # the lock stands beside it


def test_a_killed_owner_is_in_nobodys_way_even_while_its_children_live(tmp_path: Path) -> None:
    folder = tmp_path / "experiments" / "mine"
    with holder(folder, "fork") as (process, child):
        process.kill()
        process.wait()
        os.kill(child, 0)  # it lives
        lock = RunLock(folder)
        lock.acquire()
        lock.release()


def test_of_two_that_ask_at_once_one_gets_the_lock(tmp_path: Path) -> None:
    """Twenty rounds; the others may be through before the lock is given back and asked for again."""
    command = [sys.executable, "-c", RACER]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as one, subprocess.Popen(command, **pipes) as other:
        for number in range(20):
            for line in (f"{tmp_path / 'experiments' / str(number)}\n", "done\n"):
                if line == "done\n":
                    said = [pipe(racer.stdout).readline() for racer in (one, other)]
                    assert said.count("mine\n") == 1, said
                    assert sum("is in use by" in text for text in said) == 1, said
                for racer in (one, other):
                    pipe(racer.stdin).write(line)
                    pipe(racer.stdin).flush()
        for racer in (one, other):
            pipe(racer.stdin).close()


def test_a_lock_that_is_given_back_leaves_nothing(tmp_path: Path) -> None:
    lock = RunLock(tmp_path / "experiments" / "mine")
    lock.acquire()
    assert [path.name for path in (tmp_path / "experiments").iterdir()] == [".mine.lock"]
    lock.release()
    assert not (tmp_path / "experiments").exists()
    (tmp_path / "experiments").mkdir()
    lock.acquire()
    lock.release()
    assert (tmp_path / "experiments").is_dir()  # it was there before


def test_a_lock_on_a_name_that_was_taken_away_does_not_count(tmp_path: Path) -> None:
    """Its owner removes the file as it lets go; who had it open already would hold a lock that nobody sees."""
    folder = tmp_path / "mine"
    first = RunLock(folder)
    first.acquire()
    (tmp_path / ".mine.lock").unlink()
    with holder(folder):
        first.release()  # not the other's file
        with pytest.raises(OptionError, match="is in use"):
            RunLock(folder).acquire()


def test_what_stands_in_a_lock_file_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / ".mine.lock").write_bytes(b"\xff{")
    lock = RunLock(tmp_path / "mine")
    lock.acquire()
    lock.release()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "experiments").write_text("")
    with pytest.raises(OptionError, match="cannot be written"):
        RunLock(tmp_path / "experiments" / "mine").acquire()


def test_killing_owners_leaves_no_lock_in_the_way(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    for _ in range(5):
        with holder(folder) as (process, _):
            process.kill()
            process.wait()
    lock = RunLock(folder)
    lock.acquire()
    lock.release()
