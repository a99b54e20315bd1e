"""Invariants of the multipliers over random traces with NaN, infinity, zeros and spikes."""

import copy
import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_runs import Roles, new_scheduler, readings

from paragon_plugin.scheduling import DynamicLossScheduler, NonFiniteLossError, Reading

ROLES: Roles = {"l1": "pixel", "ssim": "structural", "vgg": "perceptual", "gan": "adversarial", "fm": "adversarial"}
LARGEST, SMALLEST = 3e38, 1e-45
"""Of float32, in which readings are taken."""

_blocks = st.fixed_dictionaries(
    {"signal": st.sampled_from(["gradient", "loss_ratio", "loss_velocity"])},
    optional={
        "auto_calibrate": st.booleans(),
        "momentum": st.sampled_from([0.0, 0.5, 0.99]),
        "adaptation_rate": st.sampled_from([0.001, 0.03, 1.0]),
        "adaptation_threshold": st.sampled_from([0.0, 0.01, 0.5]),
        "min_weight": st.sampled_from([1e-6, 0.5, 1.0]),
        "max_weight": st.sampled_from([1.0, 2.0, 1e6]),
        "baseline_iterations": st.sampled_from([1, 5, 20]),
        "share_floor": st.sampled_from([0.0, 0.1]),
    },
)


def _scheduler(block, target, total_iter: int) -> DynamicLossScheduler:
    if block["signal"] == "gradient":
        block = {**block, "target": target}
    weights = {"ssim": -0.5, "gan": 0.1}
    return new_scheduler(ROLES, weights=weights, total_iter=total_iter, max_nonfinite_steps=10**6, **block)


def _trace(seed: int, length: int, wildness: float) -> list[dict[str, Reading]]:
    """Drifting noisy readings with late starts, pauses, jumps, and every kind of poison."""
    source = random.Random(seed)
    start = {name: source.choice([1, 1, source.randint(1, length)]) for name in ROLES}
    scale = {name: 10 ** source.uniform(-4, 4) for name in ROLES}
    poison = [0.0, 0.0, 1e-30, SMALLEST, LARGEST, 1e20, math.nan, math.inf, -math.inf]
    trace = []
    for iteration in range(1, length + 1):
        step = {}
        for name in ROLES:
            scale[name] *= math.exp(source.gauss(0, 0.05))
            if source.random() < 0.005 * wildness:
                scale[name] *= 10 ** source.uniform(-3, 3)
            numbers = [scale[name] * math.exp(source.gauss(0, 0.3)) for _ in range(2)]
            if source.random() < 0.02 * wildness:
                numbers[source.randint(0, 1)] = source.choice(poison)
            value, norm = numbers
            norm = abs(norm) if not math.isnan(norm) else norm
            if iteration >= start[name] and source.random() > 0.02 * wildness:
                step[name] = Reading(value * source.choice([1, 1, -1]), norm)
        trace.append(step)
    return trace


@settings(max_examples=80, deadline=None)
@given(
    block=_blocks,
    target=st.sampled_from(["auto", "baseline", "weights", dict.fromkeys(ROLES, 1.0)]),
    seed=st.integers(0, 2**32),
    wildness=st.sampled_from([0.0, 1.0, 4.0]),
)
def test_bounds_rate_limit_dead_band_and_skips(block, target, seed, wildness):
    total_iter = 250
    scheduler = _scheduler(block, target, total_iter)
    before = dict.fromkeys(ROLES, 1.0)
    counters = ("nonfinite_in_a_row", "nonfinite_total")
    for iteration, step_readings in enumerate(_trace(seed, total_iter, wildness), start=1):
        state = scheduler.state_dict()
        step = scheduler.step(iteration, step_readings, complexity=0.5 if scheduler.wants_complexity else None)
        finite = all(math.isfinite(r.value) and math.isfinite(r.gradient_norm) for r in step_readings.values())
        assert step.skip == (not finite)
        if step.skip:
            after = scheduler.state_dict()
            assert {k: v for k, v in after.items() if k not in counters} == {
                k: v for k, v in state.items() if k not in counters
            }
            assert after["nonfinite_total"] == state["nonfinite_total"] + 1
            assert step.factors == {}
            continue
        parameters = step.parameters
        assert 0 <= parameters.momentum < 1
        assert 0 < parameters.adaptation_rate <= 1
        assert 0 < parameters.min_weight <= 1 <= parameters.max_weight
        assert set(step.factors) == set(step.multipliers) == set(step.shares) == set(step_readings)
        assert all(math.isfinite(factor) and factor > 0 for factor in step.factors.values())
        assert all(0 <= share <= 1 for share in step.shares.values())
        for name, multiplier in step.multipliers.items():
            assert parameters.min_weight <= multiplier <= parameters.max_weight
            move = abs(math.log(multiplier / before[name]))
            if len(step_readings) == len(ROLES):
                assert move <= math.log1p(parameters.adaptation_rate) * (1 + 1e-9)
            at_bound = multiplier in (parameters.min_weight, parameters.max_weight)
            if move > 0 and not at_bound:
                room = math.log1p(parameters.adaptation_rate)
                if block["signal"] == "loss_velocity":
                    assert move == pytest.approx(0.1 * room, rel=1e-6)
                else:  # what moves at all was farther away than the dead band
                    assert move >= min(room, math.log1p(parameters.adaptation_threshold)) * (1 - 1e-6)
            before[name] = multiplier


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), block=_blocks)
def test_a_skipped_step_leaves_the_future_as_if_it_had_never_been(seed, block):
    source = random.Random(seed)
    one = _scheduler(block, "auto", 250)
    other = _scheduler(block, "auto", 250)
    for iteration, clean in enumerate(_trace(seed, 80, 0.0), start=1):
        if clean and source.random() < 0.3:
            broken = copy.copy(clean)
            name = source.choice(list(clean))
            broken[name] = Reading(*source.choice([(math.nan, 1.0), (1.0, math.nan), (math.inf, 1.0), (1.0, math.inf)]))
            assert other.step(iteration, broken, 0.5).skip
        first, second = one.step(iteration, clean, 0.5), other.step(iteration, clean, 0.5)
        assert first == second


