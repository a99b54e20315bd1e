"""The `train: dynamic_loss_scheduling:` block as a typed, validated struct.

Everything a user may write in the block is a field here; anything else is refused with the field's name, the rule
and the value. A field left out is `None` where its value is computed (auto-calibration) or defaulted elsewhere.
Numbers may be written as text (`1e-4` is text to YAML 1.1, a number to people).
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, cast, get_args

import msgspec
from msgspec import Meta

from ..errors import OptionError, one_line, shown, suggestion

Signal = Literal["gradient", "loss_ratio", "loss_velocity"]
TargetRule = Literal["auto", "baseline", "weights"]
Role = Literal["pixel", "structural", "perceptual", "adversarial", "regularization"]
LossRole = Role | Literal["unknown"]
"""Of a loss; unknown where neither its name nor the user says it."""
Wish = Literal["fidelity", "balanced", "perceptual"]
SIGNALS: tuple[str, ...] = get_args(Signal)
ROLES: tuple[str, ...] = get_args(Role)
WISHES: tuple[str, ...] = get_args(Wish)

REPLACED: dict[str, str] = {
    "adversarial_share": "write 'typical_shares: {adversarial: ...}' instead; it is taken as that",
    "adversarial_share_unsettled": "it has no effect any more: 'typical_shares: {adversarial: ...}' holds from the "
    "first step on",
    "adversarial_max_calibration": "it has no effect any more: an adversarial loss is raised by 100 at most",
}
"""Options that go away, and what stands in their place."""

_Positive = Annotated[float, Meta(gt=0, le=1e9)]
_Share = Annotated[float, Meta(gt=0, lt=1)]


class DynamicLossScheduling(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Options of the loss scheduler; the loss names are those of the recipe (`l1_loss`, `perceptual_loss`, ...)."""

    enabled: bool
    """Schedule the losses. False: constant weights, exactly as the host trains."""

    auto_calibrate: bool = False
    """Compute every parameter from the network's size, the data, the training phase and its stability."""

    observe: bool = False
    """Measure and report, change nothing: every factor stays at 1, and decisions are told as they would be made."""

    signal: Signal = "gradient"
    """What the multipliers follow: each loss's gradient on the output, its value's ratio to its baseline, or its rate
    of change."""

    target: TargetRule | dict[str, _Positive] | None = None
    """Which shares the `gradient` signal holds: a rule, or explicit shares by loss name (normalised to sum 1).
    Left out: `auto` with auto_calibrate, else `baseline`."""

    momentum: Annotated[float, Meta(ge=0, lt=1)] | None = None
    """EMA coefficient of the readings."""

    adaptation_rate: Annotated[float, Meta(gt=0, le=1)] | None = None
    """Largest relative change of a multiplier per iteration."""

    adaptation_threshold: Annotated[float, Meta(ge=0, le=1e9)] | None = None
    """Dead band: relative distance from the desired multiplier below which nothing moves."""

    min_weight: Annotated[float, Meta(gt=0, le=1)] | None = None
    """Lower bound of a multiplier."""

    max_weight: Annotated[float, Meta(ge=1, le=1e9)] | None = None
    """Upper bound of a multiplier."""

    baseline_iterations: Annotated[int, Meta(ge=1, le=10**9)] | None = None
    """Iterations a loss is observed, from its own first active one, before it may move."""

    target_ratio_range: tuple[_Positive, _Positive] = (0.1, 10.0)
    """`loss_ratio` only: ratios to the baseline inside this range leave the multiplier at 1."""

    prefer: Wish | None = None
    """What the training is for, with auto_calibrate and `target: auto`: nearness to the target image, good looks, or
    both. It chooses the typical shares. Left out: `balanced`."""

    share_tolerance: Annotated[float, Meta(ge=1, le=1e9)] = 2.0
    """`target: auto` only: the proportion of two losses ends at most this many times the typical one of their roles,
    either way; that of two losses of one role at most this many times 1. Nearer proportions are kept; those off by its
    third power or more become typical. Of three or more, its square root and its power 1.5 count, from the median. 1
    gives every loss its typical share."""

    typical_shares: dict[Role, _Share] = {}
    """`target: auto` only: overrides of the typical shares by role. Of `adversarial` and `regularization` it is the
    largest share, for they have no target. The smallest one of `adversarial` is that over `share_tolerance`."""

    share_floor: Annotated[float, Meta(ge=0, lt=0.5)] | None = None
    """No loss that compares with the target gets a smaller share; under `auto` no role does. Left out: 0.02 under
    `auto`, 0 under `baseline`."""

    share_ceiling: Annotated[float, Meta(gt=0.5, le=1)] | None = None
    """`baseline` only: no loss gets a larger share. Left out: every loss keeps the share that it had."""

    adversarial_share_unsettled: _Share | None = None
    """Deprecated, without effect: the largest share of adversarial losses holds from the first step on."""

    adversarial_share: _Share | None = None
    """Deprecated: the same as `typical_shares: {adversarial: ...}`."""

    adversarial_max_calibration: Annotated[float, Meta(ge=1, le=1e9)] | None = None
    """Deprecated, without effect: an adversarial loss is raised by 100 at most."""

    complexity_cutoffs: tuple[_Share, _Share] = (0.57, 0.78)
    """Mean complexity score of the training images below which a dataset is simple, above which it is complex."""

    manual_weights: dict[str, Annotated[float, Meta(ge=-1e9, le=1e9)]] = {}
    """Base weights by loss name; they replace the weights of the recipe."""

    max_nonfinite_steps: Annotated[int, Meta(ge=1, le=10**9)] = 10
    """Training stops after this many steps in a row with a NaN or infinite loss or gradient."""

    def __post_init__(self) -> None:
        # Rules between values, worded "option: rule"; `_readable` adds the path and the value.
        low, high = self.target_ratio_range
        if not low < 1 < high:
            raise ValueError("target_ratio_range: must be [low, high] with low < 1 < high")
        low, high = self.complexity_cutoffs
        if not low < high:
            raise ValueError("complexity_cutoffs: must be [low, high] with low < high")
        if self.target is not None and self.signal != "gradient":
            raise ValueError(f"target: applies to 'signal: gradient' only, not to 'signal: {self.signal}'")
        if self.prefer is not None:
            if not self.auto_calibrate:
                raise ValueError("prefer: needs 'auto_calibrate: true'")
            if self.signal != "gradient" or self.target_rule != "auto":
                target = "shares of your own" if isinstance(self.target_rule, dict) else f"target: {self.target_rule}"
                other = f"signal: {self.signal}" if self.signal != "gradient" else target
                raise ValueError(f"prefer: chooses the shares of 'target: auto', and means nothing beside '{other}'")

    @property
    def target_rule(self) -> TargetRule | dict[str, float]:
        """The target in force: as written, else `auto` with auto_calibrate and `baseline` without."""
        return self.target if self.target is not None else "auto" if self.auto_calibrate else "baseline"

    def warnings(self) -> list[tuple[str, str]]:
        """Options that are written and go away: their names, and what to do instead."""
        return [(name, f"is deprecated; {what}") for name, what in REPLACED.items() if getattr(self, name) is not None]


