"""Training steps under the scheduler give the numbers that they have always given."""

import json
from typing import Any

import pytest
import step_traces

GOLDEN: dict[str, Any] = json.loads(step_traces.FILE.read_text())


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("name", step_traces.CASES)
def test_trains_as_recorded(name: str) -> None:
    found, wanted = step_traces.trace(step_traces.CASES[name]), GOLDEN[name]
    assert len(found["log"]) == len(wanted["log"])
    for iteration, (row, recorded) in enumerate(zip(found["log"], wanted["log"], strict=True), start=1):
        assert row == pytest.approx(recorded, rel=1e-9), f"iteration {iteration}"
    for number, (values, recorded) in enumerate(zip(found["weights"], wanted["weights"], strict=True)):
        assert values == pytest.approx(recorded, rel=1e-9), f"parameter {number}"


def test_scheduling_moves_the_weights_of_the_recording() -> None:
    last = GOLDEN["decided on at once"]["log"][-1]
    assert abs(last["loss_weights/l1_loss"] - 1) > 0.2
    assert GOLDEN["decided on at once"]["weights"] != GOLDEN["off"]["weights"]


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("name", list(step_traces.CASES)[:2])
def test_a_state_of_version_0_1_starts_calibration_afresh_and_says_so(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The states were saved by version 0.1 after 20 steps: its rule was another one."""
    state = json.loads(step_traces.FILE.with_name("states_of_0_1.json").read_text())[name]
    found = step_traces.trace(step_traces.CASES[name], change=(20, state))
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning == (
        "The loss scheduler's state was saved by another version of it (2, now 5); calibration starts afresh."
    )
    assert found == step_traces.trace(step_traces.CASES[name], change=(20, {}))
