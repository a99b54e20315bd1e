"""What was asked for and what became of it, in words."""

from collections.abc import Iterable, Mapping, Sequence

from .decisions import percent
from .options import DynamicLossScheduling, LossRole
from .roles import COMPARING, typical_limits, typical_shares
from .shares import normalised
from .signals import Limit


def target_text(options: DynamicLossScheduling, roles: Iterable[LossRole]) -> str:
    """What is held, after the word "target", and what that means for losses of these roles."""
    if options.signal != "gradient":
        return f"none: follows {options.signal}"
    means = wish_text(options, roles)
    return _rule_text(options) + (f" ({means})" if means else "")


def _rule_text(options: DynamicLossScheduling) -> str:
    """The rule in force, short: `auto, prefer balanced`, `baseline`, or the shares."""
    rule = options.target_rule
    if isinstance(rule, dict):
        return ", ".join(f"{name} {percent(share)}" for name, share in normalised(rule).items())
    return f"auto, prefer {options.prefer or 'balanced'}" if rule == "auto" else rule


def wish_text(options: DynamicLossScheduling, roles: Iterable[LossRole]) -> str:
    """A wish in words, for losses of these roles.

    `typical is pixel 40 % and perceptual 60 %, adversarial 2.5 % to 5 %`, for instance.
    Empty where the rule is not `auto`, or one role or less has a share.
    """
    if options.signal != "gradient" or options.target_rule != "auto":
        return ""
    present = set(roles)
    typical = {role: share for role, share in typical_shares(options).items() if role in present}
    comparing = {str(role): share for role, share in typical.items() if role in COMPARING}
    parts = [f"{role} {percent(share)}" for role, share in normalised(comparing).items()]
    limits = [f"{role} {_range_text(*own)}" for role, own in typical_limits(options).items() if role in present]
    if len(parts) + len(limits) < 2:
        return ""
    return ", ".join([f"typical is {in_words(parts)}"] * bool(parts) + limits)


def in_words(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def limit_texts(limits: Iterable[Limit]) -> list[str]:
    """A line for each limit: `gan_loss: 2.5 % to 5 % of the update.`"""
    return [f"{', '.join(one.losses)}: {limit_text(one)} of the update." for one in limits]


def limit_text(limit: Limit) -> str:
    """`2.5 % to 5 %`, or `at most 2 %` for losses that are never raised."""
    return _range_text(limit.least, limit.share)


def _range_text(least: float, largest: float) -> str:
    return f"{percent(least)} to {percent(largest)}" if least > 0 else f"at most {percent(largest)}"


def outcome_text(options: DynamicLossScheduling, roles: Iterable[LossRole], factors: Mapping[str, float]) -> str:
    """What was wished and what it did, in one sentence; empty where there was no wish.

    Args:
        options: The scheduler's block.
        roles: Of the losses.
        factors: Factor of each loss in force.
    """
    meaning = wish_text(options, roles)
    if not meaning:
        return ""
    moved = [f"{name} x {factor:.3g}" for name, factor in factors.items() if abs(factor - 1) > 0.05]
    did = f"it changed {', '.join(moved)}" if moved else "it kept the weights"
    default = "" if options.prefer else " (the default)"
    return f"prefer {options.prefer or 'balanced'}{default}: {meaning}; {did}"
