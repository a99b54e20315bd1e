"""Validation metrics beside those of classical upscalers."""

from dataclasses import dataclass

from .run_history import Points, RunHistory
from .summary import metric_text


@dataclass(frozen=True)
class Standing:
    """Where a metric of a validation set stands: ours, the classical upscalers', and which way is better."""

    dataset: str
    metric: str
    points: Points
    references: dict[str, float]
    lower_is_better: bool
    decibels: bool

    @property
    def value(self) -> float:
        """The latest value."""
        return self.points[-1][1]

    def gain(self, over: float) -> float:
        """How much better the latest value is than another; negative if it is worse."""
        return over - self.value if self.lower_is_better else self.value - over

    def form(self, value: float) -> str:
        """A value with its unit."""
        return metric_text(value) + (" dB" if self.decibels else "")

    def form_gain(self, gain: float) -> str:
        """A difference with its unit."""
        return f"{abs(gain):.2f} dB" if self.decibels else f"{abs(gain):.4f}"


def standings(run: RunHistory) -> list[Standing]:
    """Every metric of every validation set, in the option file's order."""
    found = []
    for tag, points in run.under("metrics/").items():
        dataset, _, metric = tag.rpartition("/")
        record = run.references.get(dataset)
        references = {
            name: values[metric] for name, values in (record.metrics if record else {}).items() if metric in values
        }
        kind = run.options.get(f"val.metrics.{metric}.type", metric).lower()
        better = run.options.get(f"val.metrics.{metric}.better", "")
        lower = better == "lower" or (not better and any(word in kind for word in ("niqe", "lpips", "dists", "fid")))
        found.append(Standing(dataset, metric, points, references, lower, "psnr" in kind))
    return found


def label(standing: Standing) -> str:
    """A metric with its set: `PSNR on Set5`."""
    name = standing.metric.upper() if len(standing.metric) <= 5 else standing.metric
    return f"{name} on {standing.dataset}"
