"""What the loss scheduler did in a run and why, in sentences."""

import math
from typing import get_args

from ..scheduling.decisions import percent
from ..scheduling.options import DynamicLossScheduling, Role
from ..scheduling.roles import COMPARING, typical_shares
from ..scheduling.shares import shares_by_role
from .calibration_table import Calibration, baseline_iterations, calibrations
from .finding import Finding
from .run_history import RunHistory

MOVED = 0.05
"""A multiplier within this of 1 has stayed where it was."""

WHY = {
    "baseline": "The weights are taken to be tuned (target: baseline): it aims at the parts that were measured.",
    "weights": "It aims at the parts that the configured weights spell out (target: weights).",
    "explicit": "It aims at the parts that are asked for by name.",
}

UNPROVEN = "Whether that helped, one run cannot tell: train with the scheduler off too and compare the two reports."

FOLLOWED = {
    "loss_ratio": "It compares each loss with its own mean over the first iterations (signal: loss_ratio): one that "
    "has grown far beyond it gets less weight, one that has nearly vanished gets more.",
    "loss_velocity": "It watches how fast each loss changes (signal: loss_velocity): one that rises quickly gets less "
    "weight, one that falls quickly gets more.",
}
"""What the signals do that calibrate nothing."""


def target_rule(run: RunHistory) -> str:
    """Which rule gave the targets, `auto`, `baseline`, `weights` or `explicit`; empty for the other signals."""
    if run.scheduling is None or run.scheduling.signal != "gradient":
        return ""
    rule = run.scheduling.target_rule
    return "explicit" if isinstance(rule, dict) else rule


def scheduler_finding(run: RunHistory) -> Finding:
    """What it measured, what it set, why, and what has moved since."""
    question = "What did the loss scheduler do, and why?"
    if not run.scheduled:
        return Finding(question, "It was off.", "The losses were summed with their configured, constant weights.")
    if run.scheduling is not None and run.scheduling.signal in FOLLOWED:
        return _following_finding(run, question, FOLLOWED[run.scheduling.signal])
    if run.scheduling is not None and run.scheduling.observe:
        shares = " and ".join(f"{row.loss} makes {percent(row.share)}" for row in calibrations(run) if row.share)
        said = f"It only observed (observe: true): the weights are constant. {shares or 'Nothing was measured yet'}"
        return Finding(question, "It changed nothing.", f"{said}{' of each update now' if shares else ''}.")
    rows = [row for row in calibrations(run) if row.measured is not None and row.target is not None]
    if not rows:
        going = "is still measuring" if run.state == "running" else "had not finished measuring"
        said = f"It {going} what part of each update comes from each loss."
        return Finding(question, "Nothing yet.", said)
    measured = " and ".join(f"{row.loss} made {percent(row.measured or 0)}" for row in rows)
    given = " and ".join(f"{row.loss} {percent(row.target or 0)}" for row in rows)
    last = max(row.iteration or 0 for row in rows)
    changed = any(abs(math.log(row.factor)) > 0.01 for row in rows if row.factor > 0)
    why = _typical(run, rows) if target_rule(run) == "auto" else WHY.get(target_rule(run), "")
    said = [f"It measured until iteration {last:,}: {measured} of each update to the network."]
    if changed:
        said.append(f"It then re-weighted the losses to give {given}.")
    else:
        said.append("That is where they should be, so it kept the weights.")
    said += [why, _drift(run)]
    if changed:
        said.append(UNPROVEN)
    verdict = "It re-balanced the losses." if changed else "It kept the weights."
    return Finding(question, verdict, " ".join(filter(None, said)))


def _following_finding(run: RunHistory, question: str, rule: str) -> Finding:
    """What became of the weights under a signal that calibrates nothing."""
    factors = {row.loss: row.multiplier for row in calibrations(run) if row.multiplier is not None}
    watching = baseline_iterations(run) or 0
    if not factors or run.iteration <= watching:
        wait = f"It moves no weight in the first {watching:,} iterations." if watching else "It has logged no weights."
        return Finding(question, "Nothing yet.", f"{rule} {wait}")
    if all(abs(factor - 1) <= MOVED for factor in factors.values()):
        return Finding(question, "It kept the weights.", f"{rule} The weights have hardly moved.")
    now = " and ".join(f"{loss}'s weight is x {factor:.3g}" for loss, factor in factors.items())
    said = f"{rule} Compared with the configured weights, {now} at the end of the log. {UNPROVEN}"
    return Finding(question, "It moved the weights.", said)


def _typical(run: RunHistory, rows: list[Calibration]) -> str:
    """The rule `auto` with this run's numbers; empty where the log does not tell the roles."""
    options = run.scheduling or DynamicLossScheduling(enabled=True)
    known: dict[str, Role] = {str(role): role for role in get_args(Role)}
    roles: dict[str, Role] = {row.loss: known[row.role] for row in rows if row.role in known}
    if len(roles) < max(len(rows), 2):
        return ""
    roles = {loss: role for loss, role in roles.items() if role in COMPARING}
    rows = [row for row in rows if row.loss in roles]
    if len(rows) < 2:
        return ""
    usual = shares_by_role({row.loss: row.measured or 1e-9 for row in rows}, roles, typical_shares(options), 1)
    shares = " and ".join(f"{loss} {percent(share)}" for loss, share in usual.items())
    return f"Typical for losses of these kinds is {shares}. {_tolerance(options.share_tolerance, len(rows))}"


def _tolerance(tolerance: float, losses: int) -> str:
    """What `share_tolerance` does, for so many losses."""
    if tolerance == 1:
        return "That is what they get."
    near, far = "near that", "far off"
    if losses == 2:
        near, far = f"within a factor of {tolerance:.3g} of that", f"off by a factor of {tolerance**3:.3g} or more"
    return (
        f"Proportions {near} count as your choice and are kept; those {far} count as a mistake of scale and are "
        "brought to the typical ones; those between, part of the way."
    )


def _drift(run: RunHistory) -> str:
    """What became of the weights since; of one whose calibration eases in, only that."""
    known = [row for row in calibrations(run) if row.multiplier]
    off = [row for row in known if abs((row.multiplier or 1) - 1) > MOVED]
    moved = [row for row in off if not row.easing]
    easing = [row for row in off if row.easing]
    said = []
    if moved:
        parts = [f"{row.loss}'s weight by x {row.multiplier:.3g}" for row in moved]
        said.append(f"To hold those shares as training went on it has since changed {' and '.join(parts)}.")
    elif known and not any(row.easing for row in known):
        said.append(
            "Since then the shares, which it measures anew at every step, have held by themselves; the weights have "
            "hardly moved."
        )
    if easing:
        names = " and ".join(row.loss for row in easing)
        theirs = "its new weight" if len(easing) == 1 else "their new weights"
        said.append(f"When last logged, {names} had not fully come to {theirs}.")
    return " ".join(said)
