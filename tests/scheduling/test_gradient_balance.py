"""Signal `gradient` against closed forms: constant, drifting and noisy norms of known size."""

import itertools
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_runs import Roles, constant, new_scheduler, readings, run, shares

from paragon_plugin.scheduling.options import WISHES, Role
from paragon_plugin.scheduling.roles import TYPICAL_SHARES

PIXEL_AND_VGG: Roles = {"l1": "pixel", "vgg": "perceptual"}
THREE: Roles = {"l1": "pixel", "ssim": "structural", "vgg": "perceptual"}
FAST = {"baseline_iterations": 20, "momentum": 0.5, "adaptation_threshold": 0}
TYPICAL: dict[str, Any] = {"typical_shares": {"pixel": 0.25, "structural": 0.25, "perceptual": 0.65}}
"""What the hand-computed numbers are for."""


# -- the shares reach their targets ------------------------------------------------------------------------------------


def test_constant_norms_reach_explicit_shares_and_keep_the_total():
    norms = {"l1": 1.0, "ssim": 40.0, "vgg": 0.003}
    scheduler = new_scheduler(THREE, target={"l1": 0.5, "ssim": 0.3, "vgg": 0.2}, **FAST)
    step = run(scheduler, constant(**norms), 40)[-1]
    assert step.shares == pytest.approx({"l1": 0.5, "ssim": 0.3, "vgg": 0.2}, rel=1e-9)
    # u_i = t_i sum(n) / n_i, worked out by hand: sum(n) = 41.003
    assert step.factors == pytest.approx({"l1": 20.5015, "ssim": 0.3075225, "vgg": 2733.53333333}, rel=1e-9)
    assert step.multipliers == pytest.approx({"l1": 1, "ssim": 1, "vgg": 1}, rel=1e-9)


def test_explicit_shares_are_normalised():
    scheduler = new_scheduler(PIXEL_AND_VGG, target={"l1": 3, "vgg": 1}, **FAST)
    assert run(scheduler, constant(l1=2, vgg=5), 40)[-1].shares == pytest.approx({"l1": 0.75, "vgg": 0.25})


def test_calibration_eases_in_geometrically_over_as_many_iterations_as_the_window():
    scheduler = new_scheduler(PIXEL_AND_VGG, target={"l1": 0.5, "vgg": 0.5}, **FAST)
    steps = run(scheduler, constant(l1=1, vgg=9), 60)
    factors = [step.factors["l1"] for step in steps]  # from 1 to 5
    assert factors[:20] == [1.0] * 20  # observed in iterations 1..20, decided at 20
    assert factors[20] == pytest.approx(5 ** (1 / 20))
    assert factors[29] == pytest.approx(5 ** (10 / 20))
    assert factors[39:] == pytest.approx([5.0] * 21)


def test_drifting_norms_are_followed_to_one_percent():
    def norms(iteration: int) -> dict[str, float]:
        return {"l1": 2 * math.exp(-0.002 * iteration), "vgg": 0.05 * math.exp(0.003 * iteration)}

    scheduler = new_scheduler(PIXEL_AND_VGG, target={"l1": 0.4, "vgg": 0.6}, adaptation_rate=0.01, **FAST)
    steps = run(scheduler, norms, 800)
    for iteration in range(100, 801):
        step = steps[iteration - 1]
        assert step.shares == pytest.approx({"l1": 0.4, "vgg": 0.6}, rel=0.01)
        total = sum(step.factors[name] * norm for name, norm in norms(iteration).items())
        assert total == pytest.approx(sum(norms(iteration).values()), rel=0.01)
    # It was the multipliers that followed: sum(n) fell from 2.01 to 0.955, n_l1 from 1.96 to 0.404.
    assert steps[-1].multipliers["l1"] == pytest.approx(0.955 / 2.01 * 1.96 / 0.404, rel=0.02)


def test_noisy_norms_give_the_target_shares_on_average():
    source = random.Random(5)
    true = {"l1": 1.0, "vgg": 30.0, "ssim": 0.2}
    target = {"l1": 0.3, "vgg": 0.6, "ssim": 0.1}

    def norms(_: int) -> dict[str, float]:
        return {name: norm * math.exp(source.gauss(0, 0.3)) for name, norm in true.items()}

    scheduler = new_scheduler(
        THREE, target=target, momentum=0.99, baseline_iterations=400, adaptation_threshold=0, adaptation_rate=0.05
    )
    steps = run(scheduler, norms, 6000)[1000:]
    for name, wanted in target.items():
        mean = sum(shares(step.factors, true)[name] for step in steps) / len(steps)
        assert mean == pytest.approx(wanted, rel=0.01)


