"""Two or more runs against each other: what makes them unlike, which is ahead, their results in one table."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from html import escape

from .findings import duration
from .run_history import RunHistory
from .standings import Standing, label, standings

_IMAGES = ("dataroot_gt", "images", "exclude")
"""Options of a validation set that say which images it consists of."""

_MEASURED = ("crop_border", "test_y_channel")
"""Options of a metric that change its value."""


def with_names_of_their_own(runs: Sequence[RunHistory]) -> list[RunHistory]:
    """The runs, those of one name under the names of their folders; what is still the same is numbered."""
    names = Counter(run.name for run in runs)
    named = [run if names[run.name] == 1 else replace(run, name=run.folder.name) for run in runs]
    taken: Counter[str] = Counter()
    result: list[RunHistory] = []
    for run in named:
        taken[run.name] += 1
        number = taken[run.name]
        result.append(run if number == 1 else replace(run, name=f"{run.name} ({number})"))
    return result


def listed(names: Sequence[str]) -> str:
    """`A`, `A and B`, `A, B and C`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def unlike(runs: Sequence[RunHistory]) -> list[str]:
    """What stands in the way of a fair comparison, a sentence each; what a run does not tell is taken for the same."""
    scales = {run.name: run.options["scale"] for run in runs if run.options.get("scale")}
    sets = {run.name: {standing.dataset for standing in standings(run)} for run in runs}
    found: list[str] = []
    if len(set(scales.values())) > 1:
        found.append(f"They enlarge by different factors ({_said(scales)}): their metrics are not to be compared.")
    validated = {name: listed(sorted(datasets)) if datasets else "none" for name, datasets in sets.items()}
    if len(set(map(frozenset, sets.values()))) > 1:
        common = set.intersection(*sets.values())
        rest = f"only {listed(sorted(common))} can be compared" if common else "no metric can be compared"
        found.append(f"They were validated on different sets ({_said(validated)}): {rest}.")
    for name in _different_images(runs):
        found.append(f"The validation set {name} is not made of the same files in all of them: not to be compared.")
    found += _measured_differently(runs)
    if len({run.iteration for run in runs}) > 1:
        lengths = {
            run.name: f"{run.iteration:,}" + (", still running" if run.state == "running" else "") for run in runs
        }
        found.append(f"They are of different lengths, in iterations: {_said(lengths)}.")
    return found


def _different_images(runs: Sequence[RunHistory]) -> list[str]:
    """Names of validation sets that are made of other files in one run than in another."""
    images: dict[str, set[tuple[str, ...]]] = {}
    for run in runs:
        for key, value in run.options.items():
            if key.startswith("datasets.val") and key.endswith(".name"):
                block = key.removesuffix("name")
                images.setdefault(value, set()).add(tuple(run.options.get(block + part, "") for part in _IMAGES))
    return [name for name, variants in images.items() if len(variants) > 1]


def _measured_differently(runs: Sequence[RunHistory]) -> list[str]:
    metrics = dict.fromkeys(standing.metric for run in runs for standing in standings(run))
    found: list[str] = []
    for metric in metrics:
        for option in _MEASURED:
            path = f"val.metrics.{metric}.{option}"
            values = {run.name: run.options[path] for run in runs if path in run.options}
            if len(set(values.values())) > 1:
                found.append(f"The metric {metric} is not measured in the same way: {option} is {_said(values)}.")
    return found


def _said(values: dict[str, str]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in values.items())


