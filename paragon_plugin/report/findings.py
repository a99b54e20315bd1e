"""What a run amounts to, in sentences: did it train, is it better than classical upscaling, what did the scheduler do
and why, was anything out of the ordinary.
"""

import datetime
import math
from dataclasses import dataclass
from typing import Literal, get_args

from ..options import DynamicLossScheduling, Role
from ..scheduling.decisions import percent
from ..scheduling.roles import TYPICAL_SHARES
from ..scheduling.shares import within_tolerance
from .calibration_table import Calibration, calibrations
from .log_reading import Points
from .run_history import RunHistory
from .standings import Standing, label, standings

Tone = Literal["good", "bad", "plain"]

MOVED = 0.05
"""A multiplier within this of 1 has stayed where it was."""


@dataclass(frozen=True)
class Finding:
    """A question a reader has, with the answer: one word or two, then sentences."""

    question: str
    verdict: str
    answer: str
    tone: Tone = "plain"


def findings(run: RunHistory) -> list[Finding]:
    """The answers, in the order in which people ask."""
    return [training_finding(run), comparison_finding(run), scheduler_finding(run), incident_finding(run)]


# -- did it train --------------------------------------------------------------------------------------------------


def training_finding(run: RunHistory) -> Finding:
    """Whether metrics rose or losses fell, and how far the run went."""
    evidence, trained = _progress(run)
    if run.state == "silent" and run.decisions and run.decisions[-1].kind == "nonfinite":
        evidence, trained = "At the end its losses were NaN or infinite at every step.", False
        said = f"It reached iteration {run.iteration:,}{f' of {run.total:,}' if run.total else ''}. {evidence}"
        return Finding("Did it train?", "No.", said, "bad")
    verdict = {True: "Yes.", False: "Not visibly.", None: "Too early to say."}[trained]
    tone: Tone = "good" if trained else "bad" if trained is False else "plain"
    return Finding("Did it train?", verdict, " ".join(filter(None, [_extent(run), evidence])), tone)


def _extent(run: RunHistory) -> str:
    of = f" of {run.total:,}" if run.total else ""
    time = f" in {duration(run.seconds)}" if run.seconds else ""
    if run.state == "finished":
        return f"It ran all of its {run.iteration:,} iterations{time}."
    if run.state == "running":
        left = f"; about {run.eta} (h:mm:ss) to go" if run.eta else ""
        return f"It is still running: {run.iteration:,}{of} iterations{time}{left}."
    if run.state == "stopped":
        said = f"It was stopped at iteration {run.iteration:,}{of}{time}, with a checkpoint;"
        return f"{said} --auto_resume goes on from it."
    return (
        f"It reached at least iteration {run.iteration:,}{of}{time} and then fell silent without closing words: "
        "it was killed or has crashed. If there is a checkpoint, --auto_resume goes on from it."
    )


