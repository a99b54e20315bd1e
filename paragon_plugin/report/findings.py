"""What a run amounts to, in sentences: did it train, is it better than classical upscaling; with what the scheduler did
and what was out of the ordinary from files of their own.
"""

import datetime
import math

from ..scheduling.roles import role_of
from .events import events
from .finding import Finding, Tone
from .incident_finding import incident_finding
from .run_history import Points, RunHistory
from .scheduler_finding import scheduler_finding
from .standings import Standing, label, standings

SEVERAL = 3
"""So many skipped steps in a row, at the end of what a run tells, are no accident."""

DISCRIMINATOR = ("d_real", "d_fake")
"""The discriminator's own losses, as the host logs them: they say nothing of the network."""


def findings(run: RunHistory) -> list[Finding]:
    """The answers, in the order in which people ask."""
    return [training_finding(run), comparison_finding(run), scheduler_finding(run), incident_finding(run)]


# -- did it train --------------------------------------------------------------------------------------------------


def training_finding(run: RunHistory) -> Finding:
    """Whether metrics rose or losses fell, and how far the run went."""
    evidence, trained = _progress(run)
    if run.state in ("silent", "failed") and (skipped := _skipped_at_the_end(run)):
        said = f"It reached iteration {run.iteration:,}{f' of {run.total:,}' if run.total else ''}. "
        said += f"The last {skipped} steps it tells of were skipped: their losses were NaN or infinite."
        return Finding("Did it train?", "No.", said, "bad")
    verdict = {True: "Yes.", False: "Not visibly.", None: "Unknown." if evidence else "Too early to say."}[trained]
    tone: Tone = "good" if trained else "bad" if trained is False else "plain"
    return Finding("Did it train?", verdict, " ".join(filter(None, [_extent(run), evidence])), tone)


def _skipped_at_the_end(run: RunHistory) -> int:
    """Steps in a row that were skipped just before the record stops; 0 if the run went on, or if they were few."""
    if not run.decisions:
        return 0
    last = events(run)[-1]
    steps = len(last.decisions)
    limit = run.scheduling.max_nonfinite_steps if run.scheduling is not None else SEVERAL + 1
    several = min(SEVERAL, limit - 1)  # the step that reaches the limit ends the run and is no decision
    at_the_end = last.kinds == ["nonfinite"] and last.last + 1 >= run.iteration
    return steps if at_the_end and steps >= several else 0


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
    if run.state == "failed":
        return f"It ended with an error at iteration {run.iteration:,}{of}{time}: {run.failure.rstrip('.')}."
    return (
        f"It reached at least iteration {run.iteration:,}{of}{time} and its record stops there without an end: "
        "it was killed or has crashed. If there is a checkpoint, --auto_resume goes on from it."
    )


def _progress(run: RunHistory) -> tuple[str, bool | None]:
    """The evidence: the first metric if it was taken twice, or else the losses' sum early and late."""
    for standing in standings(run)[:1]:
        if len(standing.numbers) > 1 and standing.numbers[-1] == standing.points[-1]:
            (first_iteration, first), (_, last) = standing.numbers[0], standing.numbers[-1]
            gain = standing.gain(first)
            how = "fell" if last < first else "rose" if last > first else "stayed"
            text = (
                f"{label(standing)} {how} from {standing.form(first)} at iteration {first_iteration:,} "
                f"to {standing.form(last)} at iteration {standing.points[-1][0]:,}."
            )
            return text, gain > 0 and standing.form(first) != standing.form(last)
    totals = _total_loss(run)
    if len(totals) < 4:
        return "", None
    # The scheduler skips a step with NaN; without it the first one is there to stay.
    if not any(math.isfinite(value) for _, value in (totals if run.scheduled else totals[-1:])):
        return "Its losses are not finite numbers.", False
    totals = [point for point in totals if math.isfinite(point[1])]
    part = max(1, len(totals) // 5)
    early = sum(value for _, value in totals[:part]) / part
    late = sum(value for _, value in totals[-part:]) / part
    if early <= 0 or late <= 0:
        return "The sum of its losses is not above 0, so it cannot tell.", None
    ratio = late / early
    if ratio < 1:
        return f"The sum of its losses fell by {100 * (1 - ratio):.0f} %.", True
    return f"The sum of its losses did not fall (now {ratio:.2f} times what it was).", False


def _total_loss(run: RunHistory) -> Points:
    """Sum of the losses that fall when the network gets better: an adversarial one follows its discriminator."""
    roles = {loss: role for loss, (role, _) in run.recipe.items()}
    series = [
        dict(points)
        for loss, points in run.under("losses/l_").items()
        if loss not in DISCRIMINATOR and roles.get(loss, role_of(loss)) != "adversarial"
    ]
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
            "The run has left no validation metrics. An option file asks for them in val: metrics:, an own loop "
            "gives them to record_validation.",
        )
    standing = known[0]
    if "bicubic" not in standing.references:
        said = (
            f"{label(standing)} is {standing.form(standing.value)}; the run has not recorded bicubic's to compare with."
        )
        return Finding(question, "Unknown.", said)
    gain = standing.gain(standing.references["bicubic"])
    if not math.isfinite(gain):
        said = (
            f"{label(standing)} is {standing.form(standing.value)} at iteration {standing.points[-1][0]:,}, and "
            f"bicubic's is {standing.form(standing.references['bicubic'])}: only finite numbers can be compared."
        )
        return Finding(question, "Unknown.", said)
    parts = [
        f"{standing.form_gain(standing.gain(value))} {_side(standing, value)} {name} ({standing.form(value)})"
        for name, value in standing.references.items()
        if math.isfinite(value)
    ]
    images = run.references[standing.dataset].images
    said = (
        f"{label(standing)} is {standing.form(standing.value)} at iteration {standing.points[-1][0]:,}: "
        f"{' and '.join(parts)}, as a mean over {images} image{'s' * (images != 1)}."
    )
    if standing.decibels and gain > 0:
        said += f" {gain:.2f} dB over bicubic means pixel errors {100 * (1 - 10 ** (-gain / 20)):.0f} % smaller."
    begin, before = standing.points[0]
    if begin == 0 and len(standing.points) > 1:
        brought = standing.gain(before)
        if standing.form(before) == standing.form(standing.value):
            brought = 0.0
        what = f"{standing.form_gain(brought)} {'better' if brought > 0 else 'worse'}" if brought else "no different"
        said += f" The network that training began with had {standing.form(before)}: training made it {what}."
        if gain > 0 and brought <= 0:
            return Finding(question, "Yes, but not by training.", said)
    return Finding(question, "Yes." if gain > 0 else "No.", said, "good" if gain > 0 else "bad")


def _side(standing: Standing, other: float) -> str:
    return "better than" if standing.gain(other) >= 0 else "worse than"


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