def ahead(runs: Sequence[RunHistory]) -> str:
    """HTML, one sentence: which run is ahead, at the last iteration where all were validated."""
    if len({run.options["scale"] for run in runs if run.options.get("scale")}) > 1:
        return ""
    different = _different_images(runs)
    for places in _in_common(runs):
        if places[0].dataset in different:
            continue
        common = _last_in_common(places)
        values = [dict(s.points)[common] if common is not None else s.value for s in places]
        if not all(map(math.isfinite, values)):
            continue
        first = places[0]
        order = sorted(range(len(runs)), key=lambda i: values[i], reverse=not first.lower_is_better)
        gain = abs(values[order[0]] - values[order[1]])
        both = "both" if len(runs) == 2 else "all"
        where = f"{label(first)}, at iterations {listed([f'{s.points[-1][0]:,}' for s in places])}"
        if common is not None:
            where = f"{label(first)} at iteration {common:,}, the last at which {both} were validated"
        if first.form_gain(max(values) - min(values)) == first.form_gain(0):
            return f"They are level: {escape(where)} is {first.form(values[0])} for {both}."
        best = escape(runs[order[0]].name)
        if len(runs) == 2:
            return f"<b>{best}</b> is {first.form_gain(gain)} better: {escape(where)}."
        told = listed([f"{escape(runs[i].name)} {first.form(values[i])}" for i in order])
        return f"<b>{best}</b> is ahead in {escape(where)}: {told}."
    return "They have no validation in common."


def _in_common(runs: Sequence[RunHistory]) -> Iterator[list[Standing]]:
    """A metric of a set of each run, for those that all runs have."""
    known = [{(s.dataset, s.metric): s for s in standings(run)} for run in runs]
    for key in known[0]:
        if all(key in one for one in known):
            yield [one[key] for one in known]


def _last_in_common(places: Sequence[Standing]) -> int | None:
    common = set.intersection(*(set(dict(s.numbers)) for s in places))
    return max(common, default=None)


def results(runs: Sequence[RunHistory], state: Callable[[RunHistory], str]) -> str:
    """HTML table: a row for each run, its state, length and metrics.

    Args:
        runs: Two or more.
        state: A run's state in words.
    """
    metrics: dict[tuple[str, str], Standing] = {}
    for run in runs:
        for standing in standings(run):
            metrics.setdefault((standing.dataset, standing.metric), standing)
    head = ["run", "state", "iterations", "time", "parameters"]
    for standing in metrics.values():
        head += [f"{label(standing)}, last", "best"]
    columns = [_column(runs, standing) for standing in metrics.values()]
    rows: list[str] = []
    for number, run in enumerate(runs):
        total = f" of {run.total:,}" if run.total is not None and run.total != run.iteration else ""
        cells = [
            f"<td>{escape(run.name)}</td><td>{escape(state(run))}</td>",
            f'<td class="n">{run.iteration:,}{total}</td>',
            f'<td class="n">{duration(run.seconds) if run.seconds else "-"}</td>',
            f'<td class="n">{f"{run.network_parameters:,}" if run.network_parameters else "-"}</td>',
        ]
        rows.append(f"<tr>{''.join(cells)}{''.join(column[number] for column in columns)}</tr>")
    heads = "".join(f"<th{' class=n' if i > 1 else ''}>{escape(words)}</th>" for i, words in enumerate(head))
    table = f'<table class="results"><tr>{heads}</tr>{"".join(rows)}</table>'
    return f'<div class="card"><div class="scroll">{table}</div></div>'


def _column(runs: Sequence[RunHistory], wanted: Standing) -> list[str]:
    """Two cells for each run: the last value of a metric, and the best with its iteration; the best of all is bold."""
    found: list[Standing | None] = []
    for run in runs:
        own = (s for s in standings(run) if (s.dataset, s.metric) == (wanted.dataset, wanted.metric))
        found.append(next(own, None))
    bests = [standing.best[1] for standing in found if standing is not None and standing.best is not None]
    top = (min if wanted.lower_is_better else max)(bests, default=None)
    cells: list[str] = []
    for standing in found:
        if standing is None:
            cells.append('<td class="n">-</td><td class="n">-</td>')
            continue
        best = "-"
        if standing.best is not None:
            iteration, value = standing.best
            best = f"{standing.form(value)} at {iteration:,}"
            best = f"<b>{best}</b>" if value == top else best
        cells.append(f'<td class="n">{standing.form(standing.value)}</td><td class="n">{best}</td>')
    return cells
