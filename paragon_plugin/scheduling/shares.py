"""Target shares of the `gradient` signal: which part of the update each loss should have.

A share is a loss's part of the summed gradient magnitudes on the network's output; shares sum to 1.
"""

import math
import statistics
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from ..errors import OptionError, suggestion
from .options import ROLES, DynamicLossScheduling, LossRole, Role
from .roles import typical_shares

AUTO_FLOOR = 0.02
"""Smallest share of a role under `auto`, unless `share_floor` says otherwise."""


Key = TypeVar("Key")
"""A loss or a role."""


def normalised(shares: Mapping[Key, float]) -> dict[Key, float]:
    """The same proportions with sum 1."""
    total = sum(shares.values())
    return {name: share / total for name, share in shares.items()}


def bounded(shares: Mapping[Key, float], floor: Mapping[Key, float], ceiling: Mapping[Key, float]) -> dict[Key, float]:
    """Shares of sum 1 nearest in proportion to the given ones with `floor <= share <= ceiling`.

    Shares outside a bound are set to it and the others scaled to fill what is left, until none is outside. Where the
    bounds cannot be met together (one loss alone under a ceiling) they yield: the sum is always 1.
    """
    result = normalised(shares)
    fixed: dict[Key, float] = {}
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


def within_tolerance(measured: Mapping[Key, float], typical: Mapping[Key, float], tolerance: float) -> dict[Key, float]:
    """The measured shares where they stand near the typical ones, the typical ones where they are far; of sum 1.

    With d_i = log(measured_i / typical_i) and c their median,

        t_i ~ typical_i exp(psi(d_i - c)),    h = log(tolerance) / 2,
        psi(x) = sign(x) max(0, min(|x|, (3 h - |x|) / 2)),

    Hampel's redescending function without its flat part ("The influence curve and its role in robust estimation",
    1974): x up to h, from there falling in a straight line to 0 at 3 h. A share near the typical one is a choice, and
    kept. One far from it is a weight in the wrong unit. It says nothing about a choice.

    The proportion of two is at most `tolerance` times the typical one, either way; those within the square root of
    `tolerance` of the median keep their proportions. Of two that are D times off, they end off by D up to `tolerance`,
    by `(tolerance^3 / D)^(1/2)` up to its third power, and then by nothing.

    Args:
        measured: Measured shares; above 0.
        typical: Typical shares of the same keys; only their proportions count.
        tolerance: 1 gives the typical shares, infinity keeps the measured ones.
    """
    distance = {key: math.log(share / typical[key]) for key, share in measured.items()}
    centre = statistics.median(distance.values())
    half = math.log(tolerance) / 2
    return normalised({key: typical[key] * math.exp(_redescending(d - centre, half)) for key, d in distance.items()})


def _redescending(value: float, half: float) -> float:
    falling = max(0.0, (3 * half - abs(value)) / 2)
    return math.copysign(min(abs(value), falling), value)


def shares_by_role(
    measured: Mapping[str, float],
    roles: Mapping[str, Role],
    typical: Mapping[Role, float],
    tolerance: float,
    floor: float = 0.0,
) -> dict[str, float]:
    """The rule `auto`: `within_tolerance` between the roles, and within each of them, where equal parts are typical.

    A role's share does not depend on how many losses it is split into: splitting one in two changes nothing for the
    losses of the other roles. (Of its own role it does: only a rule that corrects nothing could leave those alone.)

    Args:
        measured: Measured share by loss; above 0.
        roles: Role by loss name, of those that compare with the target.
        typical: Typical share by role.
        tolerance: As in `within_tolerance`.
        floor: Smallest share of a role.
    """
    of_role: dict[Role, dict[str, float]] = {}
    for name, share in measured.items():
        of_role.setdefault(roles[name], {})[name] = share
    sums: dict[Role, float] = {role: math.fsum(own.values()) for role, own in of_role.items()}
    wanted = bounded(within_tolerance(sums, typical, tolerance), _floors(sums, floor), dict.fromkeys(sums, 1.0))
    parts = {role: within_tolerance(own, dict.fromkeys(own, 1.0), tolerance) for role, own in of_role.items()}
    return {name: wanted[roles[name]] * parts[roles[name]][name] for name in measured}


def target_shares(
    measured: Mapping[str, float],
    roles: Mapping[str, LossRole],
    base_weights: Mapping[str, float],
    options: DynamicLossScheduling,
) -> dict[str, float]:
    """Target shares for the losses in `measured` under the option block's rule; of sum 1.

    Args:
        measured: Measured share of each loss with its configured weight; above 0, sum 1. Under `auto` and `baseline`
            of the losses that compare with the target: the others have no target.
        roles: Role by loss name.
        base_weights: Configured weight by loss name; only magnitudes count.
        options: Rule (`target_rule`) and its bounds.

    Raises:
        OptionError: Explicit shares that leave out a loss; under `auto` a loss whose role is not known.
    """
    rule = options.target_rule
    if isinstance(rule, dict):
        check_explicit_shares(rule, measured)
        return normalised({name: rule[name] for name in measured})
    if rule == "weights":
        return normalised({name: abs(base_weights[name]) for name in measured})
    floor = floor_in_force(options)
    if rule == "baseline":
        return bounded(measured, _floors(measured, floor), dict.fromkeys(measured, options.share_ceiling or 1.0))
    if len(measured) == 1:  # whatever its role
        return dict.fromkeys(measured, 1.0)
    known = known_roles({name: roles[name] for name in measured})
    return shares_by_role(measured, known, typical_shares(options), options.share_tolerance, floor)


def floor_in_force(options: DynamicLossScheduling) -> float:
    """The smallest share under `auto` of a role, under `baseline` of a loss that compares with the target."""
    default = AUTO_FLOOR if options.target_rule == "auto" else 0.0
    return default if options.share_floor is None else options.share_floor


def bounds_in_force(options: DynamicLossScheduling) -> dict[str, Any]:
    """What decides the targets of a rule beside the measured shares, with its defaults: by option."""
    rule = options.target_rule
    if rule == "auto":
        own = {"share_tolerance": options.share_tolerance, "typical_shares": typical_shares(options)}
    elif rule == "baseline":
        own = {"share_ceiling": options.share_ceiling or 1.0}
    else:
        return {}
    return own | {"share_floor": floor_in_force(options)}


def _floors(keys: Collection[Key], floor: float) -> dict[Key, float]:
    """The same floor for each; where they do not fit, those that leave half to be shared out."""
    return dict.fromkeys(keys, floor if floor * len(keys) < 1 else 0.5 / len(keys))


def known_roles(roles: Mapping[str, LossRole]) -> dict[str, Role]:
    """The roles, all of them known.

    Raises:
        OptionError: One is not.
    """
    known: dict[str, Role] = {}
    for name, role in roles.items():
        if role == "unknown":
            raise OptionError(
                "target",
                f"is auto, which needs the role of every loss, and the name of {name} does not tell it; "
                f"say it: one of {', '.join(ROLES)}",
            )
        known[name] = role
    return known


def check_explicit_shares(shares: Mapping[str, float], losses: Mapping[str, object]) -> None:
    """Raise OptionError unless explicit target shares cover every scheduled loss."""
    missing = [name for name in losses if name not in shares]
    if missing:
        raise OptionError("target", f"no share for {', '.join(missing)}{suggestion(missing[0], shares)}")