def test_inside_the_dead_band_a_drift_is_left_alone_and_beyond_it_held_to_it():
    def norms(iteration: int) -> dict[str, float]:
        return {"l1": 1.0, "vgg": 1.0 * math.exp(0.001 * max(iteration - 50, 0))}

    scheduler = new_scheduler(
        PIXEL_AND_VGG,
        target={"l1": 0.5, "vgg": 0.5},
        baseline_iterations=20,
        momentum=0,
        adaptation_threshold=0.1,
        adaptation_rate=0.01,
    )
    steps = run(scheduler, norms, 1500)
    # m*_vgg = (1 + n) / (2 n) crosses 1 / 1.1 at n = 1.1 / 0.9, m*_l1 = (1 + n) / 2 crosses 1.1 at n = 1.2
    vgg_moves = 50 + math.log(1.1 / 0.9) / 0.001
    l1_moves = 50 + math.log(1.2) / 0.001
    for name, moment in (("vgg", vgg_moves), ("l1", l1_moves)):
        first = next(i for i, step in enumerate(steps, start=1) if step.multipliers[name] != 1)
        assert first == math.ceil(moment)
    for iteration in range(400, 1501):
        n = norms(iteration)["vgg"]
        m = steps[iteration - 1].multipliers
        assert abs(math.log((1 + n) / 2 / m["l1"])) <= math.log(1.1) + 1e-9
        assert abs(math.log((1 + n) / 2 / n / m["vgg"])) <= math.log(1.1) + 1e-9


def test_a_jump_is_followed_at_the_rate_limit_and_then_exactly():
    def norms(iteration: int) -> dict[str, float]:
        return {"l1": 1.0, "vgg": 1.0 if iteration <= 100 else 4.0}

    scheduler = new_scheduler(
        PIXEL_AND_VGG,
        target={"l1": 0.5, "vgg": 0.5},
        baseline_iterations=20,
        momentum=0,
        adaptation_threshold=0,
        adaptation_rate=0.01,
    )
    m = [step.multipliers for step in run(scheduler, norms, 300)]
    # sum(n) = 5, so m*_l1 = 2.5 and m*_vgg = 2.5 / 4; log 2.5 / log 1.01 = 92.09, log 1.6 / log 1.01 = 47.23
    assert m[99] == {"l1": 1.0, "vgg": 1.0}
    assert m[100 + 92 - 1]["l1"] == pytest.approx(1.01**92)
    assert m[100 + 93 - 1]["l1"] == pytest.approx(2.5, rel=1e-12)
    assert m[100 + 47 - 1]["vgg"] == pytest.approx(1.01**-47)
    assert m[100 + 48 - 1]["vgg"] == pytest.approx(0.625, rel=1e-12)
    assert m[-1] == pytest.approx({"l1": 2.5, "vgg": 0.625}, rel=1e-12)


def test_multipliers_stop_at_their_bounds():
    def norms(iteration: int) -> dict[str, float]:
        return {"l1": 1.0, "vgg": 1.0 if iteration <= 100 else 9.0}

    scheduler = new_scheduler(
        PIXEL_AND_VGG,
        target={"l1": 0.5, "vgg": 0.5},
        baseline_iterations=20,
        max_weight=3,
        min_weight=0.75,
        adaptation_rate=0.1,
        adaptation_threshold=0,
    )
    assert run(scheduler, norms, 400)[-1].multipliers == {"l1": 3.0, "vgg": 0.75}  # wanted: 5 and 5 / 9


# -- the rules for targets ---------------------------------------------------------------------------------------------


def test_auto_takes_shares_far_from_the_typical_ones_to_those():
    # Perceptual loss 100 times too weak: n = 1 and 0.02 where 2 would be usual. By hand:
    # t_vgg = 0.65 / (0.25 + 0.65) = 72.2222 %.
    scheduler = new_scheduler(PIXEL_AND_VGG, target="auto", **TYPICAL, **FAST)
    step = run(scheduler, constant(l1=1, vgg=0.02), 40)[-1]
    assert step.shares == pytest.approx({"l1": 0.277778, "vgg": 0.722222}, abs=1e-6)
    assert step.factors["vgg"] == pytest.approx(0.722222 * 1.02 / 0.02, rel=1e-5)


