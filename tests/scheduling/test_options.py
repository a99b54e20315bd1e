"""The option block: bounds of every field, errors of one line, and nothing but OptionError whatever YAML says."""

import datetime
import math

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from paragon_plugin.errors import OptionError, errors_under, suggestion
from paragon_plugin.scheduling.options import (
    REPLACED,
    WISHES,
    DynamicLossScheduling,
    parse_dynamic_loss_scheduling,
)

BLOCK = "train.dynamic_loss_scheduling"

DEFAULTS = {
    "auto_calibrate": False,
    "observe": False,
    "signal": "gradient",
    "target": None,
    "momentum": None,
    "adaptation_rate": None,
    "adaptation_threshold": None,
    "min_weight": None,
    "max_weight": None,
    "baseline_iterations": None,
    "target_ratio_range": (0.1, 10.0),
    "prefer": None,
    "share_tolerance": 2.0,
    "typical_shares": {},
    "share_floor": None,
    "share_ceiling": None,
    "adversarial_share_unsettled": None,
    "adversarial_share": None,
    "adversarial_max_calibration": None,
    "complexity_cutoffs": (0.57, 0.78),
    "manual_weights": {},
    "max_nonfinite_steps": 10,
}


def parse(**block: object) -> DynamicLossScheduling:
    return parse_dynamic_loss_scheduling({"enabled": True, **block})


def refused(block: object) -> str:
    with pytest.raises(OptionError) as error, errors_under(BLOCK):
        parse_dynamic_loss_scheduling(block)
    message = str(error.value)
    assert message.startswith(BLOCK)
    assert len(message.splitlines()) == 1
    assert error.value.path.startswith(BLOCK)
    assert message.startswith(error.value.path + ": ")
    return message


def test_defaults():
    options = parse()
    assert {name: getattr(options, name) for name in DEFAULTS} == DEFAULTS
    assert options.enabled is True
    assert set(DynamicLossScheduling.__struct_fields__) == {"enabled", *DEFAULTS}


def test_no_block_is_scheduling_off():
    assert parse_dynamic_loss_scheduling(None).enabled is False
    assert parse_dynamic_loss_scheduling({"enabled": False}).enabled is False


def test_the_target_rule_in_force():
    assert parse().target_rule == "baseline"
    assert parse(auto_calibrate=True).target_rule == "auto"
    assert parse(auto_calibrate=True, target="weights").target_rule == "weights"
    assert parse(target={"l1_loss": 1, "vgg": "3e-1"}).target_rule == {"l1_loss": 1.0, "vgg": 0.3}


@pytest.mark.parametrize("wish", WISHES)
def test_a_wish_goes_with_auto(wish):
    assert parse(auto_calibrate=True, prefer=wish).prefer == wish
    assert parse(auto_calibrate=True, target="auto", prefer=wish).prefer == wish


@pytest.mark.parametrize(
    ("beside", "why"),
    [
        ({}, "needs 'auto_calibrate: true'"),
        ({"auto_calibrate": True, "target": "baseline"}, "means nothing beside 'target: baseline'"),
        ({"auto_calibrate": True, "target": {"a": 1}}, "means nothing beside 'shares of your own'"),
        ({"auto_calibrate": True, "signal": "loss_ratio"}, "means nothing beside 'signal: loss_ratio'"),
    ],
)
def test_a_wish_beside_anything_else_is_refused_in_one_line(beside, why):
    message = refused({"enabled": True, "prefer": "fidelity", **beside})
    assert message.startswith(f"{BLOCK}.prefer: ")
    assert why in message


def test_options_that_go_away_say_what_replaces_them():
    written = {"adversarial_share": 0.1, "adversarial_share_unsettled": 0.2, "adversarial_max_calibration": 5}
    told = dict(parse(**written).warnings())
    assert told.keys() == written.keys() == REPLACED.keys()
    assert all(text.startswith("is deprecated; ") for text in told.values())
    assert "typical_shares: {adversarial: ...}" in told["adversarial_share"]
    assert parse().warnings() == []


