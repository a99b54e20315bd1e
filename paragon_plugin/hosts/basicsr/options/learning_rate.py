"""The learning rate as a function of the option file and the iteration alone.

    rate(i) = full * i / warmup_iter          for i < warmup_iter
    rate(i) = schedule(full, i - 1)           from there on

These are the host's schedules. The host multiplies the rate that it finds, and its warm-up writes that rate; here
nothing is carried from one iteration to the next. So a resumed run, a moved milestone and a milestone within the
warm-up all give what the file says.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def multi_step(
    full: float,
    steps: int,
    *,
    milestones: Iterable[float],
    gamma: float = 0.1,
    restarts: Sequence[float] = (0,),
    restart_weights: Sequence[float] = (1,),
) -> float:
    """`MultiStepLR` and `MultiStepRestartLR`.

    Args:
        full: The optimizer's rate.
        steps: Steps that are done: iteration - 1.
        milestones: Steps after which the rate is multiplied by gamma; one that stands twice counts twice.
        gamma: Factor of a milestone.
        restarts: Steps after which the rate starts over; milestones before it, or at it, count no more.
        restart_weights: Factor on the full rate from each restart on.
    """
    past = [place for place in restarts if place <= steps]
    begin = max(past, default=-math.inf)
    rate = full * restart_weights[restarts.index(begin)] if past else full
    for milestone, count in sorted(Counter(milestones).items()):
        if begin < milestone <= steps:
            rate *= gamma**count
    return rate


def cosine_restart(
    full: float,
    steps: int,
    *,
    periods: Sequence[float],
    restart_weights: Sequence[float] = (1,),
    eta_min: float = 0.0,
) -> float:
    """`CosineAnnealingRestartLR`; arguments as in `multi_step`. After the last period the rate stays where it ended.

    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017.

    Args:
        full: The optimizer's rate.
        steps: Steps that are done: iteration - 1.
        periods: Length of each descent, in steps.
        restart_weights: Factor on the descent of each period.
        eta_min: The rate where a period ends.
    """
    steps = min(steps, math.ceil(sum(periods)))
    begin, place = 0.0, 0
    while steps > begin + periods[place] and place < len(periods) - 1:
        begin += periods[place]
        place += 1
    period, weight = periods[place], restart_weights[place]
    return eta_min + weight * 0.5 * (full - eta_min) * (1 + math.cos(math.pi * ((steps - begin) / period)))


SCHEDULES = {
    "MultiStepLR": multi_step,
    "MultiStepRestartLR": multi_step,
    "CosineAnnealingRestartLR": cosine_restart,
}
"""The host's schedules by the names of the option file."""


def rate_at(full: float, iteration: int, warmup_iter: float, schedule: str, options: Mapping[str, Any]) -> float:
    """The learning rate of an iteration.

    Args:
        full: The optimizer's rate.
        iteration: From 1.
        warmup_iter: Iteration from which the schedule holds; -1 for no warm-up.
        schedule: A name in `SCHEDULES`.
        options: Of the schedule, without `type`.
    """
    if iteration < warmup_iter:
        return full / warmup_iter * iteration
    return SCHEDULES[schedule](full, iteration - 1, **options)
