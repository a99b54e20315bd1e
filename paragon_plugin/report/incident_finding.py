"""What was out of the ordinary in a run, counted and in sentences."""

import math
from collections.abc import Sequence

from .finding import Finding
from .run_history import RunHistory

INCIDENTS = {
    "nonfinite": "step(s) with NaN or infinity skipped",
    "corrected": "time(s) the losses grew or varied strongly and the scheduler became more cautious",
    "guard_rail": "time(s) an adversarial loss was held at its limit",
}


def incident_finding(run: RunHistory) -> Finding:
    """Everything out of the ordinary, counted."""
    parts = []
    for kind, words in INCIDENTS.items():
        iterations = [decision.iteration for decision in run.decisions if decision.kind == kind]
        if iterations:
            parts.append(f"{len(iterations)} {words} ({_where(iterations)})")
    broken = _nonfinite_losses(run)
    if broken:
        parts.append(f"losses that are NaN or infinite in the log ({_where(broken)})")
    if run.resumed_from:
        parts.append(f"resumed from iteration {', '.join(f'{i:,}' for i in run.resumed_from)}")
    if run.state == "silent":
        parts.append("its record stops without an end")
    if run.state == "failed":
        parts.append("it ended with an error")
    if run.warnings:
        parts.append(f"{len(run.warnings)} warning{'s' * (len(run.warnings) > 1)} in the log")
    if not parts:
        watched = _watched(run)
        if not watched:
            return Finding("Any incidents?", "Unknown.", "The run has left neither losses nor a log.")
        return Finding("Any incidents?", "None.", _sentence(", ".join(f"no {what}" for what in watched)), "good")
    decided = any(d.kind in ("nonfinite", "corrected") for d in run.decisions)
    serious = run.state in ("silent", "failed") or decided or bool(broken)
    return Finding(
        "Any incidents?", "Yes." if serious else "Minor.", _sentence("; ".join(parts)), "bad" if serious else "plain"
    )


def _nonfinite_losses(run: RunHistory) -> list[int]:
    """Iterations at which a loss was logged as NaN or infinite, beside the steps that the scheduler skipped."""
    skipped = {decision.iteration for decision in run.decisions if decision.kind == "nonfinite"}
    logged = {i for points in run.under("losses/").values() for i, value in points if not math.isfinite(value)}
    return sorted(logged - skipped)


def _watched(run: RunHistory) -> list[str]:
    """What would have shown: the scheduler sees NaN and, with auto_calibrate, instability; else there is the log."""
    watched = ["NaN"] if run.scheduled else ["NaN in the logged losses"] if run.under("losses/") else []
    if run.scheduling is not None and run.scheduling.enabled and run.scheduling.auto_calibrate:
        watched.append("instability")
    return watched + (["warnings"] if run.options else [])


def _where(iterations: Sequence[int]) -> str:
    return f"iteration {iterations[0]:,}" + (f" to {iterations[-1]:,}" if len(iterations) > 1 else "")


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