def test_auto_is_the_default_with_auto_calibrate_and_baseline_without():
    for auto, expected in ((True, 0.722222), (False, 0.02 / 1.02)):
        scheduler = new_scheduler(PIXEL_AND_VGG, auto_calibrate=auto, **TYPICAL, **FAST)
        assert run(scheduler, constant(l1=1, vgg=0.02), 40)[-1].shares["vgg"] == pytest.approx(expected, abs=5e-4)


def test_auto_does_not_go_under_the_floor():
    scheduler = new_scheduler(PIXEL_AND_VGG, target="auto", share_tolerance=1e4, **TYPICAL, **FAST)
    step = run(scheduler, constant(l1=1, vgg=1e-6), 40)[-1]
    assert step.shares == pytest.approx({"l1": 0.98, "vgg": 0.02}, rel=1e-9)


@pytest.mark.parametrize(("tolerance", "vgg"), [(24, 0.1), (1, 0.65 / 0.9)])
def test_the_tolerance_keeps_measured_shares_or_gives_the_typical_ones(tolerance: float, vgg: float):
    # 9 : 1 is 23.4 times the typical 0.25 : 0.65
    scheduler = new_scheduler(PIXEL_AND_VGG, target="auto", share_tolerance=tolerance, **TYPICAL, **FAST)
    steps = run(scheduler, constant(l1=9, vgg=1), 40)
    assert steps[-1].shares["vgg"] == pytest.approx(vgg, rel=1e-9)
    if tolerance > 1:
        assert steps[-1].factors == {"l1": 1.0, "vgg": 1.0}


def test_typical_shares_can_be_overridden():
    # 7 : 7 is four times 0.2 : 0.8; twice is kept, eight times is wrong, and 4 between them ends at (8 / 4) ** 0.5
    scheduler = new_scheduler(PIXEL_AND_VGG, target="auto", typical_shares={"pixel": 0.2, "perceptual": 0.8}, **FAST)
    assert run(scheduler, constant(l1=7, vgg=7), 40)[-1].shares["vgg"] == pytest.approx(4 / (4 + 2**0.5), rel=1e-9)


def test_auto_leaves_weights_near_the_typical_ones_exactly_alone():
    scheduler = new_scheduler(PIXEL_AND_VGG, auto_calibrate=True, baseline_iterations=20, **TYPICAL)
    steps = run(scheduler, constant(l1=1, vgg=4.8), 200)  # 1 : 2.6 is typical
    assert all(step.factors == {"l1": 1.0, "vgg": 1.0} for step in steps)
    assert {d.reason.split("; ")[1] for step in steps for d in step.decisions} == {"its weight is kept"}


@pytest.mark.parametrize("vgg", [1e-9, 11.3, 1e9])
def test_baseline_leaves_every_share_exactly_alone(vgg):
    scheduler = new_scheduler(THREE, target="baseline", **FAST)
    steps = run(scheduler, constant(l1=1.7, ssim=0.3, vgg=vgg), 300)
    assert all(step.factors == {"l1": 1.0, "ssim": 1.0, "vgg": 1.0} for step in steps)
    assert {decision.reason.split("; ")[1] for step in steps for decision in step.decisions} == {"its weight is kept"}


def test_baseline_keeps_l1_x110_at_the_weights_of_esrgan():
    """Its perceptual loss at 0.3 % and its adversarial one at 0.01 % of the update were meant."""
    roles: Roles = {**PIXEL_AND_VGG, "gan": "adversarial"}
    scheduler = new_scheduler(roles, auto_calibrate=True, target="baseline")
    steps = run(scheduler, constant(l1=110, vgg=0.3, gan=0.01), 400)
    assert all(set(step.factors.values()) == {1.0} for step in steps)
    assert {d.kind for step in steps for d in step.decisions} == {"calibrated"}


def test_baseline_follows_drift():
    def norms(iteration: int) -> dict[str, float]:
        return {"l1": 1.0, "vgg": math.exp(0.003 * iteration)}

    steps = run(new_scheduler(PIXEL_AND_VGG, target="baseline", **FAST), norms, 600)
    assert steps[-1].shares == pytest.approx(steps[20].shares, rel=0.02)


