"""Reads a training log: the options of the run, every series of numbers, and what was out of the ordinary.

The log of a killed run can end anywhere. A last line without its line break is dropped, because `4.53` may be the
beginning of `4.5319e-02`.
"""

import re
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ....report.run_history import Points

_ENTRY = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d{3} ([A-Z]+): ", re.MULTILINE)
_STEP = re.compile(r"^\[.*?\]\[epoch: *[\d,]+, iter: *([\d,]+), lr:\(([^)]*)\)\] (?:\[eta: (.*?), time.*?\] )?(.*)$")
_VALUE = re.compile(r"(\S+): ([-+]?(?:\d[\d.]*(?:e[-+]?\d+)?|nan|inf))", re.IGNORECASE)
_VALIDATION = re.compile(r"^Validation (.+), iteration ([\d,]+): (.*)$")
_STOCK_VALIDATION = re.compile(r"^Validation (.+)$")
_STOCK_METRIC = re.compile(r"^\s*# (\S+): ([-+\d.einfa]+)", re.MULTILINE)
_RESUMED = re.compile(r"^Resum\w+ (?:training )?from (?:iteration|epoch: \d+, iter:) ?([\d,]+)")
_STOPPED = re.compile(r"^Stopped at iteration ([\d,]+) with a checkpoint")
_RECIPE = re.compile(r"(\S+) \((\w+), weight ([-+\d.e]+)\)")
_NETWORK = re.compile(r"^Network: (\w+).*, with parameters: ([\d,]+)")

MAX_BYTES = 1 << 28
"""So much of a log is read."""

LARGEST = 2**53
"""No run has more iterations."""


@dataclass
class TrainingLog:
    """What one log file says."""

    options: dict[str, str] = field(default_factory=dict)
    """The options that ran, overrides included, as text by dotted path: `train.optim_g.lr`."""
    series: dict[str, Points] = field(default_factory=dict)
    """By the tags TensorBoard has (`losses/l_x`, `loss_weights/x`, `loss_shares/x`, `metrics/SET/psnr`), and `lr`."""
    recipe: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Role and base weight of each scheduled loss."""
    parameters: list[tuple[str, str, str]] = field(default_factory=list)
    """The scheduler's parameters at its first step: name, value, where it came from."""
    warnings: list[str] = field(default_factory=list)
    network: str = ""
    network_parameters: int = 0
    began: datetime | None = None
    last: datetime | None = None
    step_times: list[datetime] = field(default_factory=list)
    iteration: int = 0
    """The last iteration of which the log tells."""
    eta: str = ""
    resumed_from: int | None = None
    stopped_at: int | None = None
    unplaced: set[str] = field(default_factory=set)
    """Metrics whose last point stands at a guessed iteration."""
    ended: bool = False
    """The stock pipeline said that training has ended."""
    unread: int = 0
    """Entries that could not be understood."""


