"""What the scheduler measured of each loss, what it gave it, and where it stands."""

import math
from dataclasses import dataclass

from .run_history import LoggedDecision, RunHistory


@dataclass(frozen=True)
class Calibration:
    """A row of the calibration table."""

    loss: str
    role: str
    iteration: int | None
    measured: float | None
    target: float | None
    share: float | None
    factor: float
    multiplier: float | None
    """What the factor has become since, over the calibration."""
    easing: bool
    """When the weight was last logged the calibration was still easing in; `multiplier` then says nothing of drift."""
    base_weight: float | None
    weight: float | None


def calibrations(run: RunHistory) -> list[Calibration]:
    """What was measured of each loss, what it was given, and where it stands."""
    decided = {d.losses[0]: d for d in run.decisions if d.kind == "calibrated" and d.losses}
    shares, weights = run.under("loss_shares/"), run.under("loss_weights/")
    rows = []
    for loss in dict.fromkeys([*run.recipe, *shares, *decided]):
        decision = decided.get(loss)
        role, base = run.recipe.get(loss, ("", None))
        factor = _finite(decision.after.get("calibration")) if decision else None
        factor = 1.0 if factor is None else factor
        weight = _finite(weights[loss][-1][1]) if loss in weights else None
        given = base * factor if base is not None else 0.0
        rows.append(
            Calibration(
                loss=loss,
                role=role,
                iteration=decision.iteration if decision else None,
                measured=_finite(decision.before.get("share")) if decision else None,
                target=_finite(decision.after.get("share")) if decision else None,
                share=_finite(shares[loss][-1][1]) if loss in shares else None,
                factor=factor,
                multiplier=weight / given if weight is not None and given else None,
                easing=decision is not None and loss in weights and weights[loss][-1][0] < _eased_in(run, decision),
                base_weight=base,
                weight=weight,
            )
        )
    return rows


def baseline_iterations(run: RunHistory) -> int | None:
    """Iterations for which a loss is watched before its weight moves; None where the log does not tell."""
    return next((int(float(value)) for name, value, _ in run.parameters if name == "baseline_iterations"), None)


def _finite(value: float | None) -> float | None:
    """What is no number is not known."""
    return value if value is not None and math.isfinite(value) else None


def _eased_in(run: RunHistory, decision: LoggedDecision) -> int:
    """The iteration at which a calibration has its full effect: it eases in over as many as the loss was watched."""
    return decision.iteration + (baseline_iterations(run) or decision.iteration)
