"""The common form of the three signals that multipliers can follow.

A signal turns the readings of each loss into the multiplier it desires for it; how fast and how far a multiplier may
move is the scheduler's business. State is plain numbers in a `state_dict`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .calibration import Parameters
from .readings import Reading

ROUNDING = 1e-9
"""Relative differences below this are no differences: what is right stays exactly as it is, without a dead band too."""


@dataclass(frozen=True)
class Calibration:
    """What calibration decided for one loss at the end of its baseline window."""

    factor: float
    """u_i, the correction of the loss's unit; 1 where its share was already on target."""
    measured: float
    """Share with the configured weights."""
    target: float
    """Share it is given."""


@dataclass(frozen=True)
class Limit:
    """The largest share that some losses may have together at a step, and the smallest one that they should have."""

    losses: tuple[str, ...]
    share: float
    least: float = 0.0
    """0 for losses that are never raised."""


class Signal(Protocol):
    """Turns readings into desired multipliers. Arguments go by position: not every signal has a use for each.

    What has a body here is that of a signal without shares: nothing is calibrated, nothing limited.
    """

    def observe(self, name: str, reading: Reading, parameters: Parameters, window: bool, /) -> bool:
        """Take in one finite reading; `window`: it belongs to the loss's baseline window.

        Returns whether the reading says something. One that does not (a vanished gradient) is not counted.
        """
        ...

    def holds(self, _name: str, /) -> bool:
        """Whether the loss is calibrated and followed; else its weight is kept, under its limit if it has one."""
        return True

    def calibrate(self, _names: Sequence[str], _parameters: Parameters, /) -> dict[str, Calibration]:
        """End the baseline windows of these losses; losses not in the answer keep factor 1."""
        return {}

    def desired(self, name: str, multiplier: float, parameters: Parameters, /) -> float:
        """The multiplier that a calibrated loss should have; `multiplier` itself where it should stay."""
        ...

    def target(self, _name: str, /) -> float | None:
        """The share that the loss is held at, where the signal has such a thing."""
        return None

    def limits(self, _names: Sequence[str], /) -> list[Limit]:
        """The limits on the shares of losses that can act, for a step at which these are active."""
        return []

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def outside_dead_band(multiplier: float, desired: float, threshold: float) -> bool:
    """Whether `abs(log(desired / multiplier)) > log(1 + threshold)`, by more than rounding."""
    return abs(math.log(desired / multiplier)) > math.log1p(threshold) + ROUNDING
