"""Scheduler parameters per network size, and which size an arbitrary network is nearest to."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """Starting parameters of the scheduler for one network size; see `options.DynamicLossScheduling` for meanings."""

    momentum: float
    adaptation_rate: float
    max_weight: float
    baseline_iterations: int
    min_weight: float = 1e-6
    adaptation_threshold: float = 0.05


PRESETS: dict[str, Preset] = {
    "nano": Preset(0.85, 0.015, 5.0, 50),
    "micro": Preset(0.87, 0.012, 7.5, 75),
    "tiny": Preset(0.89, 0.010, 10.0, 100),
    "xs": Preset(0.90, 0.009, 15.0, 125),
    "s": Preset(0.91, 0.008, 20.0, 150),
    "m": Preset(0.92, 0.007, 30.0, 200),
    "l": Preset(0.93, 0.006, 50.0, 250),
    "xl": Preset(0.94, 0.005, 75.0, 300),
}
"""Small networks follow quickly within narrow bounds, large ones slowly within wide ones."""

MANUAL = Preset(0.9, 0.01, 100.0, 100, adaptation_threshold=0.1)
"""Defaults without auto-calibration."""


PARAMETERS: dict[str, int] = {
    "nano": 9_149,
    "micro": 16_109,
    "tiny": 23_069,
    "xs": 57_869,
    "s": 380_653,
    "m": 1_338_125,
    "l": 5_991_949,
    "xl": 17_727_501,
}
"""Trainable parameters of each size at x2: what other networks are compared with."""


def nearest_size(parameters: int, sizes: Mapping[str, int] = PARAMETERS) -> str:
    """The size whose number of trainable parameters is nearest on a log scale.

    Args:
        parameters: Trainable parameters of the network, at least 1.
        sizes: Trainable parameters by size name.
    """
    return min(sizes, key=lambda size: abs(math.log(max(parameters, 1) / sizes[size])))
