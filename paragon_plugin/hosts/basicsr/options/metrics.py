"""The metrics of an option file: which way each is better, and its value on a pair of images."""

from collections.abc import Mapping
from typing import Any

from ....report.metrics import direction_of
from .problems import Problems

NOT_ITS_OWN = ("better",)
"""Options of a metric's block that its function does not take."""


def complete_directions(val: Mapping[str, Any], problems: Problems) -> None:
    """Give each metric without `better` its direction from the table. Warn of a metric that is not in the table."""
    for name, metric in (val.get("metrics") or {}).items():
        if not isinstance(metric, dict) or metric.get("better") is not None:
            continue
        known = direction_of(str(metric.get("type")))
        metric["better"] = known or "higher"
        if known is None:
            problems.warn(
                f"val.metrics.{name}",
                f"whether {metric.get('type')} is better when higher or lower is not known; higher is assumed. Write "
                "'better: higher' or 'better: lower'",
            )


def measured(images: Mapping[str, Any], metric: Mapping[str, Any]) -> float:
    """A metric of the host's registry on `img` and, where there is one, the original `img2`; 8-bit BGR (H, W, 3)."""
    from basicsr.metrics import calculate_metric

    options = {key: value for key, value in metric.items() if key not in NOT_ITS_OWN}
    return float(calculate_metric(dict(images), options))
