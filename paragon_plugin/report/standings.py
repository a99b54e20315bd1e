"""Validation metrics beside those of classical upscalers."""

import math
from dataclasses import dataclass

from .metrics import Direction, direction_of, metric_text
from .run_history import Points, RunHistory


@dataclass(frozen=True)
class Standing:
    """Where a metric of a validation set stands: ours, the classical upscalers', and which way is better."""

    dataset: str
    metric: str
    points: Points
    references: dict[str, float]
    better: Direction
    decibels: bool

    @property
    def lower_is_better(self) -> bool:
        return self.better == "lower"

    @property
    def numbers(self) -> Points:
        """The points that are finite: what can be drawn, compared or be the best."""
        return [point for point in self.points if math.isfinite(point[1])]

    @property
    def best(self) -> tuple[int, float] | None:
        """Iteration and value of the best point; None where none is finite."""
        best = min if self.lower_is_better else max
        return best(self.numbers, key=lambda point: point[1], default=None)

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
        if not math.isfinite(gain):
            return metric_text(abs(gain))
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
        asked = run.options.get(f"val.metrics.{metric}.better")
        better: Direction = direction_of(kind) or "higher"
        if asked == "lower" or asked == "higher":
            better = asked
        found.append(Standing(dataset, metric, points, references, better, "psnr" in kind))
    return found


def label(standing: Standing) -> str:
    """A metric with its set: `PSNR on Set5`."""
    name = standing.metric.upper() if len(standing.metric) <= 5 else standing.metric
    return f"{name} on {standing.dataset}"
