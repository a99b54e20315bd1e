"""Describes the learning rate and the averaged network over a run, and warns of settings that have no effect."""

from collections.abc import Iterator, Sequence
from typing import Any

from ....scheduling.decisions import percent
from ..options.file import Options
from ..options.learning_rate import SCHEDULES, rate_at
from ..options.problems import Problems


def check_what_cannot_act(options: Options, problems: Problems) -> None:
    """Warn of warm-up, milestones, restarts, periods and an average that the run is too short for."""
    train = options["train"]
    total = train.get("total_iter")
    if total is None:
        return
    warm_up = train.get("warmup_iter") or -1
    if warm_up > total:
        problems.warn(
            "train.warmup_iter",
            f"is {warm_up:,g}, but training ends at total_iter {total:,}: the full rate is never reached",
        )
    schedule = _schedule(options)
    if schedule is not None and not problems.told_of("train.scheduler"):
        for key, text in _idle(schedule, total, warm_up):
            problems.warn(f"train.scheduler.{key}", text)
    decay = train.get("ema_decay") or 0
    if decay and 1 / (1 - decay) > total:
        problems.warn(
            "train.ema_decay",
            f"{decay:g} averages over {1 / (1 - decay):,.0f} iterations, total_iter is {total:,}: at the end "
            f"the averaged network, which is validated and saved, is still {percent(decay**total)} that of the start",
        )


def learning_rate_lines(options: Options, problems: Problems) -> list[str]:
    """What the learning rate will be, in lines to print; none where the schedule is not the host's, or is wrong."""
    train, schedule = options["train"], _schedule(options)
    if problems.told_of("train.scheduler"):
        return []
    total, full = train.get("total_iter"), (train.get("optim_g") or {}).get("lr")
    if schedule is None or total is None or not isinstance(full, int | float):
        return []
    kind, own = schedule["type"], {key: value for key, value in schedule.items() if key != "type"}
    warm_up = train.get("warmup_iter") or -1
    begin = f"warm-up over {warm_up:,g} iterations to {full:g}" if warm_up > 1 else f"{full:g}"
    if kind == "CosineAnnealingRestartLR":
        periods = ", ".join(f"{period:,g}" for period in own["periods"])
        then = f"{kind} with periods {periods}, down to {own.get('eta_min', 0):g}"
    else:
        places = ", ".join(f"{place:,g}" for place in own["milestones"]) or "none"
        then = f"{kind} x {own.get('gamma', 0.1):g} after iterations {places}"
        if len(own.get("restarts", [0])) > 1:
            then += f"; restarts after {', '.join(f'{place:,g}' for place in own['restarts'])}"
    try:
        last = rate_at(full, total, warm_up, kind, own)
    except (ValueError, TypeError, ArithmeticError):  # of options that have been told of
        return []
    return [f"Learning rate: {begin}; {then}; {last:.3g} at iteration {total:,}."]


def _schedule(options: Options) -> dict[str, Any] | None:
    """The block of one of the host's schedules with what it needs, else None."""
    block = options["train"].get("scheduler")
    if not isinstance(block, dict) or block.get("type") not in tuple(SCHEDULES):  # whatever stands there is compared
        return None
    needed = "periods" if block["type"].startswith("Cosine") else "milestones"
    return block if needed in block else None


def _idle(schedule: dict[str, Any], total: int, warm_up: float) -> Iterator[tuple[str, str]]:
    """(option, what it cannot do) of each option of a schedule."""
    end = f"training ends at total_iter {total:,}"
    if "periods" in schedule:
        begin = 0.0
        for place, period in enumerate(schedule["periods"]):
            if begin >= total - 1 and place:
                yield "periods", f"period {place + 1} begins after iteration {begin:,g}, but {end}: it never acts"
                return
            if total - 1 - begin < period / 100:
                yield "periods", f"{period:,g} is the length of a period, but {end}: the rate hardly falls"
            begin += period
        return
    restarts: Sequence[float] = schedule.get("restarts", [0])
    for key, places in (("milestones", schedule["milestones"]), ("restarts", restarts)):
        late = [place for place in places if place >= total]
        if late:
            yield key, f"{_list(late)} never {'act' if len(late) > 1 else 'acts'}: {end}"
    early = [place for place in schedule["milestones"] if 0 < place < warm_up - 1 and place < total]
    if early and warm_up <= total:
        yield (
            "milestones",
            f"{_list(early)} {'lie' if len(early) > 1 else 'lies'} within the warm-up and acts from its end on, "
            f"iteration {warm_up:,g}",
        )
    hidden = [place for place in schedule["milestones"] if place in restarts and place > 0]
    if hidden:
        yield "milestones", f"{_list(hidden)} never acts: the rate starts over there (restarts)"


def _list(places: Sequence[float]) -> str:
    return ", ".join(f"{place:g}" if place < 1e5 else str(int(place)) for place in places)