def parse_dynamic_loss_scheduling(raw: object) -> DynamicLossScheduling:
    """Validate the block as YAML gave it.

    Args:
        raw: The block (a mapping), or None where the option file has none: scheduling is off.

    Raises:
        OptionError: An unknown key, a wrong type or a value out of range; one line with the option's place in the
            block, rule and value. A host says where the block stands (`errors.errors_under`).
    """
    if raw is None:
        return DynamicLossScheduling(enabled=False)
    if not isinstance(raw, Mapping):
        raise OptionError("", f"must be a block of options such as 'enabled: true', got {shown(raw)}")
    block = cast("Mapping[Any, Any]", raw)
    fields = DynamicLossScheduling.__struct_fields__
    for key in block:
        if key not in fields:
            word = _key_text(key)
            raise OptionError(word, f"unknown option{suggestion(word, fields)}")
    _refuse_lookalikes(block)
    try:
        return msgspec.convert(dict(block), DynamicLossScheduling, strict=False)
    except msgspec.ValidationError as error:
        raise _readable(error, block) from None
    except UnicodeEncodeError as error:  # YAML can spell half a surrogate pair
        raise OptionError("", f"must be valid Unicode text, got {error.object!r}") from None


def dynamic_loss_scheduling_errors(raw: object) -> Iterator[OptionError]:
    """Everything that is wrong with the block, where `parse_dynamic_loss_scheduling` raises the first.

    An option that is refused is taken out before the rest is looked at.
    """
    while True:
        try:
            parse_dynamic_loss_scheduling(raw)
            return
        except OptionError as error:
            yield error
            if not isinstance(raw, Mapping):
                return
            block = cast("Mapping[Any, Any]", raw)
            rest = {key: value for key, value in block.items() if error.path != _key_text(key)}
            rest.setdefault("enabled", True)
            if rest.keys() == block.keys():
                return
            raw = rest


def _key_text(key: object) -> str:
    return one_line(key if isinstance(key, str) and key.isprintable() else shown(key))


def _refuse_lookalikes(raw: Mapping[str, Any]) -> None:
    """Lenient conversion turns 2 into true and nan passes no comparison: both are refused with their own words."""
    for key, value in raw.items():
        if key in ("enabled", "auto_calibrate", "observe") and not isinstance(value, bool):
            raise OptionError(key, f"must be true or false, got {shown(value)}")
        if isinstance(value, float) and not math.isfinite(value):
            raise OptionError(key, f"must be a finite number, got {value}")


# The words of a validation error that speak of types, in the words of an option file.
_WORDS = {
    "'float'": "a number",
    "'int'": "a whole number",
    "'bool'": "true or false",
    "'str'": "text",
    "'object'": "a mapping",
    "'array'": "a list",
    " | null": "",
}


def _readable(error: msgspec.ValidationError, raw: Mapping[str, Any]) -> OptionError:
    """Turn msgspec's message and JSON path into ours: option, rule and the value the user wrote."""
    message, _, where = str(error).replace(" - at `key` in `", " - at `").partition(" - at `$")
    rule = message.partition(", got ")[0]
    steps = re.findall(r"\.(\w+)|\[(\d+)\]", where)
    if rule.startswith("Object missing"):
        return OptionError("", f"needs 'enabled: true' or 'enabled: false', got {shown(dict(raw))}")
    if not steps:  # a rule between values, in our own words (see __post_init__)
        option, _, rule = message.partition(": ")
        return OptionError(option, f"{rule}, got {shown(raw[option])}")
    option = str(steps[0][0])
    value = shown(raw[option])
    if rule.startswith("Invalid enum value"):
        choices = {"signal": SIGNALS, "target": get_args(TargetRule), "prefer": WISHES}.get(option, ROLES)
        shares = ", or a mapping of shares by loss name" if option == "target" else ""
        return OptionError(option, f"must be one of {', '.join(choices)}{shares}; got {value}")
    rule = rule.replace("Expected ", "must be ").replace("`", "'").replace("'float | null'", "a number")
    rule = rule.replace("'int | null'", "a whole number").replace("'str | object | null'", "text or a mapping")
    for theirs, ours in _WORDS.items():
        rule = rule.replace(theirs, ours)
    rule = re.sub(r"(\d)\.0\b", r"\1", rule)
    return OptionError(option, f"{rule}, got {value}")
