"""Runs of the scheduler on synthetic losses of known gradient norms, for the tests of this folder."""

from collections.abc import Callable, Mapping
from typing import Any

from paragon_plugin.scheduling import DynamicLossScheduler, LossInfo, Reading, Step
from paragon_plugin.scheduling.options import DynamicLossScheduling, LossRole, parse_dynamic_loss_scheduling

Roles = dict[str, LossRole]
"""Role of each loss by name."""

Norms = Callable[[int], Mapping[str, float]]
"""Gradient norm of each active loss at an iteration."""


def block(**options: Any) -> DynamicLossScheduling:
    return parse_dynamic_loss_scheduling({"enabled": True, **options})


def new_scheduler(
    roles: Mapping[str, LossRole],
    *,
    weights: Mapping[str, float] | None = None,
    total_iter: int = 100_000,
    size: str = "nano",
    **options: Any,
) -> DynamicLossScheduler:
    losses = [LossInfo(name, role, (weights or {}).get(name, 1.0)) for name, role in roles.items()]
    return DynamicLossScheduler(losses, block(**options), total_iter=total_iter, size=size)


def readings(norms: Mapping[str, float]) -> dict[str, Reading]:
    return {name: Reading(value=norm, gradient_norm=norm) for name, norm in norms.items()}


def run(scheduler: DynamicLossScheduler, norms: Norms, last: int, first: int = 1) -> list[Step]:
    """Steps `first`..`last`; loss values equal their norms."""
    return [scheduler.step(iteration, readings(norms(iteration))) for iteration in range(first, last + 1)]


def constant(**norms: float) -> Norms:
    return lambda _: norms


def shares(factors: Mapping[str, float], norms: Mapping[str, float]) -> dict[str, float]:
    contributions = {name: factors[name] * norm for name, norm in norms.items()}
    return {name: c / sum(contributions.values()) for name, c in contributions.items()}