# accepted values at the edges, refused values beyond them
BOUNDS = {
    "momentum": ([0, 0.999], [-1e-9, 1, 1.5]),
    "adaptation_rate": ([1e-9, 1], [0, -0.1, 1.0001]),
    "adaptation_threshold": ([0, 5], [-0.1, 1e10]),
    "min_weight": ([1e-12, 1], [0, 1.1]),
    "max_weight": ([1, 1e9], [0.99, 1e10]),
    "baseline_iterations": ([1, 10**9], [0, -5, 1.5, 10**30]),
    "share_tolerance": ([1, 100], [0.9, -2]),
    "share_floor": ([0, 0.49], [-0.1, 0.5]),
    "share_ceiling": ([0.51, 1], [0.5, 1.01]),
    "adversarial_share_unsettled": ([1e-6, 0.99], [0, 1]),
    "adversarial_share": ([1e-6, 0.99], [0, 1]),
    "adversarial_max_calibration": ([1, 1e9], [0.5, 1e10]),
    "max_nonfinite_steps": ([1, 10**9], [0, 2.5, 10**30]),
    "target_ratio_range": ([[0.5, 2], [1e-9, 1e9]], [[1, 2], [0.5, 1], [2, 3], [2, 0.5], [0, 2], [-1, 2], [0.5, 1e10]]),
    "complexity_cutoffs": ([[0.1, 0.2]], [[0.2, 0.2], [0.3, 0.2], [0, 0.5], [0.5, 1]]),
    "typical_shares": ([{}, {"pixel": 0.5}], [{"pixel": 0}, {"pixel": 1}, {"pixels": 0.5}]),
    "manual_weights": ([{}, {"l1_loss": -2, "gan": 0}], [{"l1_loss": 1e10}, {"l1_loss": "heavy"}]),
    "prefer": ([], ["", "quality", "Balanced", 1]),
    "signal": (["gradient", "loss_ratio", "loss_velocity"], ["gradients", "", "Gradient"]),
    "target": (["auto", "baseline", "weights", {"a": 1e-9}], ["typical", {"a": 0}, {"a": -1}, {"a": 1e10}]),
    "auto_calibrate": ([True, False], [1, 0, "true", "yes", None]),
    "observe": ([True, False], [1, 0, "true", None]),
    "enabled": ([True, False], [1, 0, "true", "on", None]),
}


def test_every_field_has_its_bounds_tested():
    assert set(BOUNDS) == {"enabled", *DEFAULTS}


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, (good, _) in BOUNDS.items() for v in good])
def test_values_up_to_the_bounds_are_accepted(field: str, value: object):
    accepted = getattr(parse_dynamic_loss_scheduling({"enabled": True, field: value}), field)
    assert accepted == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, (_, bad) in BOUNDS.items() for v in bad])
def test_values_beyond_the_bounds_are_refused_with_path_and_value(field: str, value: object):
    message = refused({"enabled": True, field: value})
    assert message.startswith(f"{BLOCK}.{field}: ")
    assert repr(value) in message


_WRONG = [
    [],
    [1],
    {},
    {"a": {"b": 1}},
    "word",
    "",
    math.nan,
    math.inf,
    -math.inf,
    "nan",
    "inf",
    b"1",
    datetime.date(2024, 2, 29),
]


@pytest.mark.parametrize("field", sorted(BOUNDS))
@pytest.mark.parametrize("value", _WRONG, ids=repr)
def test_wrong_structure_and_numbers_that_are_none_are_refused(field: str, value: object):
    if field in ("typical_shares", "manual_weights", "target") and value == {}:
        return  # an empty mapping is one
    message = refused({"enabled": True, field: value})
    assert message.startswith(f"{BLOCK}.{field}: ")
    assert (repr(value) if not isinstance(value, float) else str(value)) in message


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "nan", "inf", "-inf", None, True])
@pytest.mark.parametrize(
    "nest",
    [
        lambda v: ("target", {"l1": 0.5, "vgg": v}),
        lambda v: ("manual_weights", {"l1": v}),
        lambda v: ("typical_shares", {"pixel": v}),
        lambda v: ("target_ratio_range", [v, 2.0]),
        lambda v: ("target_ratio_range", [0.1, v]),
        lambda v: ("complexity_cutoffs", [0.1, v]),
    ],
)
def test_nested_numbers_that_are_none_are_refused(value: object, nest):
    field, block = nest(value)
    message = refused({"enabled": True, field: block})
    assert message.startswith(f"{BLOCK}.{field}: ")
    assert repr(block) in message


@pytest.mark.parametrize(
    ("text", "number"), [("1e-4", 1e-4), ("1E-4", 1e-4), ("0.5", 0.5), ("1", 1.0), (".5", None), ("1,5", None)]
)
def test_numbers_as_text(text: str, number: float | None):
    if number is None:
        assert text in refused({"enabled": True, "adaptation_rate": text})
    else:
        assert parse(adaptation_rate=text).adaptation_rate == number


def test_numbers_as_yaml_reads_them():
    block = yaml.safe_load(
        "{enabled: true, min_weight: 1e-6, baseline_iterations: '50', target: {l1: 1e0, gan: 3e-2},"
        " manual_weights: {l1: 1e-2}, target_ratio_range: [1e-1, 1e1]}"
    )
    assert block["min_weight"] == "1e-6"  # text to YAML 1.1
    options = parse_dynamic_loss_scheduling(block)
    assert (options.min_weight, options.baseline_iterations) == (1e-6, 50)
    assert options.target == {"l1": 1.0, "gan": 0.03}
    assert options.manual_weights == {"l1": 0.01}
    assert options.target_ratio_range == (0.1, 10.0)


