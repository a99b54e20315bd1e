"""Target shares against hand-computed numbers and brute force."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_runs import Roles, block, constant, new_scheduler, run

from paragon_plugin.errors import OptionError
from paragon_plugin.scheduling.options import ROLES as ROLE_NAMES
from paragon_plugin.scheduling.options import WISHES
from paragon_plugin.scheduling.roles import TYPICAL_SHARES, typical_shares
from paragon_plugin.scheduling.shares import bounded, target_shares, within_tolerance

ROLES: Roles = {"l1": "pixel", "ssim": "structural", "vgg": "perceptual", "gan": "adversarial"}


def targets(measured, roles=ROLES, weights=None, **options):
    total = sum(measured.values())
    measured = {name: value / total for name, value in measured.items()}
    return target_shares(measured, roles, weights or dict.fromkeys(measured, 1.0), block(**options))


# -- the typical shares ------------------------------------------------------------------------------------------------


def test_every_wish_has_a_share_for_every_role():
    assert set(TYPICAL_SHARES) == set(WISHES)
    for shares in TYPICAL_SHARES.values():
        assert set(shares) == set(ROLE_NAMES)
        assert all(0 < share < 1 for share in shares.values())


def test_a_wish_moves_the_shares_its_way():
    fidelity, balanced, perceptual = (TYPICAL_SHARES[wish] for wish in ("fidelity", "balanced", "perceptual"))
    assert fidelity["pixel"] > balanced["pixel"] > perceptual["pixel"]
    assert fidelity["perceptual"] < balanced["perceptual"] < perceptual["perceptual"]
    assert fidelity["adversarial"] <= balanced["adversarial"] <= perceptual["adversarial"]


def test_what_is_written_by_role_overrides_the_wish():
    options = block(auto_calibrate=True, prefer="fidelity", typical_shares={"pixel": 0.5}, adversarial_share=0.3)
    assert typical_shares(options) == TYPICAL_SHARES["fidelity"] | {"pixel": 0.5, "adversarial": 0.3}


@pytest.mark.parametrize("wish", WISHES)
def test_an_intended_balance_is_kept_under_its_own_wish_and_only_there(wish):
    """A recipe for PSNR is no mistake where PSNR is wished for."""
    meant = {"l1": TYPICAL_SHARES[wish]["pixel"], "vgg": TYPICAL_SHARES[wish]["perceptual"]}
    total = sum(meant.values())
    meant = {name: share / total for name, share in meant.items()}
    for other in WISHES:
        ended = targets(meant, auto_calibrate=True, prefer=other)
        assert (ended == pytest.approx(meant)) == (other == wish)


# -- the rule `auto` ---------------------------------------------------------------------------------------------------


def test_tolerance_1_gives_the_typical_shares_and_a_huge_one_keeps_the_measured():
    measured, typical = {"a": 0.9, "b": 0.1}, {"a": 0.25, "b": 0.65}
    assert within_tolerance(measured, typical, 1e9) == pytest.approx(measured)
    assert within_tolerance(measured, typical, 1) == pytest.approx({"a": 0.25 / 0.9, "b": 0.65 / 0.9})


@pytest.mark.parametrize(
    "roles",
    [
        {"fft": "structural", "ssim": "structural"},
        {"content": "perceptual", "style": "perceptual"},
        {"l1": "pixel", "mine": "pixel"},
    ],
)
@pytest.mark.parametrize("wrong", [1e-6, 0.01, 100.0, 1e6])
@pytest.mark.parametrize("beside", [{}, {"other": "perceptual"}])
def test_within_a_role_a_wrong_weight_ends_at_its_part(roles, wrong, beside):
    first, second = roles
    measured = {first: wrong, second: 1.0, **dict.fromkeys(beside, 1.0)}
    ended = targets(measured, {**roles, **beside}, target="auto", share_floor=0)
    assert ended[first] == pytest.approx(ended[second])


def test_splitting_a_loss_in_two_changes_nothing_for_the_others():
    whole = targets({"l1": 1, "vgg": 0.3}, target="auto")
    roles = {"l1": "pixel", "conv1": "perceptual", "conv2": "perceptual"}
    split = targets({"l1": 1, "conv1": 0.1, "conv2": 0.2}, roles, target="auto")
    assert split["l1"] == pytest.approx(whole["l1"])
    assert split["conv2"] == pytest.approx(2 * split["conv1"])


def test_a_loss_of_unknown_role_is_refused_in_one_line_under_auto_alone():
    roles: Roles = {"l1": "pixel", "mine": "unknown"}
    with pytest.raises(OptionError, match=r"^target: is auto, .* the name of mine does not tell it; .* one of pixel, "):
        new_scheduler(roles, auto_calibrate=True)
    for target in ("baseline", "weights", {"l1": 0.5, "mine": 0.5}):
        new_scheduler(roles, auto_calibrate=True, target=target)
    new_scheduler(roles, auto_calibrate=True, signal="loss_ratio")


@pytest.mark.parametrize(
    "roles",
    [{"mine": "unknown"}, {"l1": "pixel"}, {"gan": "adversarial", "tv": "regularization"}, {"gan": "adversarial"}],
)
def test_a_wish_that_cannot_act_is_no_error(roles):
    scheduler = new_scheduler(roles, auto_calibrate=True, prefer="fidelity", baseline_iterations=10)
    steps = run(scheduler, constant(**dict.fromkeys(roles, 3.0)), 40)
    assert all(set(step.factors.values()) == {1.0} for step in steps)


@pytest.mark.parametrize(
    ("wrong", "off"),  # by hand: as it is up to 2, (8 / wrong) ** 0.5 up to 8, then right
    [(1, 1), (1.9, 1.9), (2, 2), (4.5, 4 / 3), (7.9999, 1), (8, 1), (9, 1), (100, 1), (1e6, 1)],
)
def test_right_weights_stay_and_wrong_ones_end_right(wrong: float, off: float):
    pixel, perceptual = (TYPICAL_SHARES["balanced"][role] for role in ("pixel", "perceptual"))
    for factor, expected in ((wrong, off), (1 / wrong, 1 / off)):
        ended = targets({"l1": pixel, "vgg": perceptual * factor}, target="auto", share_floor=0)
        assert (ended["vgg"] / perceptual) / (ended["l1"] / pixel) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("tolerance", "wrong", "off"),  # by hand, as above: (tolerance ** 3 / wrong) ** 0.5 between
    [(2, 1.9, 1.9), (2, 4.5, 4 / 3), (2, 8, 1), (3, 2.9, 2.9), (3, 9, 3**0.5), (3, 27, 1), (1, 1.1, 1)],
)
def test_the_tolerance_holds_between_roles_and_within_one(tolerance: float, wrong: float, off: float):
    options: dict[str, Any] = {"target": "auto", "share_tolerance": tolerance, "typical_shares": {"perceptual": 0.4}}
    for roles in ({"a": "perceptual", "b": "perceptual"}, {"a": "perceptual", "b": "pixel"}):
        ended = targets({"a": wrong, "b": 1.0}, roles, share_floor=0, **options)
        assert ended["a"] / ended["b"] == pytest.approx(off, rel=1e-9)


@pytest.mark.parametrize(
    ("sizes", "ended"),  # by hand: up to 2 ** 0.5 from the median a size stays, then it is (8 ** 0.5 / size) ** 0.5
    [
        ((1, 1, 1.4), (1, 1, 1.4)),
        ((1, 1, 1.5), (1, 1, (8**0.5 / 1.5) ** 0.5)),
        ((1, 1, 2), (1, 1, 2**0.25)),
        ((1, 1, 2.83), (1, 1, 1)),
        ((1, 1, 1e9), (1, 1, 1)),
        ((1, 1, 1e-9), (1, 1, 1)),
        # The median of an even count is the geometric mean of the two in the middle: here 1.2.
        ((0.9, 1, 1.44, 1.2 * 1.5), (0.9, 1, 1.44, 1.2 * (8**0.5 / 1.5) ** 0.5)),
    ],
)
def test_of_three_or_more_the_distance_from_the_median_counts(sizes, ended):
    own = within_tolerance(dict(enumerate(sizes)), dict.fromkeys(range(len(sizes)), 1.0), 2)
    assert [own[place] for place in own] == pytest.approx([part / sum(ended) for part in ended], rel=1e-4)


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.floats(1e-4, 1e4), min_size=2, max_size=6), step=st.floats(1, 1.01), tolerance=st.floats(1, 10)
)
def test_a_little_more_of_a_weight_changes_proportions_by_little(sizes, step, tolerance):
    typical = dict.fromkeys(range(len(sizes)), 1.0)
    first, second = (
        within_tolerance(dict(enumerate([sizes[0] * factor, *sizes[1:]])), typical, tolerance) for factor in (1, step)
    )
    for a, b in itertools.permutations(typical, 2):
        # Of two others one is kept and one falls, where it is the median that moves: slopes of 1 and 1 / 2.
        assert (first[a] / first[b]) / (second[a] / second[b]) <= step**1.5 * (1 + 1e-9)


def test_one_weight_in_the_wrong_unit_leaves_the_proportion_of_the_others():
    for name in ("l1", "ssim", "vgg"):
        typical = TYPICAL_SHARES["balanced"]
        measured = {"l1": typical["pixel"], "ssim": 0.9 * typical["structural"], "vgg": typical["perceptual"]}
        ended = targets({**measured, name: 1000 * measured[name]}, target="auto")
        a, b = (other for other in measured if other != name)
        assert ended[a] / ended[b] == pytest.approx(measured[a] / measured[b])


_sizes = st.floats(1e-6, 1e6)


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(_sizes, min_size=1, max_size=6),
    typical=st.lists(st.floats(0.01, 1), min_size=6, max_size=6),
    tolerance=st.floats(1, 50),
)
def test_no_two_end_further_from_their_typical_proportion_than_is_tolerated(sizes, typical, tolerance):
    measured = {place: size / sum(sizes) for place, size in enumerate(sizes)}
    usual = dict(enumerate(typical[: len(sizes)]))
    ended = within_tolerance(measured, usual, tolerance)
    assert sum(ended.values()) == pytest.approx(1)

    def off(shares, a, b):  # how many times the typical proportion
        return (shares[a] / shares[b]) / (usual[a] / usual[b])

    for a, b in itertools.permutations(measured, 2):
        assert off(ended, a, b) <= tolerance * (1 + 1e-9)
        further = max(off(measured, a, b), off(measured, b, a))
        assert off(ended, a, b) <= further * (1 + 1e-9)  # never away from the typical proportion
        if len(sizes) == 2 and off(measured, a, b) >= 1:  # nor past it
            assert off(ended, a, b) >= 1 - 1e-9
    near = tolerance**0.5  # those this near to the typical shares, all of them, stay as they are
    kept = {place: usual[place] * near ** (size % 1 - 0.5) for place, size in measured.items()}
    kept = {place: share / sum(kept.values()) for place, share in kept.items()}
    assert within_tolerance(kept, usual, tolerance) == pytest.approx(kept)


@pytest.mark.parametrize(("losses", "floor"), [(2, 0.4), (3, 0.3), (49, 0.02), (2, 0.499)])
def test_floors_are_kept_where_they_fit(losses: int, floor: float):
    measured = {f"loss{i}": 1.0 if i else 1e6 for i in range(losses)}
    result = targets(measured, target="baseline", share_floor=floor)
    assert min(result.values()) == pytest.approx(floor)
    assert sum(result.values()) == pytest.approx(1)


@pytest.mark.parametrize(("losses", "floor"), [(50, 0.02), (51, 0.02), (80, 0.02), (3, 0.4)])
def test_floors_that_cannot_be_met_together_leave_half_to_be_shared_out(losses: int, floor: float):
    measured = {f"loss{i}": 1.0 if i else 1e6 for i in range(losses)}
    result = targets(measured, target="baseline", share_floor=floor)
    assert sum(result.values()) == pytest.approx(1)
    assert min(result.values()) == pytest.approx(0.5 / losses)
    assert result["loss0"] == pytest.approx(0.5 + 0.5 / losses)


@pytest.mark.parametrize("wish", WISHES)
@pytest.mark.parametrize("parts", [2, 4, 8, 60])
def test_splitting_a_role_at_its_floor_changes_nothing_for_the_others(wish, parts: int):
    whole = targets({"l1": 1, "vgg": 100}, auto_calibrate=True, prefer=wish)
    names = [f"l1_{i}" for i in range(parts)]
    roles = {**dict.fromkeys(names, "pixel"), "vgg": "perceptual"}
    split = targets({**dict.fromkeys(names, 1 / parts), "vgg": 100}, roles, auto_calibrate=True, prefer=wish)
    assert split["vgg"] == pytest.approx(whole["vgg"])


def test_one_loss_alone_has_everything():
    for rule in ("auto", "baseline", "weights"):
        assert targets({"gan": 3}, target=rule) == {"gan": 1.0}


def test_explicit_shares_must_cover_every_loss():
    with pytest.raises(OptionError, match=r"target: no share for vgg; did you mean 'vgg1'\?"):
        targets({"l1": 1, "vgg": 1}, target={"l1": 0.5, "vgg1": 0.5})


_share = st.floats(1e-6, 1)


@settings(max_examples=200, deadline=None)
@given(
    raw=st.lists(_share, min_size=1, max_size=6),
    floor=st.floats(0, 0.1),
    ceiling=st.floats(0.5, 1),
)
def test_bounded_sums_to_one_within_bounds_and_keeps_proportions_between(raw, floor, ceiling):
    given_shares = {str(i): share for i, share in enumerate(raw)}
    result = bounded(given_shares, dict.fromkeys(given_shares, floor), dict.fromkeys(given_shares, ceiling))
    assert sum(result.values()) == pytest.approx(1)
    if len(raw) == 1:
        return  # one alone has everything, whatever its ceiling
    assert all(floor - 1e-9 <= share <= ceiling + 1e-9 for share in result.values())
    free = [name for name, share in result.items() if floor + 1e-9 < share < ceiling - 1e-9]
    for a, b in itertools.pairwise(free):
        assert result[a] / result[b] == pytest.approx(given_shares[a] / given_shares[b], rel=1e-6)
    # Water-filling: one level L with share = clip(L raw, floor, ceiling) has sum 1. Found here by bisection.
    low, high = 0.0, 1e9
    for _ in range(200):
        level = (low + high) / 2
        if sum(min(max(level * share, floor), ceiling) for share in raw) < 1:
            low = level
        else:
            high = level
    expected = [min(max(low * share, floor), ceiling) for share in raw]
    assert list(result.values()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("measured", [{"l1": 110.0, "vgg": 0.3}, {"l1": 1e-6, "vgg": 1}, {"l1": 1, "vgg": 1}])
def test_baseline_keeps_the_measured_shares_unless_bounds_are_written(measured):
    whole = sum(measured.values())
    assert targets(measured, target="baseline") == pytest.approx({n: m / whole for n, m in measured.items()})
    bound = targets(measured, target="baseline", share_floor=0.02, share_ceiling=0.95)
    assert all(0.02 - 1e-9 <= share <= 0.95 + 1e-9 for share in bound.values())
