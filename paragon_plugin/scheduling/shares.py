"""Target shares of the `gradient` signal: which part of the update each loss should have.

A share is a loss's part of the summed gradient magnitudes on the network's output; shares sum to 1.
"""

import math
import statistics
from collections.abc import Mapping

from ..errors import OptionError, suggestion
from .options import DynamicLossScheduling, Role
from .roles import TYPICAL_SHARES


def normalised(shares: Mapping[str, float]) -> dict[str, float]:
    """The same proportions with sum 1."""
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}


def bounded(shares: Mapping[str, float], floor: Mapping[str, float], ceiling: Mapping[str, float]) -> dict[str, float]:
    """Shares of sum 1 nearest in proportion to the given ones with `floor <= share <= ceiling`.

    Shares outside a bound are set to it and the others scaled to fill what is left, until none is outside. Where the
    bounds cannot be met together (one loss alone under a ceiling) they yield: the sum is always 1.
    """
    result = normalised(shares)
    fixed: dict[str, float] = {}
    for _ in range(2 * len(result)):
        free = [name for name in result if name not in fixed]
        rest = 1 - sum(fixed.values())
        if not free or rest <= 0:
            break
        weight = sum(shares[name] for name in free)
        trial = {name: rest * shares[name] / weight for name in free}
        above = {name: ceiling[name] for name in free if trial[name] > ceiling[name]}
        below = {name: floor[name] for name in free if trial[name] < floor[name]}
        # Only the side with the larger violation is fixed in one round: fixing one may heal the other.
        excess = sum(trial[name] - ceiling[name] for name in above)
        lack = sum(floor[name] - trial[name] for name in below)
        if not above and not below:
            result = {**fixed, **trial}
            break
        fixed |= above if excess >= lack else below
        result = {**fixed, **{name: trial[name] for name in free if name not in fixed}}
    return normalised({name: result[name] for name in shares})


def within_tolerance(
    measured: Mapping[str, float],
    roles: Mapping[str, Role],
    *,
    tolerance: float,
    typical: Mapping[Role, float],
) -> dict[str, float]:
    """The measured shares where they stand near the typical ones of the losses' roles, else as near as is tolerated.

    With d_i = log(measured_i / typical_i) and c the median of the d_i over the roles,

        t_i ~ typical_i exp(clip(d_i - c, -h, h)),    h = log(tolerance) / 2,    normalised.

    The proportion of two losses is then at most `tolerance` times the typical one, either way; losses within the
    square root of `tolerance` of the median keep their proportions. A weight in the wrong unit is far from the median
    of the others, which keep theirs. Adversarial losses and regularizations do not count for the median: how large
    they are says nothing about the others.

    Several losses of one role split the role's typical share in proportion to their measured shares, so that
    splitting a loss in two changes nothing for the others.

    Args:
        measured: Measured share by loss; above 0.
        roles: Role by loss name.
        tolerance: 1 gives the typical shares, infinity keeps the measured ones.
        typical: Typical share by role.
    """
    of_role: dict[Role, float] = {}
    for name, share in measured.items():
        of_role[roles[name]] = of_role.get(roles[name], 0.0) + share
    distance: dict[Role, float] = {role: math.log(share / typical[role]) for role, share in of_role.items()}
    centre = statistics.median([d for role, d in distance.items() if role in _FIDELITY] or distance.values())
    half = math.log(tolerance) / 2
    wanted = {role: typical[role] * math.exp(min(max(d - centre, -half), half)) for role, d in distance.items()}
    return normalised({name: wanted[roles[name]] * share / of_role[roles[name]] for name, share in measured.items()})


_FIDELITY: tuple[Role, ...] = ("pixel", "structural", "perceptual")
"""Roles of losses that compare with the target image."""


def target_shares(
    measured: Mapping[str, float],
    roles: Mapping[str, Role],
    base_weights: Mapping[str, float],
    options: DynamicLossScheduling,
) -> dict[str, float]:
    """Target shares for the losses in `measured` under the option block's rule.

    Args:
        measured: Measured share of each loss with its configured weight; sum 1.
        roles: Role by loss name.
        base_weights: Configured weight by loss name; only magnitudes count.
        options: Rule (`target_rule`) and its bounds.

    Raises:
        OptionError: Explicit shares that leave out a loss.
    """
    rule = options.target_rule
    if isinstance(rule, dict):
        check_explicit_shares(rule, measured)
        return normalised({name: rule[name] for name in measured})
    if rule == "weights":
        return normalised({name: abs(base_weights[name]) for name in measured})
    floor = dict.fromkeys(measured, min(options.share_floor, 0.5 / len(measured)))  # many losses: floors must fit
    # A regularization knows no target: small is what it is meant to be, and raised it smooths the image away.
    lowered_only = {name: share for name, share in measured.items() if roles[name] == "regularization"}
    if len(lowered_only) == len(measured):
        lowered_only = {}
    floor |= {name: min(floor[name], share) for name, share in lowered_only.items()}
    if rule == "baseline":
        return bounded(measured, floor, dict.fromkeys(measured, options.share_ceiling))
    typical: dict[Role, float] = {**TYPICAL_SHARES, **options.typical_shares}
    wanted = within_tolerance(measured, roles, tolerance=options.share_tolerance, typical=typical)
    adversarial = [name for name in measured if roles[name] == "adversarial"]
    # The ceiling is the role's: its losses split it in the proportion they would have without it.
    together = sum(wanted[name] for name in adversarial)
    ceiling = {
        name: options.adversarial_share * wanted[name] / together if name in adversarial else 1.0 for name in wanted
    } | lowered_only
    floor = {name: min(floor[name], ceiling[name]) for name in wanted}
    return bounded(wanted, floor, ceiling)


def check_explicit_shares(shares: Mapping[str, float], losses: Mapping[str, object]) -> None:
    """Raise OptionError unless explicit target shares cover every scheduled loss."""
    missing = [name for name in losses if name not in shares]
    if missing:
        raise OptionError("target", f"no share for {', '.join(missing)}{suggestion(missing[0], shares)}")