def test_an_option_left_empty_is_one_left_out_where_its_value_is_computed():
    assert parse(momentum=None, target=None) == parse()


# -- words -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"enabled": True, "momentom": 0.9}, ".momentom: unknown option; did you mean 'momentum'?"),
        ({"enabled": True, "momentum": 1.5}, ".momentum: must be a number < 1, got 1.5"),
        ({"enabled": True, "momentum": "fast"}, ".momentum: must be a number, got 'fast'"),
        ({"enabled": True, "baseline_iterations": 2.5}, ".baseline_iterations: must be a whole number, got 2.5"),
        ({"enabled": True, "momentum": math.nan}, ".momentum: must be a finite number, got nan"),
        ({"enabled": "yes"}, ".enabled: must be true or false, got 'yes'"),
        ({"momentum": 0.9}, ": needs 'enabled: true' or 'enabled: false', got {'momentum': 0.9}"),
        ([1, 2], ": must be a block of options such as 'enabled: true', got [1, 2]"),
        (True, ": must be a block of options such as 'enabled: true', got True"),
        (
            {"enabled": True, "signal": "value"},
            ".signal: must be one of gradient, loss_ratio, loss_velocity; got 'value'",
        ),
        (
            {"enabled": True, "target": "even"},
            ".target: must be one of auto, baseline, weights, or a mapping of shares by loss name; got 'even'",
        ),
        (
            {"enabled": True, "target_ratio_range": [2, 3]},
            ".target_ratio_range: must be [low, high] with low < 1 < high, got [2, 3]",
        ),
        (
            {"enabled": True, "complexity_cutoffs": [0.9, 0.123456789]},
            ".complexity_cutoffs: must be [low, high] with low < high, got [0.9, 0.123456789]",
        ),
        (
            {"enabled": True, "signal": "loss_ratio", "target": "auto"},
            ".target: applies to 'signal: gradient' only, not to 'signal: loss_ratio', got 'auto'",
        ),
        (
            {"enabled": True, "typical_shares": {"pixels": 0.3}},
            ".typical_shares: must be one of pixel, structural, perceptual, adversarial, regularization; got "
            "{'pixels': 0.3}",
        ),
    ],
)
def test_errors_in_words(block: object, message: str):
    assert refused(block) == BLOCK + message


def test_an_unknown_option_like_none_lists_what_there_is():
    message = refused({"enabled": True, "zzz": 1})
    assert all(name in message for name in DEFAULTS)


def test_a_host_says_where_the_block_stands():
    with pytest.raises(OptionError, match=r"^train\.other\.momentum: "), errors_under("train.other"):
        parse_dynamic_loss_scheduling({"enabled": True, "momentum": 2})
    with pytest.raises(OptionError, match=r"^train\.other: must be a block"), errors_under("train.other"):
        parse_dynamic_loss_scheduling(3)


def test_suggestions():
    assert suggestion("l1_los", ["l1_loss", "gan_loss"]) == "; did you mean 'l1_loss'?"
    assert suggestion("x", ["b", "a"]) == "; known: a, b"


# -- whatever YAML can say ---------------------------------------------------------------------------------------------

_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**300, 10**310)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=8)
    | st.text(alphabet="\ud800\n\r\u2028\x00 a1e-.{}'\"", max_size=5)
    | st.sampled_from(["1e-4", "nan", "null", "true", "auto", "baseline", "gradient", "loss_ratio", "0x10"])
    | st.binary(max_size=4)
    | st.dates()
    | st.datetimes()
)
_keys = st.sampled_from(sorted(BOUNDS)) | _scalars
_anything = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4) | st.sets(_scalars, max_size=2)
    ),
    max_leaves=8,
)


@settings(max_examples=600, deadline=None)
@given(block=_anything | st.dictionaries(_keys, _anything, max_size=5).map(lambda d: {"enabled": True, **d}))
@example(block={"enabled": True, "a\nb": 1})
@example(block={"enabled": True, "momentum": "\ud800"})
@example(block={"enabled": True, "baseline_iterations": 10**5000})
@example(block={10**5000: 1})
def test_anything_gives_valid_options_or_one_line(block: object):
    try:
        with errors_under(BLOCK):
            options = parse_dynamic_loss_scheduling(block)
    except OptionError as error:
        message = str(error)
        assert message.startswith(BLOCK)
        assert len(message.splitlines()) == 1
        return
    assert isinstance(options, DynamicLossScheduling)
    numbers = [getattr(options, name) for name in DEFAULTS]
    nested = [n for v in numbers for n in (v.values() if isinstance(v, dict) else v if isinstance(v, tuple) else [v])]
    assert all(math.isfinite(n) for n in nested if isinstance(n, float))