def test_baseline_pulls_shares_inside_the_rails_that_are_written():
    scheduler = new_scheduler(PIXEL_AND_VGG, target="baseline", share_ceiling=0.95, **FAST)
    assert run(scheduler, constant(l1=1, vgg=999), 40)[-1].shares == pytest.approx({"l1": 0.05, "vgg": 0.95})
    scheduler = new_scheduler(THREE, target="baseline", share_floor=0.02, **FAST)
    # 0.1 % is raised to 2 %; the others share 98 % as 4 to 1
    step = run(scheduler, constant(l1=0.001, ssim=0.7992, vgg=0.1998), 40)[-1]
    assert step.shares == pytest.approx({"l1": 0.02, "ssim": 0.784, "vgg": 0.196}, rel=1e-9)


def test_weights_rule_reads_the_base_weights_as_shares():
    scheduler = new_scheduler(
        {"l1": "pixel", "vgg": "perceptual", "style": "perceptual"},
        weights={"l1": 1.0, "vgg": 0.1, "style": -0.03},
        target="weights",
        **FAST,
    )
    step = run(scheduler, constant(l1=5e-4, vgg=70, style=3), 40)[-1]
    assert step.shares == pytest.approx({"l1": 0.884956, "vgg": 0.088496, "style": 0.026549}, abs=1e-6)
    assert all(factor > 0 for factor in step.factors.values())  # a negative weight keeps its sign


@pytest.mark.parametrize(("wrong", "told"), [(1.0, False), (3.0, False), (1 / 3, False), (100.0, True), (0.01, True)])
@pytest.mark.parametrize("prefer", WISHES)
def test_a_calibration_by_more_than_3_says_how_to_keep_the_weight(prefer, wrong, told):
    typical = TYPICAL_SHARES[prefer]
    norms = constant(l1=1, vgg=wrong * typical["perceptual"] / typical["pixel"])
    steps = run(new_scheduler(PIXEL_AND_VGG, auto_calibrate=True, prefer=prefer), norms, 60)
    reasons = [d.reason for step in steps for d in step.decisions if d.kind == "calibrated"]
    assert any(reason.endswith("; if you meant this weight: 'target: baseline'") for reason in reasons) == told


# -- 1 to 12 losses, units over 18 orders of magnitude -----------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    exponents=st.lists(st.floats(-9, 9), min_size=1, max_size=12),
    parts=st.lists(st.floats(0.01, 1), min_size=12, max_size=12),
    rule=st.sampled_from(["auto", "weights", "explicit"]),
    seed=st.integers(0, 2**16),
)
def test_targets_are_met_whatever_the_number_of_losses_and_their_units(exponents, parts, rule, seed):
    draw = random.Random(seed)
    norms = {f"loss{place}": 10**exponent for place, exponent in enumerate(exponents)}
    kinds: list[Role] = ["pixel", "structural", "perceptual"]
    roles: Roles = {name: draw.choice(kinds) for name in norms}
    wanted = dict(zip(norms, parts, strict=False))
    options: dict[str, Any] = {**FAST, "baseline_iterations": 10, "share_floor": 0}
    options["target"] = wanted if rule == "explicit" else rule
    scheduler = new_scheduler(roles, weights=wanted, **options)
    step = run(scheduler, constant(**norms), 25)[-1]
    assert math.fsum(step.shares.values()) == pytest.approx(1)
    assert math.fsum(step.factors[name] * norm for name, norm in norms.items()) == pytest.approx(sum(norms.values()))
    if rule != "auto":
        assert step.shares == pytest.approx({name: part / sum(wanted.values()) for name, part in wanted.items()})
        return
    typical = {str(role): share for role, share in TYPICAL_SHARES["balanced"].items()}
    whole = {role: math.fsum(step.shares[n] for n in norms if roles[n] == role) for role in set(roles.values())}
    for a, b in itertools.permutations(whole, 2):
        assert whole[a] / whole[b] <= 2 * typical[a] / typical[b] * (1 + 1e-9)
    for a, b in itertools.permutations(norms, 2):
        if roles[a] == roles[b]:
            assert step.shares[a] <= 2 * step.shares[b] * (1 + 1e-9)


# -- invariances -------------------------------------------------------------------------------------------------------

_norm = st.floats(0.01, 100)


