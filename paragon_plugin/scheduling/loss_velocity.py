"""Signal `loss_velocity`: lean against a loss that rises quickly, help one that falls quickly.

    S_k = a |L_k| + (1 - a) S_(k-1),  a = 1 - exp(-1/10)        (time constant 10 iterations)
    V_k = b V_(k-1) + (1 - b) (S_k - S_(k-1)),  b = momentum
    relative velocity = V_k / S_k

While its magnitude is above `adaptation_threshold` the multiplier steps by a tenth of the rate limit's room,
down when the loss rises, up when it falls.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .calibration import Parameters
from .options import DynamicLossScheduling
from .readings import LossInfo, Reading
from .signals import Signal

TIME_CONSTANT = 10.0
ROOM = 0.1


class LossVelocity(Signal):
    """See the module's docstring."""

    def __init__(self, losses: Sequence[LossInfo], _options: DynamicLossScheduling):
        self.smoothed: dict[str, float] = {}
        self.velocity = {loss.name: 0.0 for loss in losses}

    def observe(self, name: str, reading: Reading, parameters: Parameters, _window: bool) -> bool:
        value = abs(reading.value)
        before = self.smoothed.get(name, value)
        a = 1 - math.exp(-1 / TIME_CONSTANT)
        self.smoothed[name] = a * value + (1 - a) * before
        change = self.smoothed[name] - before
        self.velocity[name] = parameters.momentum * self.velocity[name] + (1 - parameters.momentum) * change
        return True

    def desired(self, name: str, multiplier: float, parameters: Parameters) -> float:
        if self.smoothed[name] <= 0:
            return multiplier
        relative = self.velocity[name] / self.smoothed[name]
        if abs(relative) <= parameters.adaptation_threshold:
            return multiplier
        wanted = multiplier * (1 + parameters.adaptation_rate) ** (-math.copysign(ROOM, relative))
        return min(max(wanted, parameters.min_weight), parameters.max_weight)

    def state_dict(self) -> dict[str, Any]:
        return {"smoothed": dict(self.smoothed), "velocity": dict(self.velocity)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.smoothed = dict(state["smoothed"])
        self.velocity |= state["velocity"]