def test_a_phase_change_on_a_skipped_step_is_still_told_in_full():
    scheduler = new_scheduler({"l1": "pixel", "vgg": "perceptual"}, total_iter=1000, auto_calibrate=True)
    for iteration in range(1, 100):
        scheduler.step(iteration, readings({"l1": 1.0, "vgg": 1.0}))
    assert scheduler.step(100, {"l1": Reading(math.nan, 1.0), "vgg": Reading(1.0, 1.0)}).skip
    (decision,) = scheduler.step(101, readings({"l1": 1.0, "vgg": 1.0})).decisions
    assert decision.kind == "phase"
    assert decision.after["max_weight"] == pytest.approx(2 * decision.before["max_weight"])


def test_nonfinite_steps_are_told_counted_and_end_the_run():
    scheduler = new_scheduler({"l1": "pixel", "vgg": "perceptual"}, max_nonfinite_steps=3)
    broken = {"l1": Reading(1.0, 1.0), "vgg": Reading(1.0, math.nan)}
    good = readings({"l1": 1.0, "vgg": 1.0})
    # A good step in between starts the count afresh.
    *_, step = [scheduler.step(3, given) for given in (good, broken, broken, good, broken, broken)]
    (decision,) = step.decisions
    assert (decision.kind, decision.losses, decision.iteration) == ("nonfinite", ("vgg",), 3)
    assert decision.reason == "vgg gave NaN or infinity; step skipped (2 in a row, stops at 3)"
    with pytest.raises(NonFiniteLossError, match=r"^vgg gave NaN or infinity for 3 steps in a row") as error:
        scheduler.step(4, broken)
    assert error.value.names == ("vgg",)
    assert scheduler.nonfinite_total == 5


def test_a_complexity_that_is_no_number_is_not_taken_in():
    scheduler = new_scheduler(
        {"l1": "pixel"}, auto_calibrate=True, baseline_iterations=3, complexity_cutoffs=[0.3, 0.6]
    )
    for iteration, score in enumerate([0.9, math.nan, 0.9, math.inf, 0.9], start=1):
        scheduler.step(iteration, readings({"l1": 1.0}), score)
    assert scheduler.auto.complexity.decided == "complex"
    assert scheduler.auto.complexity.mean == pytest.approx(0.9)


def test_the_upper_bound_shrinks_no_faster_than_the_rate_and_takes_multipliers_along():
    scheduler = new_scheduler(
        {"l1": "pixel", "vgg": "perceptual"},
        total_iter=2000,
        auto_calibrate=True,
        target={"l1": 0.5, "vgg": 0.5},
        baseline_iterations=10,
        adaptation_rate=0.02,
        adaptation_threshold=0,
    )

    def step(iteration: int, value: float):
        norms = {"l1": 1.0, "vgg": 1.0 if iteration < 300 else 30.0}
        return scheduler.step(iteration, {name: Reading(value, norm) for name, norm in norms.items()})

    calm = [step(iteration, 1.0) for iteration in range(1, 600)]
    assert calm[-1].multipliers["l1"] == calm[-1].parameters.max_weight == 5.0
    shaken = [step(iteration, 100.0 if iteration % 21 in (0, 2, 4) else 1.0) for iteration in range(600, 700)]
    bounds = [s.parameters.max_weight for s in [calm[-1], *shaken]]
    assert bounds[-1] < 3
    assert all(b >= a / 1.02 - 1e-12 for a, b in itertools.pairwise(bounds))
    assert all(s.multipliers["l1"] == s.parameters.max_weight for s in shaken)