@settings(max_examples=60, deadline=None)
@given(norms=st.tuples(_norm, _norm, _norm), which=st.sampled_from(list(THREE)), scale=st.floats(1e-3, 1e3))
def test_the_unit_of_a_loss_does_not_matter_with_target_weights(norms, which, scale):
    def final(factor: float) -> dict[str, float]:
        scaled = dict(zip(THREE, norms, strict=True))
        scaled[which] *= factor
        scheduler = new_scheduler(
            THREE,
            weights={"l1": 1.0, "ssim": 0.5, "vgg": 0.1},
            target="weights",
            **{**FAST, "baseline_iterations": 10},
        )
        return dict(run(scheduler, constant(**scaled), 25)[-1].shares)

    assert final(scale) == pytest.approx(final(1.0), rel=1e-9)
    assert final(scale) == pytest.approx({"l1": 0.625, "ssim": 0.3125, "vgg": 0.0625}, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    order=st.permutations(["l1", "ssim", "vgg", "lpips", "gan"]),
    seed=st.integers(0, 2**16),
    target=st.sampled_from(["auto", "baseline", "weights"]),
)
def test_permuting_the_losses_permutes_the_result(order, seed, target):
    roles: Roles = {**THREE, "lpips": "perceptual", "gan": "adversarial"}
    source = random.Random(seed)
    scale = {name: math.exp(source.uniform(-5, 5)) for name in roles}
    trace = [{name: scale[name] * math.exp(source.gauss(0, 0.5)) for name in roles} for _ in range(120)]

    def final(names) -> dict[str, float]:
        scheduler = new_scheduler(
            {name: roles[name] for name in names},
            weights={"vgg": 0.5, "gan": 0.1},
            target=target,
            baseline_iterations=20,
            adaptation_threshold=0.05,
        )
        return dict(run(scheduler, lambda i: {name: trace[i - 1][name] for name in names}, 120)[-1].factors)

    assert final(order) == pytest.approx(final(list(roles)), rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    norms=st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=6),
    target=st.sampled_from(["auto", "baseline", "weights"]),
)
def test_the_total_contribution_is_conserved_while_no_bound_is_active(norms, target):
    names: Roles = {f"loss{i}": "perceptual" if i % 2 else "pixel" for i in range(len(norms))}
    given_norms = dict(zip(names, norms, strict=True))
    scheduler = new_scheduler(names, target=target, **{**FAST, "baseline_iterations": 10})
    steps = run(scheduler, constant(**given_norms), 60)
    totals = [sum(step.factors[name] * n for name, n in given_norms.items()) for step in steps]
    assert totals[0] == pytest.approx(sum(norms))
    assert totals[-1] == pytest.approx(sum(norms), rel=0.002 if target == "baseline" else 1e-9)
    assert max(totals) <= sum(norms) * 1.06  # on the way there it never exceeds it by more than the dead band


def test_calibration_is_told_in_words_and_numbers():
    scheduler = new_scheduler(PIXEL_AND_VGG, target={"l1": 0.78, "vgg": 0.22}, **FAST)
    steps = run(scheduler, constant(l1=0.994, vgg=0.006), 40)
    decisions = {d.losses[0]: d for step in steps for d in step.decisions}
    assert decisions["vgg"].iteration == 20
    assert decisions["vgg"].kind == "calibrated"
    assert decisions["vgg"].reason == "vgg gave 0.6 % of the update; calibrated to 22 % (x 36.7)"
    assert decisions["vgg"].before == pytest.approx({"share": 0.006, "calibration": 1.0})
    assert decisions["vgg"].after == pytest.approx({"share": 0.22, "calibration": 36.6667}, rel=1e-5)


def test_shares_beside_a_loss_without_a_target_say_so():
    roles: Roles = {"l1": "pixel", "vgg": "perceptual", "gan": "adversarial"}
    steps = run(new_scheduler(roles, target="auto", **FAST), constant(l1=1, vgg=3, gan=4), 40)
    reasons = [d.reason for step in steps for d in step.decisions if d.kind == "calibrated"]
    assert [reason.partition(";")[0] for reason in reasons] == [
        "l1 gave 25 % of the update without gan",
        "vgg gave 75 % of the update without gan",
    ]


def test_shares_are_reported_as_contributions_of_this_very_step():
    scheduler = new_scheduler(PIXEL_AND_VGG)
    step = scheduler.step(1, readings({"l1": 3, "vgg": 1}))
    assert step.shares == {"l1": 0.75, "vgg": 0.25}
    step = scheduler.step(2, readings({"l1": 0, "vgg": 0}))
    assert step.shares == {"l1": 0.0, "vgg": 0.0}
