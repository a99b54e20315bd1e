"""Auto-calibration: the scheduler's effective parameters as one pure function.

    preset(size) x dataset factor x phase factor x correction factor -> clamp -> manual values win

The product is clamped once, at the end: momentum to [0, 0.99], adaptation_rate to [0.001, 1], max_weight to at
least 1. Every value carries its provenance in words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .options import DynamicLossScheduling
from .presets import Preset

Phase = Literal["early", "main", "late"]
Complexity = Literal["simple", "moderate", "complex"]


@dataclass(frozen=True)
class Factors:
    """Factors on the three parameters that auto-calibration adjusts; 1 leaves a parameter alone."""

    momentum: float = 1.0
    adaptation_rate: float = 1.0
    max_weight: float = 1.0


PHASES: dict[Phase, Factors] = {
    "early": Factors(0.9, 0.7, 0.5),
    "main": Factors(),
    "late": Factors(1.02, 1.1, 1.2),
}
DATASETS: dict[Complexity, Factors] = {
    "simple": Factors(0.95, 1.2, 0.8),
    "moderate": Factors(),
    "complex": Factors(1.05, 0.8, 1.3),
}
NO_CORRECTION = Factors()

BASELINE_SHARE_OF_RUN = 0.05
"""A baseline window takes at most this part of a run..."""
BASELINE_MINIMUM = 10
"""... but is never cut below this many iterations."""


@dataclass(frozen=True)
class Parameters:
    """Effective parameters of the scheduler, with where each value came from."""

    momentum: float
    adaptation_rate: float
    adaptation_threshold: float
    min_weight: float
    max_weight: float
    baseline_iterations: int
    provenance: Mapping[str, str]

    NAMES = (
        "momentum",
        "adaptation_rate",
        "adaptation_threshold",
        "min_weight",
        "max_weight",
        "baseline_iterations",
    )


def training_phase(iteration: int, total_iter: int) -> Phase:
    """Phase by progress = iteration / total_iter: early below 0.1, main below 0.8, late from there on."""
    progress = iteration / max(total_iter, 1)
    return "early" if progress < 0.1 else "main" if progress < 0.8 else "late"


def effective_parameters(
    preset: Preset,
    source: str,
    *,
    total_iter: int,
    phase: Phase | None = None,
    dataset: Complexity | None = None,
    correction: Factors = NO_CORRECTION,
    manual: DynamicLossScheduling,
) -> Parameters:
    """Combine preset, dataset, phase, correction and manual values into the parameters in force.

    Args:
        preset: Starting values.
        source: What the preset is, for the provenance (`preset nano`, `default`).
        total_iter: Length of the run; caps the baseline window at 5 % of it (at least 10 iterations).
        phase: Training phase, None to apply no phase factor.
        dataset: Complexity class of the data, None while it is unknown: no factor.
        correction: Product of the corrections of the stability monitor.
        manual: The user's block; a parameter given there overrides the computed one, unclamped.
    """
    values: dict[str, float] = {name: getattr(preset, name) for name in Parameters.NAMES}
    provenance: dict[str, str] = dict.fromkeys(Parameters.NAMES, source)
    named: list[tuple[str, Factors]] = []
    if dataset is not None:
        named.append((f"{dataset} dataset", DATASETS[dataset]))
    if phase is not None:
        named.append((f"{phase} phase", PHASES[phase]))
    named.append(("stability correction", correction))
    for label, factors in named:
        for name in ("momentum", "adaptation_rate", "max_weight"):
            factor = getattr(factors, name)
            if factor != 1:
                values[name] *= factor
                provenance[name] += f" x {label} {factor:.3g}"

    clamped = {
        "momentum": min(max(values["momentum"], 0.0), 0.99),
        "adaptation_rate": min(max(values["adaptation_rate"], 0.001), 1.0),
        "max_weight": max(values["max_weight"], 1.0),
    }
    for name, value in clamped.items():
        if value != values[name]:
            provenance[name] += ", clamped"
    values |= clamped

    cap = max(BASELINE_MINIMUM, int(total_iter * BASELINE_SHARE_OF_RUN))
    if values["baseline_iterations"] > cap:
        values["baseline_iterations"] = cap
        provenance["baseline_iterations"] += f", capped at {BASELINE_SHARE_OF_RUN:.0%} of total_iter (at least 10)"

    for name in Parameters.NAMES:
        value = getattr(manual, name)
        if value is not None:
            values[name] = value
            provenance[name] = "set by the user"
    return Parameters(
        momentum=values["momentum"],
        adaptation_rate=values["adaptation_rate"],
        adaptation_threshold=values["adaptation_threshold"],
        min_weight=values["min_weight"],
        max_weight=values["max_weight"],
        baseline_iterations=int(values["baseline_iterations"]),
        provenance=provenance,
    )
