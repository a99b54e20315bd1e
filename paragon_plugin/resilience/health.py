"""Finds out whether a run is in trouble: losses that are not finite or far above their lowest value, weights with NaN.

A checkpoint holds what was found when it was written. So a diverged checkpoint can be told from a healthy one later,
when old checkpoints are removed, when one is named, and when a run is resumed.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.9
"""Of the moving average of a loss, in iterations."""
SETTLED = 10
"""Iterations after which an average counts."""
GROWTH = 10.0
"""A loss whose average is so many times its lowest one is no longer what it was trained to."""
EARLY_GROWTH = 100.0
"""The same before that, when its lowest one is that of a single batch."""
WEIGHT_GROWTH = 1000.0
"""Weights whose norm is so many times that of the beginning are ruined; the losses tell it one step later."""
PENDING = 100
"""Iterations whose values wait on the device, to be read at once."""


class Health:
    """The health of a run, judged by its losses and weights.

    Args:
        watched: Losses whose growth is trouble: those that compare the output with the ground truth. It is normal that
            an adversarial loss rises.
    """

    def __init__(self, watched: list[str]):
        self.watched = set(watched)
        self._pending: list[dict[str, Tensor | float]] = []
        self._averages: dict[str, dict[str, float]] = {}
        self._broken: dict[str, float] = {}
        self._norms: dict[str, float] = {}

    def begin(self, networks: Mapping[str, nn.Module]) -> None:
        """Take note of how large the weights are where a run begins or goes on.

        Args:
            networks: By the names to tell them by.
        """
        self._norms = {name: _norm(network) for name, network in networks.items()}

    def observe(self, values: Mapping[str, Tensor | float]) -> None:
        """Take in the losses of an iteration; those on a device are read later, many at once."""
        self._pending.append({name: v.detach() if isinstance(v, Tensor) else v for name, v in values.items()})
        if len(self._pending) >= PENDING:
            self._read()

    def trouble(self, networks: Mapping[str, nn.Module]) -> str:
        """What is the matter now, in words; empty where the run is healthy.

        Args:
            networks: By the names to tell them by.
        """
        self._read()
        for name, network in networks.items():
            for key, value in network.state_dict().items():
                if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                    return f"{name} holds NaN or infinity ({key})"
            growth = _norm(network) / max(self._norms.get(name, math.inf), 1.0)
            if growth > WEIGHT_GROWTH:
                return f"the weights of {name} are {growth:,.3g} times as large as at the beginning"
        for name, value in self._broken.items():
            return f"{name} is {value:g}"
        for name, past in self._averages.items():
            growth = GROWTH if past["seen"] >= SETTLED else EARLY_GROWTH
            if past["mean"] > growth * past["lowest"] and past["mean"] > 2 * past["first"]:
                return f"{name} is {past['mean'] / past['lowest']:,.0f} times its lowest value"
        return ""

    def _read(self) -> None:
        tensors = [v for values in self._pending for v in values.values() if isinstance(v, Tensor)]
        numbers = iter(torch.stack([t.double().reshape(()) for t in tensors]).tolist() if tensors else [])
        for values in self._pending:
            self._take({name: next(numbers) if isinstance(v, Tensor) else v for name, v in values.items()})
        self._pending = []

    def _take(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._broken.pop(name, None)
            if not math.isfinite(value):
                self._broken[name] = value
        for name in self.watched & values.keys() - self._broken.keys():
            size = abs(values[name])
            past = self._averages.setdefault(name, {"mean": size, "seen": 0, "first": size, "lowest": size})
            past["seen"] += 1
            past["mean"] += (1 - MOMENTUM) * (size - past["mean"])
            if past["seen"] == SETTLED:  # until now the measure was a single batch
                past["first"] = past["lowest"] = min(past["mean"], GROWTH * past["lowest"])
            past["lowest"] = min(past["lowest"], past["mean"])

    def state_dict(self) -> dict[str, Any]:
        """State to save with a training state: plain values."""
        self._read()
        return {"averages": {name: dict(past) for name, past in sorted(self._averages.items())}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""
        averages = state.get("averages", {})
        self._averages = {name: dict(past) for name, past in averages.items() if name in self.watched}


@torch.no_grad()
def _norm(network: nn.Module) -> float:
    """L2 norm of all weights; in double precision, in which no square of a float32 is too large."""
    weights = [weight.detach().double().flatten() for weight in network.parameters()]
    return float(torch.linalg.vector_norm(torch.cat(weights))) if weights else 0.0