def _progress(run: RunHistory) -> tuple[str, bool | None]:
    """The evidence: the first metric if it was taken twice, or else the losses' sum early and late."""
    for standing in standings(run)[:1]:
        if len(standing.points) > 1:
            (first_iteration, first), (_, last) = standing.points[0], standing.points[-1]
            gain = standing.gain(first)
            how = "fell" if last < first else "rose" if last > first else "stayed"
            text = (
                f"{label(standing)} {how} from {standing.form(first)} at iteration {first_iteration:,} "
                f"to {standing.form(last)} at iteration {standing.points[-1][0]:,}."
            )
            return text, gain > 0
    totals = _total_loss(run)
    if len(totals) < 4:
        return "", None
    part = max(1, len(totals) // 5)
    early = sum(value for _, value in totals[:part]) / part
    late = sum(value for _, value in totals[-part:]) / part
    if not math.isfinite(early + late) or early <= 0:
        return "Its losses are not finite numbers.", False
    ratio = late / early
    if ratio < 1:
        return f"The sum of its losses fell by {100 * (1 - ratio):.0f} %.", True
    return f"The sum of its losses did not fall (now {ratio:.2f} times what it was).", False


def _total_loss(run: RunHistory) -> Points:
    series = [dict(points) for points in run.under("losses/l_").values()]
    common = sorted(set.intersection(*map(set, series))) if series else []
    return [(iteration, sum(values[iteration] for values in series)) for iteration in common]


# -- is it better than bicubic -------------------------------------------------------------------------------------


def comparison_finding(run: RunHistory) -> Finding:
    """The first metric against the classical upscalers'."""
    question = "Is the result better than bicubic?"
    known = standings(run)
    if not known:
        return Finding(
            question,
            "Not measured.",
            "The run has left no validation metrics; the option file's val: metrics: asks for them.",
        )
    standing = known[0]
    if "bicubic" not in standing.references:
        said = (
            f"{label(standing)} is {standing.form(standing.value)}; the run has not recorded bicubic's to compare with."
        )
        return Finding(question, "Unknown.", said)
    gain = standing.gain(standing.references["bicubic"])
    parts = [
        f"{standing.form_gain(standing.gain(value))} {_side(standing, value)} {name} ({standing.form(value)})"
        for name, value in standing.references.items()
    ]
    images = run.references[standing.dataset].images
    said = (
        f"{label(standing)} is {standing.form(standing.value)} at iteration {standing.points[-1][0]:,}: "
        f"{' and '.join(parts)}, as a mean over {images} image{'s' * (images != 1)}."
    )
    if standing.decibels and gain > 0:
        said += f" {gain:.2f} dB over bicubic means pixel errors {100 * (1 - 10 ** (-gain / 20)):.0f} % smaller."
    return Finding(question, "Yes." if gain > 0 else "No.", said, "good" if gain > 0 else "bad")


def _side(standing: Standing, other: float) -> str:
    return "better than" if standing.gain(other) >= 0 else "worse than"


# -- the scheduler -------------------------------------------------------------------------------------------------


WHY = {
    "baseline": "The weights are taken to be tuned (target: baseline): it aims at the parts that were measured, kept "
    "between a floor and a ceiling.",
    "weights": "It aims at the parts that the option file's weights spell out (target: weights).",
    "explicit": "It aims at the parts that the option file asks for.",
}


def target_rule(run: RunHistory) -> str:
    """Which rule gave the targets, `auto`, `baseline`, `weights` or `explicit`; empty for the other signals."""
    block = "train.dynamic_loss_scheduling."
    if run.options.get(block + "signal", "gradient") != "gradient" or not run.options:
        return ""
    if any(path.startswith(block + "target.") for path in run.options):
        return "explicit"
    target = run.options.get(block + "target", "None")
    if target != "None":
        return target
    return "auto" if run.options.get(block + "auto_calibrate") == "True" else "baseline"


def scheduler_finding(run: RunHistory) -> Finding:
    """What it measured, what it set, why, and what has moved since."""
    question = "What did the loss scheduler do, and why?"
    if not run.scheduled:
        return Finding(question, "It was off.", "The losses were summed with the option file's constant weights.")
    rows = [row for row in calibrations(run) if row.measured is not None and row.target is not None]
    if not rows:
        going = "is still" if run.state == "running" else "was still"
        said = f"It {going} measuring what part of each update comes from each loss."
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
        said.append(
            "Whether that helped, one run cannot tell: train with 'enabled: false' too and compare the two reports."
        )
    verdict = "It re-balanced the losses." if changed else "It kept the weights."
    return Finding(question, verdict, " ".join(filter(None, said)))


def _typical(run: RunHistory, rows: list[Calibration]) -> str:
    """The rule `auto` with this run's numbers; empty where the log does not tell the roles."""
    block = "train.dynamic_loss_scheduling."
    known: dict[str, Role] = {str(role): role for role in get_args(Role)}
    roles: dict[str, Role] = {row.loss: known[row.role] for row in rows if row.role in known}
    if len(roles) < max(len(rows), 2):
        return ""
    typical: dict[Role, float] = {
        role: float(run.options.get(f"{block}typical_shares.{role}", TYPICAL_SHARES[role])) for role in known.values()
    }
    tolerance = float(run.options.get(block + "share_tolerance", DynamicLossScheduling(enabled=True).share_tolerance))
    usual = within_tolerance({row.loss: row.measured or 1e-9 for row in rows}, roles, tolerance=1, typical=typical)
    shares = " and ".join(f"{loss} {percent(share)}" for loss, share in usual.items())
    return (
        f"Typical for losses of these kinds is {shares}. Proportions within a factor of {tolerance:g} of that count as "
        "your choice and are kept; proportions further off count as a mistake of scale and are brought to that limit."
    )


def _drift(run: RunHistory) -> str:
    known = [row for row in calibrations(run) if row.multiplier]
    moved = [row for row in known if abs((row.multiplier or 1) - 1) > MOVED]
    if not known:
        return ""
    if not moved:
        return (
            "Since then the shares, which it measures anew at every step, have held by themselves; the weights have "
            "hardly moved."
        )
    parts = [f"{row.loss}'s weight by x {row.multiplier:.3g}" for row in moved]
    return f"To hold those shares as training went on it has since changed {' and '.join(parts)}."


# -- incidents -----------------------------------------------------------------------------------------------------

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
            where = f"iteration {iterations[0]:,}" + (f" to {iterations[-1]:,}" if len(iterations) > 1 else "")
            parts.append(f"{len(iterations)} {words} ({where})")
    if run.resumed_from:
        parts.append(f"resumed from iteration {', '.join(f'{i:,}' for i in run.resumed_from)}")
    if run.state == "silent":
        parts.append("it ended without closing words")
    if run.warnings:
        parts.append(f"{len(run.warnings)} warning{'s' * (len(run.warnings) > 1)} in the log")
    if not parts:
        return Finding("Any incidents?", "None.", "No NaN, no instability, no warnings.", "good")
    serious = run.state == "silent" or any(d.kind in ("nonfinite", "corrected") for d in run.decisions)
    text = "; ".join(parts)
    return Finding(
        "Any incidents?",
        "Yes." if serious else "Minor.",
        text[0].upper() + text[1:] + ".",
        "bad" if serious else "plain",
    )


def duration(seconds: float) -> str:
    """A time for people: 37 s, 12 min, 3 h 20 min, 2 days 4 h."""
    span = datetime.timedelta(seconds=round(seconds))
    minutes, rest = divmod(span.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if span.days:
        return f"{span.days} day{'s' * (span.days > 1)} {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
