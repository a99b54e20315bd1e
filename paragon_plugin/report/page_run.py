"""The report's sections on the run itself: incidents, options, files."""

from collections.abc import Mapping, Sequence
from html import escape

from .events import events
from .findings import findings
from .run_history import RunHistory

MISSING = "-"
"""What stands for an option that a run does not have."""


def incidents(run: RunHistory) -> str:
    finding = findings(run)[-1]
    if finding.tone == "good":
        return ""
    serious = "".join(
        f"<li>Iteration {event.iteration:,}: {escape(decision.reason)}.</li>"
        for event in [event for event in events(run) if event.serious][:20]
        for decision in event.decisions[-1:]
    )
    warnings = "".join(f"<li>{escape(text)}</li>" for text in run.warnings[:20])
    if not serious and not warnings:
        return ""
    more = f"<p>{len(run.warnings) - 20} more are in the log.</p>" if len(run.warnings) > 20 else ""
    return (
        f'<div class="card"><p>{escape(finding.answer)}</p>'
        + (f"<ul>{serious}</ul>" if serious else "")
        + (f"<p>Warnings in the log:</p><ul>{warnings}</ul>{more}" if warnings else "")
        + "</div>"
    )


def differences(runs: Sequence[RunHistory]) -> str:
    """Table of the options in which runs differ; paths of the runs themselves are left out."""
    known = [run.options for run in runs]
    if not all(known):
        return ""
    paths = [path for path in dict.fromkeys(key for one in known for key in one) if _differs(path, known)]
    own = ("name", "root_path", "auto_resume", "rank", "path.experiments_root", "path.log", "path.models")
    paths = [p for p in paths if p not in (*own, "path.training_states", "path.visualization")]
    head = f"<tr><th>option</th>{''.join(f'<th>{escape(run.name)}</th>' for run in runs)}</tr>"
    rows = "".join(
        f'<tr><td class="path">{escape(path)}</td>'
        f"{''.join(f'<td>{escape(one.get(path, MISSING))}</td>' for one in known)}</tr>"
        for path in paths
    )
    table = (
        f'<div class="scroll"><table>{head}{rows}</table></div>'
        if rows
        else "<p>None: they ran with the same options.</p>"
    )
    return f'<div class="card">{table}</div>'


def _differs(path: str, known: Sequence[Mapping[str, str]]) -> bool:
    return len({one.get(path) for one in known}) > 1


def details(run: RunHistory) -> str:
    wanted = {
        "network_g.type": "network",
        "scale": "scale",
        "datasets.train.name": "training set",
        "datasets.train.gt_size": "patch size, HR pixels",
        "datasets.train.lq_size": "patch size, LR pixels",
        "datasets.train.batch_size_per_gpu": "batch size per GPU",
        "train.optim_g.type": "optimizer",
        "train.optim_g.lr": "learning rate at the start",
        "train.ema_decay": "EMA decay",
        "manual_seed": "seed",
    }
    rows = [(words, run.options[path]) for path, words in wanted.items() if path in run.options]
    rows = [("folder", str(run.folder)), *rows]
    latest = (f"net_g{average}_latest.{form}" for average in ("_ema", "") for form in ("pth", "safetensors"))
    if weights := next((file for name in latest if (file := run.folder / "models" / name).is_file()), None):
        rows += [
            ("trained weights", f"models/{weights.name}"),
            ("to use them", f"paragon upscale PICTURE -m {weights}"),
        ]
    table = "".join(f"<tr><td>{escape(words)}</td><td class=path>{escape(value)}</td></tr>" for words, value in rows)
    everything = "".join(
        f"<tr><td class=path>{escape(path)}</td><td class=path>{escape(value)}</td></tr>"
        for path, value in run.options.items()
    )
    folded = (
        f"<details><summary>All options as they ran</summary><table>{everything}</table></details>"
        if everything
        else ""
    )
    return f'<div class="card"><table>{table}</table>{folded}</div>'
