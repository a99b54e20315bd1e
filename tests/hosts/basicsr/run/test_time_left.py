"""The time left in the host's log lines: a whole time at every step, nothing at the last one."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("host")

FASTER = 100_000
"""Of the clock: a step of a tiny network then takes as long as one of a large network."""


@pytest.fixture
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    real, began = time.time, time.time()
    monkeypatch.setattr(time, "time", lambda: began + FASTER * (real() - began))


@pytest.mark.usefixtures("fast_clock")
def test_no_time_left_is_negative_and_none_is_left_at_the_end(train_here: Callable[..., Any], tmp_path: Path) -> None:
    train_here(train__total_iter=3)
    train_here("--auto_resume", train__total_iter=5)
    text = "".join(log.read_text() for log in sorted((tmp_path / "experiments" / "short").glob("train_*.log")))
    times = re.findall(r"iter: +\d+.*?\[eta: (.*?), time \(data\)", text)
    assert [time == "0:00:00" for time in times] == [False, False, True, False, True]
    assert not [time for time in times if time.startswith("-")]
