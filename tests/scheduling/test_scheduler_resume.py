"""A run resumed from its state goes on exactly as one never interrupted."""

import io
import json
import math
import random
import re
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_runs import Roles, constant, new_scheduler, run

from paragon_plugin.scheduling import DynamicLossScheduler, ForeignStateError, Reading, Step

ROLES: Roles = {"l1": "pixel", "vgg": "perceptual", "style": "perceptual", "gan": "adversarial"}
LENGTH = 420
"""Baseline window to 20, easing to 40, phase at 42, late loss at 150 (window, easing), GAN calibrated at 80 and eased
to 100, divergence from 200 (corrections, cool-downs), recovery, non-finite steps here and there, late phase at 336."""


def _trace() -> list[dict[str, Reading]]:
    source = random.Random(11)
    trace = []
    for iteration in range(1, LENGTH + 1):
        names = [name for name in ROLES if name != "style" or iteration >= 150]
        growth = 1.15 ** (iteration - 200) if 200 <= iteration < 230 else 1.0
        step = {
            name: Reading(growth * math.exp(source.gauss(0, 0.1)), math.exp(source.gauss(0, 0.3) + 0.01 * iteration))
            for name in names
        }
        if iteration % 37 == 0:
            step["vgg"] = Reading(math.nan, 1.0)
        if 300 <= iteration < 310:
            step["l1"] = Reading(1.0, 0.0)
        if 240 <= iteration < 260:
            step["gan"] = Reading(1.0, 1e-3)
        trace.append(step)
    return trace


TRACE = _trace()
SIGNALS = ["gradient", "loss_ratio", "loss_velocity"]


def fresh(signal: str, **options: Any) -> DynamicLossScheduler:
    settings = {"baseline_iterations": 20, "adaptation_threshold": 0.01, "target_ratio_range": [0.7, 1.4]}
    if signal == "gradient":
        settings["target"] = "auto"
    return new_scheduler(
        ROLES,
        weights={"gan": 0.1},
        total_iter=LENGTH,
        auto_calibrate=True,
        signal=signal,
        **{**settings, **options},
    )


def go(scheduler: DynamicLossScheduler, first: int, last: int) -> list[Step]:
    return [
        scheduler.step(i, TRACE[i - 1], 0.9 if scheduler.wants_complexity else None) for i in range(first, last + 1)
    ]


UNINTERRUPTED = {signal: go(fresh(signal), 1, LENGTH) for signal in SIGNALS}


def through_checkpoint(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save({"losses": state}, file)
    file.seek(0)
    return torch.load(file, weights_only=True)["losses"]


def through_json(state: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(state, allow_nan=False))


def test_the_trace_has_everything_that_state_is_for():
    kinds = {d.kind for step in UNINTERRUPTED["gradient"] for d in step.decisions}
    assert kinds == {"calibrated", "dataset", "guard_rail", "raised", "phase", "corrected", "recovered", "nonfinite"}
    for signal in SIGNALS:
        last = UNINTERRUPTED[signal][-1]
        assert any(multiplier != 1 for multiplier in last.multipliers.values())


@settings(max_examples=50, deadline=None)
@given(
    signal=st.sampled_from(SIGNALS),
    cut=st.integers(0, LENGTH - 1),
    saved=st.sampled_from([through_checkpoint, through_json]),
)
def test_resumed_at_any_iteration_the_rest_is_identical(signal, cut, saved):
    interrupted = fresh(signal)
    go(interrupted, 1, cut)
    resumed = fresh(signal)
    resumed.load_state_dict(saved(interrupted.state_dict()))
    assert resumed.state_dict() == interrupted.state_dict()
    assert go(resumed, cut + 1, LENGTH) == UNINTERRUPTED[signal][cut:]


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("cut", [0, 1, 10, 20, 30, 41, 42, 74, 90, 149, 160, 175, 215, 225, 245, 305, 335, 336])
def test_resumed_at_the_delicate_moments(signal, cut):
    """In the window, at its end, while easing in, around a phase, after a skip, in cool-downs, while frozen."""
    interrupted = fresh(signal)
    go(interrupted, 1, cut)
    resumed = fresh(signal)
    resumed.load_state_dict(through_checkpoint(interrupted.state_dict()))
    assert go(resumed, cut + 1, min(cut + 60, LENGTH)) == UNINTERRUPTED[signal][cut : cut + 60]


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_state_is_a_snapshot(signal):
    """It neither changes with the scheduler it came from nor with the one it went into."""
    scheduler = fresh(signal)
    go(scheduler, 1, 100)
    state = scheduler.state_dict()
    copy = through_json(state)
    go(scheduler, 101, 250)
    other = fresh(signal)
    other.load_state_dict(state)
    go(other, 101, 250)
    assert state == copy
    assert other.state_dict() == scheduler.state_dict()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"roles": {"l1": "pixel", "ssim": "structural"}}, "its recipe was"),
        ({"weights": {"vgg": 0.1}}, "its recipe was"),
        ({"signal": "loss_ratio"}, "its signal was loss_ratio, now it is gradient"),
        ({"target": "weights"}, "its target was weights, now it is baseline"),
        ({"target": {"l1": 1, "vgg": 1, "style": 1, "gan": 1}}, "its target was {'l1': 1.0"),
        ({"roles": {**ROLES, "gan": "perceptual"}}, "its roles was"),
        ({"share_floor": 0.1}, "its share_floor was 0.1, now it is 0.0"),
    ],
)
def test_a_state_of_a_differently_configured_scheduler_is_refused_and_changes_nothing(change, what):
    scheduler = new_scheduler(ROLES)
    run(scheduler, constant(l1=1, vgg=2, style=3, gan=1), 50)
    before = through_json(scheduler.state_dict())
    other = new_scheduler(**{"roles": ROLES, **change})
    with pytest.raises(ForeignStateError, match=re.escape(what)):
        scheduler.load_state_dict(other.state_dict())
    assert scheduler.state_dict() == before


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"prefer": "balanced"}),
        ({}, {"share_floor": 0.02}),
        ({"adversarial_share": 0.03}, {"typical_shares": {"adversarial": 0.03}}),
        ({"target": "baseline"}, {"target": "baseline", "share_ceiling": 1}),
    ],
)
def test_the_same_in_other_words_goes_on(before, after):
    """A default that is written out, or an option by its new name, changes nothing in force."""
    state = new_scheduler(ROLES, auto_calibrate=True, **before).state_dict()
    new_scheduler(ROLES, auto_calibrate=True, **after).load_state_dict(state)
    with pytest.raises(ForeignStateError, match=r"its (typical_shares|share_floor|target) was"):
        new_scheduler(ROLES, auto_calibrate=True, prefer="fidelity").load_state_dict(state)


def test_a_state_of_another_version_is_refused():
    scheduler = new_scheduler(ROLES)
    state = scheduler.state_dict()
    with pytest.raises(ForeignStateError, match=rf"saved by another version of it \(1, now {state['version']}\)"):
        scheduler.load_state_dict({**state, "version": 1})


def test_a_state_holds_plain_values_only():
    def check(value: object) -> None:
        if isinstance(value, dict):
            assert all(type(key) is str for key in value)
            list(map(check, value.values()))
        elif isinstance(value, list):
            list(map(check, value))
        else:
            assert value is None or type(value) in (int, float, str, bool)
            assert not isinstance(value, float) or math.isfinite(value)

    for signal in SIGNALS:
        scheduler = fresh(signal)
        go(scheduler, 1, LENGTH)
        check(scheduler.state_dict())
