"""Limits on adversarial losses: from the first step, while easing in, and for good."""

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_runs import Roles, constant, new_scheduler, run, shares

from paragon_plugin.scheduling import Reading

ROLES: Roles = {"l1": "pixel", "vgg": "perceptual", "gan": "adversarial"}
FAST = {"baseline_iterations": 20, "momentum": 0.8, "adaptation_threshold": 0}
EXPLICIT = {"l1": 0.5, "vgg": 0.47, "gan": 0.03}


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    scale=st.sampled_from([1e-3, 1.0, 1e3, 1e6]),
    noise=st.sampled_from([0.0, 0.5, 2.0]),
    start=st.integers(1, 60),
    target=st.sampled_from(["auto", "baseline", "weights", EXPLICIT]),
)
def test_the_share_never_exceeds_the_limit_from_the_first_step_until_settled_and_under_auto_ever(
    seed, scale, noise, start, target
):
    source = random.Random(seed)
    scheduler = new_scheduler(ROLES, weights={"gan": 0.05}, target=target, **FAST)

    def norms(iteration: int) -> dict[str, float]:
        present = {"l1": 1.0, "vgg": 2.0} | ({"gan": scale} if iteration >= start else {})
        return {name: norm * math.exp(source.gauss(0, noise)) for name, norm in present.items()}

    steps = run(scheduler, norms, 200)
    settled = start + 3 * 20 - 1  # two windows of waiting, then its own
    until = 200 if target == "auto" else settled - 1
    for step in steps[start - 1 : until]:
        assert step.shares["gan"] <= 0.1 * (1 + 1e-9)
    if target in ("weights", EXPLICIT):  # their target is below the limit: it stands while they ease in, too
        for step in steps[settled - 1 : settled + 19]:
            assert step.shares["gan"] <= 0.1 * (1 + 1e-9)


def test_settling_waits_two_windows_before_its_own():
    scheduler = new_scheduler(ROLES, target="auto", **FAST)
    steps = run(scheduler, constant(l1=1, vgg=2, gan=0.1), 100)
    when = {d.losses[0]: d.iteration for step in steps for d in step.decisions if d.kind == "calibrated"}
    assert when == {"l1": 20, "vgg": 20, "gan": 60}


def test_readings_from_before_settling_do_not_count():
    def norms(iteration: int) -> dict[str, float]:
        return {"l1": 1.0, "vgg": 2.0, "gan": 1e-5 if iteration <= 40 else 0.1}

    steps = run(new_scheduler(ROLES, target="baseline", share_floor=0, **FAST), norms, 100)
    (decision,) = [d for step in steps for d in step.decisions if d.losses == ("gan",)]
    assert decision.before["share"] == pytest.approx(0.1 / 3.1, rel=1e-6)


def test_a_loss_that_vanishes_while_it_should_be_measured_waits_for_half_a_window_of_readings():
    def norms(iteration: int) -> dict[str, float]:
        return {"l1": 1.0, "vgg": 2.0, "gan": 0.0 if 40 < iteration <= 80 else 0.1}

    steps = run(new_scheduler(ROLES, target="auto", **FAST), norms, 120)
    when = {d.losses[0]: d.iteration for step in steps for d in step.decisions if d.kind == "calibrated"}
    assert when == {"l1": 20, "vgg": 20, "gan": 90}


def test_auto_brings_a_gan_100_times_too_strong_to_its_cap_and_keeps_the_balance_of_the_others():
    norms = {"l1": 1.0, "vgg": 2.0, "gan": 10.0}
    steps = run(new_scheduler(ROLES, target="auto", **FAST), constant(**norms), 100)
    # l1 to vgg is 1 : 2, which is near enough to 0.25 : 0.65
    assert steps[-1].shares == pytest.approx({"l1": 0.95 / 3, "vgg": 0.95 * 2 / 3, "gan": 0.05}, abs=1e-6)
    assert steps[0].shares["gan"] == pytest.approx(0.1)
    for step in steps[40:]:
        part = shares(step.factors, norms)
        assert part["l1"] / part["vgg"] == pytest.approx(1 / 2, rel=1e-6)


