"""The scheduler decides on recorded readings what it has always decided."""

import json
import sys
from typing import Any

import pytest
import scheduler_traces

GOLDEN: dict[str, Any] = json.loads(scheduler_traces.FILE.read_text())

exact_here = sys.platform == "linux" and sys.version_info < (3, 12)
"""Other systems have other mathematical libraries, whose last digit may differ; since Python 3.12 `sum` rounds less."""


@pytest.mark.parametrize("name", scheduler_traces.CASES)
def test_decides_as_recorded(name: str) -> None:
    found = scheduler_traces.trace(scheduler_traces.CASES[name], GOLDEN["steps"])
    wanted = GOLDEN["traces"][name]
    assert [decision[:3] for decision in found["decisions"]] == [decision[:3] for decision in wanted["decisions"]]
    for iteration, factors in wanted["factors"].items():
        for loss, factor in factors.items():
            value = float.fromhex(found["factors"][iteration][loss])
            assert value == pytest.approx(float.fromhex(factor), rel=1e-12), f"{loss} at iteration {iteration}"
    if exact_here:
        assert found == wanted


def test_the_recording_holds_what_it_is_for() -> None:
    kinds = {decision[1] for case in GOLDEN["traces"].values() for decision in case["decisions"]}
    assert kinds == {"calibrated", "dataset", "guard_rail", "raised", "phase", "corrected", "recovered", "nonfinite"}
