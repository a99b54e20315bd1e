"""What was asked for and what became of it, in words."""

from collections.abc import Iterable, Mapping

from .decisions import percent
from .options import DynamicLossScheduling, LossRole
from .roles import COMPARING, typical_shares
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
    """A wish in words: `typical is pixel 40 % and perceptual 60 %, adversarial at most 5 %`, for losses of these roles.

    Empty where the rule is not `auto`, or one role or less has a share.
    """
    if options.signal != "gradient" or options.target_rule != "auto":
        return ""
    present = set(roles)
    typical = {role: share for role, share in typical_shares(options).items() if role in present}
    comparing = {str(role): share for role, share in typical.items() if role in COMPARING}
    parts = [f"{role} {percent(share)}" for role, share in normalised(comparing).items()]
    limits = [f"{role} at most {percent(share)}" for role, share in typical.items() if role not in COMPARING]
    if len(parts) + len(limits) < 2:
        return ""
    return ", ".join([f"typical is {' and '.join(parts)}"] * bool(parts) + limits)


def limit_texts(limits: Iterable[Limit]) -> list[str]:
    """A line for each limit: `gan_loss: at most 5 % of the update, never raised.`"""
    return [f"{', '.join(one.losses)}: at most {percent(one.share)} of the update, never raised." for one in limits]


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