def read_training_log(path: Path) -> TrainingLog:
    """Read a `train_NAME_TIME.log` of BasicSR's format; what it does not know it passes over."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES)
    text = data[: data.rfind(b"\n") + 1].decode(errors="replace").replace("\r\n", "\n")
    log = TrainingLog()
    heads = list(_ENTRY.finditer(text))
    for head, following in zip(heads, [*heads[1:], None], strict=False):  # a file without entries: None alone
        body = text[head.end() : following.start() if following else len(text)].rstrip("\n")
        try:
            when = datetime.strptime(head[1], "%Y-%m-%d %H:%M:%S")
            _take(log, body, head[2], when)
        except (ValueError, OverflowError, IndexError):
            log.unread += 1  # a date of no calendar, a number without digits
            continue
        log.began = log.began or when
        log.last = when
    return log


def _take(log: TrainingLog, body: str, level: str, when: datetime) -> None:
    """Sort one entry into the log."""
    if step := _STEP.match(body):
        _take_step(log, step, when)
    elif validation := _VALIDATION.match(body):
        _take_validation(log, validation)
    elif (validation := _STOCK_VALIDATION.match(body.partition("\n")[0])) and "\n" in body:
        tags = {f"metrics/{validation[1]}/{m[1]}": m[2] for m in _STOCK_METRIC.finditer(body)}
        iteration = _stock_validation_iteration(log, list(tags))
        for tag, value in tags.items():
            _add(log, tag, iteration, value)
        log.unplaced = set(tags)
    elif body.startswith("\n  name: "):
        log.options = _options(body)
    elif body.startswith("Effective parameters:"):
        rows = (line.split(maxsplit=2) for line in body.splitlines()[1:])
        log.parameters = [(row[0], row[1], row[2]) for row in rows if len(row) == 3]
    elif body.startswith("Loss scheduling: "):
        log.recipe = {m[1]: (m[2], float(m[3])) for m in _RECIPE.finditer(body.partition(": ")[2])}
    elif network := _NETWORK.match(body):
        log.network = log.network or network[1]
        log.network_parameters = log.network_parameters or _whole(network[2])
    elif resumed := _RESUMED.match(body):
        log.resumed_from = log.iteration = _whole(resumed[1])
    elif stopped := _STOPPED.match(body):
        log.stopped_at = log.iteration = _whole(stopped[1])
    elif body.startswith("End of training"):
        log.ended = True
    elif level in ("WARNING", "ERROR", "CRITICAL") and not body.startswith("Loss scheduling, iteration"):
        log.warnings.append(" ".join(body.split()))


def _take_step(log: TrainingLog, step: re.Match[str], when: datetime) -> None:
    iteration = log.iteration = _whole(step[1])
    log.step_times.append(when)
    log.eta = step[3] or ""
    _add(log, "lr", iteration, step[2].split(",")[0])
    for name, value in _VALUE.findall(step[4]):
        _add(log, f"losses/{name}" if name.startswith("l_") else name, iteration, value)


def _take_validation(log: TrainingLog, line: re.Match[str]) -> None:
    """Our line of a validation: it knows the iteration; BasicSR's own, just before it, has more digits."""
    log.iteration = _whole(line[2])
    for part in line[3].split(", "):
        metric, _, value = part.rpartition(" ")
        tag = f"metrics/{line[1]}/{metric}"
        points = log.series.get(tag, [])
        if tag in log.unplaced and points:
            value = repr(points.pop()[1])
        _add(log, tag, log.iteration, value)
    log.unplaced = set()


def _stock_validation_iteration(log: TrainingLog, tags: list[str]) -> int:
    """BasicSR's own line names no iteration: it is the next multiple of `val_freq`, or the end of the run."""
    frequency = log.options.get("val.val_freq", "")
    total = log.options.get("train.total_iter", "")
    every = whole_or_none(frequency)
    if not every:
        return log.iteration
    known = [log.series[tag][-1][0] for tag in tags if log.series.get(tag)]
    first = max([log.iteration, *(iteration + 1 for iteration in known)])
    result = -(-first // every) * every
    return min(result, whole_or_none(total) or result)


def _add(log: TrainingLog, tag: str, iteration: int, text: str) -> None:
    try:
        value = float(text)
    except ValueError:
        return
    points = log.series.setdefault(tag, [])
    if points and points[-1][0] == iteration:
        points.pop()
    points.append((iteration, value))


def _whole(text: str) -> int:
    value = int(text.replace(",", ""))
    if value > LARGEST:
        raise ValueError(f"{text} is no iteration")
    return value


def whole_or_none(text: str) -> int | None:
    """The number of iterations that a text says; None where it says none."""
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else None


def _options(body: str) -> dict[str, str]:
    """BasicSR's dump of its options (`key: value`, `block:[`, `]`), flattened."""
    found: dict[str, str] = {}
    blocks: deque[str] = deque()
    for line in body.splitlines():
        entry = line.strip()
        if entry == "]" and blocks:
            blocks.pop()
        elif entry.endswith(":["):
            blocks.append(entry[:-2])
        elif ": " in entry or entry.endswith(":"):
            key, _, value = entry.partition(":")
            found[".".join([*blocks, key])] = value.strip()
    return found
