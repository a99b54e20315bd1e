"""The closing words of a training run."""

import datetime
from collections.abc import Iterator

from .metrics import metric_text
from .results import TrainingResult, ValidationResult

OURS = "this network"
BEFORE = "before training"


def closing_summary(result: TrainingResult) -> str:
    """How long it took, metrics beside classical upscalers', what the scheduler did, and where the files are."""
    lines = [f"Trained to iteration {result.iteration:,} in {datetime.timedelta(seconds=round(result.seconds))}."]
    lines += [result.waiting] if result.waiting else []
    for validation in result.validation:
        lines += ["", *comparison(validation)]
    if result.schedule:
        lines += ["", "Loss scheduling:", *(f"  {line}" for line in result.schedule)]
    lines += ["", "Files:", *(f"  {what:<12} {path}" for what, path in _files(result))]
    return "\n".join(lines)


def comparison(validation: ValidationResult) -> Iterator[str]:
    """One line per upscaler, one column per metric."""
    plural = "s" if validation.images != 1 else ""
    yield f"Validation on {validation.images} image{plural} of {validation.dataset}:"
    metrics = list(validation.metrics)
    before = {BEFORE: validation.before} if validation.before.keys() >= validation.metrics.keys() else {}
    rows = {**validation.reference, **before, OURS: validation.metrics}
    width = max(map(len, rows))
    yield "  " + " " * width + "".join(f"  {metric:>10}" for metric in metrics)
    for name, values in rows.items():
        texts = (metric_text(values[metric]) if metric in values else "-" for metric in metrics)
        yield f"  {name:<{width}}" + "".join(f"  {text:>10}" for text in texts)


def _files(result: TrainingResult) -> Iterator[tuple[str, str]]:
    root, here = result.folder, result.root
    latest = root / "models" / ("net_g_latest.pth" if result.stopped_by is None else f"net_g_{result.iteration}.pth")
    candidates = {
        "report": root / "report.html",
        "weights": latest,
        "images": root / "visualization",
        "decisions": root / "loss_schedule.jsonl",
        "log": max(root.glob("train_*.log"), default=root),
        "TensorBoard": here / "tb_logger" / result.name,
    }
    for what, path in candidates.items():
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            yield what, str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