def test_calibration_raises_an_adversarial_loss_at_most_10_fold():
    # Its target of 4 % would take a factor of 61.
    steps = run(new_scheduler(ROLES, target="auto", **FAST), constant(l1=1, vgg=2, gan=0.001), 400)
    assert max(step.factors["gan"] for step in steps) == pytest.approx(10)
    assert steps[-1].shares["gan"] == pytest.approx(0.01 / 3.01, rel=1e-6)


@pytest.mark.parametrize(("limit", "rule", "expected"), [(3, "auto", 3), (1, "auto", 1), (3, "baseline", 3)])
def test_the_largest_calibration_upwards_is_an_option(limit, rule, expected):
    scheduler = new_scheduler(ROLES, target=rule, adversarial_max_calibration=limit, **FAST)
    assert run(scheduler, constant(l1=1, vgg=2, gan=0.001), 200)[-1].factors["gan"] == pytest.approx(expected)


def test_what_the_user_asks_for_by_number_is_not_limited_upwards():
    steps = run(new_scheduler(ROLES, target=EXPLICIT, **FAST), constant(l1=1, vgg=2, gan=1e-4), 200)
    assert steps[-1].shares["gan"] == pytest.approx(0.03, rel=1e-6)


@pytest.mark.parametrize("scale", [1e2, 1e5])
def test_calibration_lowers_an_adversarial_loss_by_any_amount(scale):
    steps = run(new_scheduler(ROLES, target="auto", **FAST), constant(l1=1, vgg=2, gan=scale), 100)
    assert steps[-1].shares["gan"] == pytest.approx(0.05, rel=1e-6)


def test_a_held_loss_eases_on_from_where_it_was_held():
    steps = run(new_scheduler(ROLES, target="auto", **FAST), constant(l1=1, vgg=2, gan=1e6), 100)
    held = [step.shares["gan"] for step in steps[39:80]]
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(held))  # from 10 % down to 5 %, never back up


def test_a_larger_share_asked_for_under_auto_is_reached():
    scheduler = new_scheduler(ROLES, target="auto", adversarial_share=0.3, typical_shares={"adversarial": 0.3}, **FAST)
    steps = run(scheduler, constant(l1=1, vgg=2, gan=1e3), 100)
    assert max(step.shares["gan"] for step in steps[:60]) <= 0.1 * (1 + 1e-9)
    assert steps[-1].shares["gan"] == pytest.approx(0.3, rel=1e-6)


def test_an_explicit_share_above_the_limit_is_reached_without_a_jump():
    target = {"l1": 0.4, "vgg": 0.3, "gan": 0.3}
    steps = run(new_scheduler(ROLES, target=target, **FAST), constant(l1=1, vgg=2, gan=1e3), 120)
    assert steps[-1].shares == pytest.approx(target, rel=1e-6)
    part = [step.shares["gan"] for step in steps]
    assert max(abs(a - b) for a, b in itertools.pairwise(part)) < 0.03


def test_the_limit_is_told_once_when_it_begins():
    steps = run(new_scheduler(ROLES, target="auto", **FAST), constant(l1=1, vgg=2, gan=27), 50)
    (decision,) = [d for step in steps for d in step.decisions if d.kind == "guard_rail"]
    assert decision.iteration == 1
    assert decision.losses == ("gan",)
    # 0.1 / 0.9 * 3 / 27 = 0.0123
    assert decision.reason == "gan would exceed 10 % of the update; held there (x 0.0123)"
    assert decision.after["limit"] == pytest.approx(1 / 81)


def test_a_noisy_loss_at_the_limit_is_told_again_only_after_a_window_of_freedom():
    def norms(iteration: int) -> dict[str, float]:
        return {"l1": 1.0, "vgg": 2.0, "gan": 27.0 if iteration in {1, 3, 5, 24, 50} else 0.1}

    steps = run(new_scheduler(ROLES, target="auto", **FAST), norms, 60)
    told = [d.iteration for step in steps for d in step.decisions if d.kind == "guard_rail"]
    assert told == [1, 50]  # 5 to 24 are 19 iterations, 24 to 50 are 26, the window is 20
    assert all(step.shares["gan"] <= 0.1 * (1 + 1e-9) for step in steps)


