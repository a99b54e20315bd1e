"""Adversarial losses and penalties: a largest share of each step and a smallest one, no target and no window."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_runs import Roles, constant, new_scheduler, readings, run, shares

from paragon_plugin.scheduling import Reading
from paragon_plugin.scheduling.options import WISHES
from paragon_plugin.scheduling.roles import TYPICAL_SHARES

ROLES: Roles = {"l1": "pixel", "vgg": "perceptual", "gan": "adversarial"}
FAST = {"baseline_iterations": 20, "momentum": 0.8, "adaptation_threshold": 0}
EXPLICIT = {"l1": 0.5, "vgg": 0.47, "gan": 0.03}
CEILING = TYPICAL_SHARES["balanced"]["adversarial"]
FLOOR = CEILING / 2
PIXEL, PERCEPTUAL = TYPICAL_SHARES["balanced"]["pixel"], TYPICAL_SHARES["balanced"]["perceptual"]
PENALTY = TYPICAL_SHARES["balanced"]["regularization"]


# -- the ceiling -------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    scale=st.sampled_from([1e-3, 1.0, 1e3, 1e6]),
    noise=st.sampled_from([0.0, 0.5, 2.0]),
    start=st.integers(1, 60),
    wish=st.sampled_from(WISHES),
)
def test_under_auto_the_share_is_under_its_ceiling_at_every_step(seed, scale, noise, start, wish):
    source = random.Random(seed)
    scheduler = new_scheduler(ROLES, weights={"gan": 0.05}, auto_calibrate=True, prefer=wish, **FAST)

    def norms(iteration: int) -> dict[str, float]:
        present = {"l1": 1.0, "vgg": 2.0} | ({"gan": scale} if iteration >= start else {})
        return {name: norm * math.exp(source.gauss(0, noise)) for name, norm in present.items()}

    for step in run(scheduler, norms, 150)[start - 1 :]:
        assert step.shares["gan"] <= TYPICAL_SHARES[wish]["adversarial"] * (1 + 1e-9)
        assert step.factors["gan"] <= 100


@pytest.mark.parametrize("scale", [1e2, 1e5])
def test_a_gan_100_times_too_strong_is_held_at_its_ceiling(scale):
    norms = {"l1": PIXEL, "vgg": PERCEPTUAL, "gan": scale}
    for step in run(new_scheduler(ROLES, auto_calibrate=True), constant(**norms), 400):
        assert step.factors["gan"] < 1
        assert step.shares["gan"] == pytest.approx(CEILING, rel=1e-9)
        part = shares(step.factors, norms)
        assert part["l1"] / part["vgg"] == pytest.approx(PIXEL / PERCEPTUAL, rel=1e-6)  # the balance of the others


@pytest.mark.parametrize("share", [0.028, 0.033, 0.038])
def test_an_adversarial_loss_between_its_limits_is_left_exactly_alone(share):
    scale = share / (1 - share) * (PIXEL / 100 + 2)
    scheduler = new_scheduler(ROLES, auto_calibrate=True, total_iter=500)
    steps = run(scheduler, constant(l1=PIXEL / 100, vgg=2, gan=scale), 500)
    assert all(step.factors["gan"] == step.multipliers["gan"] == 1.0 for step in steps)
    assert steps[-1].factors["l1"] > 2  # while the others are balanced


# -- the floor ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefer", "tolerance"), [("fidelity", 2), ("balanced", 2), ("balanced", 1), ("perceptual", 4)]
)
def test_one_that_hardly_acts_is_raised_to_its_smallest_share(prefer, tolerance):
    least = TYPICAL_SHARES[prefer]["adversarial"] / tolerance
    scheduler = new_scheduler(ROLES, auto_calibrate=True, prefer=prefer, share_tolerance=tolerance)
    size = least / (1 - least) * 3 / 50
    found = [step.shares["gan"] for step in run(scheduler, constant(l1=1, vgg=2, gan=size), 300)]
    assert found == pytest.approx([least] * 300, rel=0.1)  # the others ease into their calibration
    assert found[-1] == pytest.approx(least, rel=1e-3)


@pytest.mark.parametrize("wrong", ["l1", "vgg"])
def test_beside_a_loss_100_times_too_large_it_keeps_acting(wrong):
    """The weights of the others were raised to the wrong one; the adversarial loss was left a hundredth of its part."""
    sizes = {"l1": PIXEL, "vgg": PERCEPTUAL, "gan": 0.04}
    sizes[wrong] *= 100
    steps = run(new_scheduler(ROLES, auto_calibrate=True), constant(**sizes), 600)
    assert steps[-1].shares["gan"] == pytest.approx(FLOOR, rel=1e-3)


@pytest.mark.parametrize("size", [1e-30, 1e-9, 1e-5])
def test_it_is_raised_by_100_at_most(size):
    for step in run(new_scheduler(ROLES, auto_calibrate=True), constant(l1=1, vgg=2, gan=size), 100):
        assert step.factors["gan"] == 100


def test_a_gradient_that_vanishes_for_a_step_is_not_raised():
    def norms(iteration: int) -> dict[str, float]:
        return {"l1": 1.0, "vgg": 1.5, "gan": {60: 1e-12, 80: 0.0}.get(iteration, 0.1)}

    steps = run(new_scheduler(ROLES, auto_calibrate=True), norms, 100)
    assert all(step.factors["gan"] == 1 for step in steps[:59])
    assert all(step.factors["gan"] < 4 for step in steps)  # its average says what is usual


def test_a_ramp_is_not_undone():
    scheduler = new_scheduler(ROLES, auto_calibrate=True)
    others = {"l1": Reading(1.0, PIXEL), "vgg": Reading(1.0, PERCEPTUAL)}
    for iteration in range(1, 200):
        step = scheduler.step(iteration, others | {"gan": Reading(1.0, 0.04, ramp=iteration / 200)})
        assert step.factors["gan"] == 1


def test_only_auto_raises_an_adversarial_loss():
    for options in ({"target": "baseline"}, {"target": "baseline", "share_ceiling": 0.9}, {"target": "weights"}):
        steps = run(new_scheduler(ROLES, weights={"gan": 1e-4}, **options, **FAST), constant(l1=1, vgg=2, gan=1e-5), 10)
        assert all(step.factors["gan"] == 1 for step in steps)


@pytest.mark.parametrize("role", ["adversarial", "regularization"])
def test_baseline_limits_these_losses_only_where_share_ceiling_is_written(role):
    roles: Roles = {"l1": "pixel", "vgg": "perceptual", "other": role}
    norms = constant(l1=1, vgg=2, other=1e4)
    free = run(new_scheduler(roles, target="baseline", **FAST), norms, 60)
    assert all(set(step.factors.values()) == {1.0} for step in free)
    held = run(new_scheduler(roles, target="baseline", share_ceiling=0.9, **FAST), norms, 60)
    assert all(step.shares["other"] == pytest.approx(0.9) for step in held)


def test_the_ceiling_is_an_option_by_role_and_the_deprecated_one_still_works():
    for options in ({"typical_shares": {"adversarial": 0.3}}, {"adversarial_share": 0.3}):
        steps = run(new_scheduler(ROLES, target="auto", **options, **FAST), constant(l1=1, vgg=2, gan=1e3), 50)
        assert all(step.shares["gan"] == pytest.approx(0.3) for step in steps)


def test_a_penalty_has_a_ceiling_of_its_own_and_is_never_raised():
    roles: Roles = {"l1": "pixel", "fft": "structural", "tv": "regularization"}
    for size in (1e-6, 1e-3, 1.0, 1e3):
        measured = size / (2 + size)
        for step in run(new_scheduler(roles, target="auto", **FAST), constant(l1=1, fft=1, tv=size), 60):
            assert step.shares["tv"] == pytest.approx(min(measured, PENALTY), rel=1e-6)
            assert step.factors["tv"] <= 1


# -- independent of the length of the run and of when the discriminator learns -----------------------------------------


def _learning(start: float, end: float, constant_of_time: float):
    """Share of an adversarial loss under constant weights while its discriminator learns."""

    def share(iteration: int) -> float:
        learnt = 1 - math.exp(-iteration / constant_of_time)
        return math.exp(math.log(start) + (math.log(end) - math.log(start)) * learnt)

    return share


def _norms(share):
    others = {"l1": PIXEL / (PIXEL + PERCEPTUAL), "vgg": PERCEPTUAL / (PIXEL + PERCEPTUAL)}
    return lambda i: others | {"gan": share(i) / (1 - share(i))}


@pytest.mark.parametrize("constant_of_time", [150, 2000])
@pytest.mark.parametrize("start", [1e-4, 1e-3, 0.3])
@pytest.mark.parametrize("total", [250, 700, 3000])
@pytest.mark.parametrize("end", [0.001, 0.05, 0.4])
def test_the_share_depends_neither_on_total_iter_nor_on_when_the_discriminator_learns(
    total, start, constant_of_time, end
):
    share = _learning(start, end, constant_of_time)
    scheduler = new_scheduler(ROLES, total_iter=total, auto_calibrate=True)
    for iteration, step in enumerate(run(scheduler, _norms(share), min(total, 700)), start=1):
        asked = share(iteration)
        within_reach = 100 * asked / (100 * asked + 1 - asked)
        rule = min(max(asked, min(FLOOR, within_reach)), CEILING)
        assert rule / 1.5 <= step.shares["gan"] <= min(rule * 2, CEILING * (1 + 1e-9))
        if asked >= CEILING:
            assert step.shares["gan"] == pytest.approx(CEILING, rel=1e-9)


@pytest.mark.parametrize(("start", "constant_of_time"), [(1e-4, 2000), (0.3, 200)])
@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"auto_calibrate": True}, min(0.2, CEILING)),
        ({"target": "baseline"}, 0.2),
        ({"auto_calibrate": True, "target": {"l1": 0.3, "vgg": 0.65, "gan": 0.05}}, 0.05),
    ],
)
def test_after_20000_iterations_the_share_is_what_the_rule_says(start, constant_of_time, options, rule):
    share = _learning(start, 0.2, constant_of_time)
    scheduler = new_scheduler(ROLES, total_iter=20_000, size="s", **options)
    # Past the transient every tenth will do: nothing changes any more, and tests are to be fast.
    iterations = [*range(1, 4001), *range(4010, 20_001, 10)]
    (last,) = [scheduler.step(i, readings(_norms(share)(i))) for i in iterations][-1:]
    assert rule / 1.5 <= last.shares["gan"] <= rule * 1.5


# -- shares by number --------------------------------------------------------------------------------------------------


def test_what_the_user_asks_for_by_number_is_a_target_and_may_be_raised():
    steps = run(new_scheduler(ROLES, target=EXPLICIT, **FAST), constant(l1=1, vgg=2, gan=1e-4), 200)
    assert steps[-1].shares == pytest.approx(EXPLICIT, rel=1e-6)


@pytest.mark.parametrize("target", ["weights", EXPLICIT])
def test_a_share_by_number_is_exceeded_at_no_step_by_more_than_half(target):
    source = random.Random(0)

    def norms(iteration: int) -> dict[str, float]:
        growth = 1e-4 if iteration < 40 else 1e4
        return {"l1": 1.0, "vgg": 2.0, "gan": growth * math.exp(source.gauss(0, 1))}

    scheduler = new_scheduler(ROLES, weights={"l1": 0.5, "vgg": 0.47, "gan": 0.03}, target=target, **FAST)
    assert max(step.shares["gan"] for step in run(scheduler, norms, 200)) <= 0.045 * (1 + 1e-9)


# -- what is told ------------------------------------------------------------------------------------------------------


def test_the_limit_is_told_once_when_it_begins():
    room = CEILING / (1 - CEILING) * 3
    steps = run(new_scheduler(ROLES, target="auto", **FAST), constant(l1=1, vgg=2, gan=10 * room), 50)
    (decision,) = [d for step in steps for d in step.decisions if d.kind == "guard_rail"]
    assert decision.iteration == 1
    assert decision.losses == ("gan",)
    assert decision.reason == f"gan would exceed {100 * CEILING:g} % of the update; held there (x 0.1)"
    assert decision.after["limit"] == pytest.approx(0.1)


def test_the_floor_is_told_once_when_it_begins():
    steps = run(new_scheduler(ROLES, target="auto", **FAST), constant(l1=1, vgg=2, gan=FLOOR / (1 - FLOOR) * 0.3), 80)
    (decision,) = [d for step in steps for d in step.decisions if d.kind == "raised"]
    assert decision.iteration == 1
    assert decision.reason == "gan would have 0.26 % of the update on average; raised towards 2.5 % (x 10)"
    assert decision.after["limit"] == pytest.approx(10)


def test_a_limit_that_hardly_acts_is_not_told():
    for share in (CEILING * 1.04, FLOOR / 1.04):
        steps = run(new_scheduler(ROLES, target="auto", **FAST), constant(l1=2, vgg=3, gan=5 * share / (1 - share)), 50)
        assert steps[-1].factors["gan"] == pytest.approx(1, abs=0.06)
        assert steps[-1].factors["gan"] != 1
        assert not [d for step in steps for d in step.decisions if d.losses == ("gan",)]


def test_a_noisy_loss_at_the_limit_is_told_again_only_after_a_window_of_freedom():
    def norms(iteration: int) -> dict[str, float]:
        return {"l1": 1.0, "vgg": 2.0, "gan": 27.0 if iteration in {1, 3, 5, 24, 50} else 0.1}

    steps = run(new_scheduler(ROLES, target="auto", **FAST), norms, 60)
    told = [d.iteration for step in steps for d in step.decisions if d.kind == "guard_rail"]
    assert told == [1, 50]  # 5 to 24 are 19 iterations, 24 to 50 are 26, the window is 20


# -- several adversarial losses ----------------------------------------------------------------------------------------

TWO: Roles = {**ROLES, "fm": "adversarial"}


def test_two_share_the_ceiling_and_one_that_asks_for_little_keeps_it():
    room = CEILING / (1 - CEILING) * 3
    big = run(new_scheduler(TWO, target="auto", **FAST), constant(l1=1, vgg=2, gan=10, fm=30), 60)[-1]
    assert [big.shares["gan"], big.shares["fm"]] == pytest.approx([CEILING / 2] * 2)
    small = run(new_scheduler(TWO, target="auto", **FAST), constant(l1=1, vgg=2, gan=room / 10, fm=1e6), 60)[-1]
    assert small.factors["gan"] == 1.0
    assert small.shares["gan"] + small.shares["fm"] == pytest.approx(CEILING)


def test_one_that_starts_later_is_under_the_same_ceiling_from_its_first_step():
    def norms(iteration: int) -> dict[str, float]:
        return {"l1": 1.0, "vgg": 2.0, "gan": 0.078} | ({"fm": 1e4} if iteration >= 150 else {})

    steps = run(new_scheduler(TWO, target="auto", **FAST), norms, 300)
    assert all(step.factors["gan"] == 1.0 for step in steps)
    for step in steps[149:]:
        assert step.shares["gan"] + step.shares["fm"] == pytest.approx(CEILING)


# -- beside whom -------------------------------------------------------------------------------------------------------


def test_only_adversarial_losses_are_not_limited():
    steps = run(new_scheduler({"gan": "adversarial"}, target="auto", **FAST), constant(gan=7), 120)
    assert all(step.factors == {"gan": 1.0} for step in steps)


def test_an_adversarial_loss_that_is_there_first_is_limited_once_another_is():
    def norms(iteration: int) -> dict[str, float]:
        return {"gan": 5.0} if iteration < 200 else {"gan": 5.0, "l1": 1.0}

    steps = run(new_scheduler({"gan": "adversarial", "l1": "pixel"}, target="auto", **FAST), norms, 300)
    assert steps[198].factors["gan"] == 1.0
    assert all(step.shares["gan"] == pytest.approx(CEILING) for step in steps[199:])


def test_the_limit_counts_losses_that_are_still_rising_with_what_they_make_now():
    """Beside an L1 loss at a hundredth of its weight the adversarial one must not have ten times its share."""
    scheduler = new_scheduler({"l1": "pixel", "gan": "adversarial"}, target="auto", baseline_iterations=20)
    for iteration in range(1, 200):
        ramp = min(1.0, 0.01 * iteration)
        step = scheduler.step(iteration, {"l1": Reading(1.0, 1.0, ramp), "gan": Reading(1.0, 1.0)})
        in_force = {"l1": ramp * step.factors["l1"], "gan": step.factors["gan"]}
        assert in_force["gan"] / sum(in_force.values()) <= CEILING + 1e-9
        assert step.shares["gan"] == pytest.approx(in_force["gan"] / sum(in_force.values()))
