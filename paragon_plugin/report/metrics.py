"""What a metric is: a number, NaN or an infinity, and a direction in which it is better.

One table has the directions, for the training that keeps its best network, the summary, the test and the report. NaN
and infinity are shown as such. They have no place in a mean or a chart, and are never the best.
"""

import math
import re
from collections.abc import Iterable
from typing import Literal

Direction = Literal["higher", "lower"]

DIRECTIONS: tuple[Direction, ...] = ("higher", "lower")

_LOWER = (
    *("niqe", "ilniqe", "brisque", "piqe", "pi", "lpips", "stlpips", "dists", "pieapp", "fid", "kid", "mad", "gmsd"),
    *("mae", "mse", "rmse", "nrmse", "l1", "l2", "ergas", "sam", "deltae", "ciede2000", "flip"),
)
_HIGHER = (
    *("psnr", "psnrb", "wpsnr", "ssim", "msssim", "cwssim", "fsim", "vsi", "vif", "vifp", "uqi", "ahiq", "ckdn"),
    *("nrqm", "musiq", "maniqa", "clipiqa", "topiq", "hyperiqa", "dbcnn", "nima", "paq2piq", "cnniqa", "tres"),
    *("qalign", "liqe", "arniqa", "tope", "uranker", "laion", "wadiqam", "snr", "haarpsi", "compare2score"),
)
_KNOWN: dict[str, Direction] = {**dict.fromkeys(_LOWER, "lower"), **dict.fromkeys(_HIGHER, "higher")}
_SHORT = 3
"""Words of so many letters must be a whole word: `fid` is none of `fidelity`."""


def direction_of(metric: str) -> Direction | None:
    """Which way a metric is better, from its type's name; None where that is not known.

    >>> direction_of("calculate_psnr"), direction_of("calculate_lpips_vgg"), direction_of("calculate_taste")
    ('higher', 'lower', None)
    """
    for word in re.findall(r"[a-z0-9]+", metric.lower()):
        for known in sorted(_KNOWN, key=len, reverse=True):
            if word == known or (len(known) > _SHORT and word.startswith(known)):
                return _KNOWN[known]
    return None


def finite_mean(values: Iterable[float]) -> float:
    """Mean of the finite values; without any, NaN where one is NaN, else an infinity; NaN without values."""
    values = list(values)
    finite = [value for value in values if math.isfinite(value)]
    if finite:
        return sum(finite) / len(finite)
    return math.nan if not values or any(math.isnan(value) for value in values) else values[0]


def is_best(value: float, before: float, direction: Direction) -> bool:
    """Whether a value is at least as good as the best one before it; NaN and infinities never are."""
    return math.isfinite(value) and (value <= before if direction == "lower" else value >= before)


def metric_text(value: float) -> str:
    """A metric with the digits people compare: decibels with two decimals, values around 1 with four; nan, inf."""
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4f}"