# -- several adversarial losses ----------------------------------------------------------------------------------------

TWO: Roles = {**ROLES, "fm": "adversarial"}


def test_two_that_start_together_share_the_limit_and_the_cap():
    norms = {"l1": 1.0, "vgg": 2.0, "gan": 10.0, "fm": 30.0}
    steps = run(new_scheduler(TWO, target="auto", **FAST), constant(**norms), 100)
    for step in steps:
        assert step.shares["gan"] + step.shares["fm"] <= 0.1 * (1 + 1e-9)
        assert step.factors["gan"] == pytest.approx(step.factors["fm"])
    assert steps[-1].shares["gan"] == pytest.approx(0.0125, rel=1e-6)
    assert steps[-1].shares["fm"] == pytest.approx(0.0375, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e4])
def test_a_second_one_that_starts_later_does_not_crush_the_first_and_joins_under_the_same_cap(scale):
    def norms(iteration: int) -> dict[str, float]:
        present = {"l1": 1.0, "vgg": 2.0, "gan": 1.0}
        return present | {"fm": scale} if iteration >= 150 else present

    steps = run(new_scheduler(TWO, target="auto", adaptation_rate=0.05, **FAST), norms, 600)
    settled = steps[148].factors["gan"]
    for step in steps[149:208]:  # until the second has its baseline
        assert step.factors["gan"] == pytest.approx(settled, rel=1e-9)
        assert step.shares["gan"] + step.shares["fm"] <= 0.1 * (1 + 1e-9)
    assert steps[-1].shares["gan"] + steps[-1].shares["fm"] <= 0.05 * (1 + 1e-6)
    assert min(steps[-1].shares.values()) > 0
    part = shares({name: steps[-1].factors[name] for name in ROLES}, {"l1": 1, "vgg": 2, "gan": 1})
    assert part["l1"] / part["vgg"] == pytest.approx(1 / 2, rel=1e-6)


def test_a_larger_share_asked_for_under_auto_is_not_for_those_without_a_baseline():
    def norms(iteration: int) -> dict[str, float]:
        present = {"l1": 1.0, "vgg": 2.0, "gan": 1e-3}
        return present | {"fm": 1e4} if iteration >= 150 else present

    steps = run(new_scheduler(TWO, target="auto", adversarial_share=0.4, **FAST), norms, 208)
    assert 0.09 < max(step.shares["fm"] for step in steps[149:208]) <= 0.1 * (1 + 1e-9)


def test_only_adversarial_losses_are_not_limited():
    steps = run(new_scheduler({"gan": "adversarial"}, target="auto", **FAST), constant(gan=7), 120)
    assert all(step.factors == {"gan": 1.0} for step in steps)


def test_an_adversarial_loss_that_is_there_first_becomes_the_small_one():
    def norms(iteration: int) -> dict[str, float]:
        return {"gan": 5.0} if iteration < 200 else {"gan": 5.0, "l1": 1.0}

    scheduler = new_scheduler({"gan": "adversarial", "l1": "pixel"}, target="auto", adaptation_rate=0.1, **FAST)
    steps = run(scheduler, norms, 500)
    assert steps[-1].shares["gan"] == pytest.approx(0.05, rel=1e-6)


def test_the_limit_counts_losses_that_are_still_rising_with_what_they_make_now():
    """Beside an L1 loss at a hundredth of its weight the adversarial one must not have ten times its share."""
    scheduler = new_scheduler({"l1": "pixel", "gan": "adversarial"}, target="auto", baseline_iterations=20)
    for iteration in range(1, 200):
        ramp = min(1.0, 0.01 * iteration)
        step = scheduler.step(iteration, {"l1": Reading(1.0, 1.0, ramp), "gan": Reading(1.0, 1.0)})
        in_force = {"l1": ramp * step.factors["l1"], "gan": step.factors["gan"]}
        assert in_force["gan"] / sum(in_force.values()) <= 0.1 + 1e-9
        assert step.shares["gan"] == pytest.approx(in_force["gan"] / sum(in_force.values()))
