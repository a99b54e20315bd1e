"""Options of a training step that the host does not have: precision, accumulation, clipping, layout, compilation.

Written where the newer forks of BasicSR write them: `use_amp`, `amp_bf16`, `use_channels_last` and `use_compile` at the
top of the option file, `accum_iter` under `datasets: train:`, `grad_clip` under `train:`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ....errors import OptionError, whole_number

Precision = Literal["float32", "bf16", "fp16"]


@dataclass(frozen=True)
class StepOptions:
    """How a step is computed; the defaults are the host's way."""

    precision: Precision = "float32"
    """Autocast type of the networks and losses."""
    accum_iter: int = 1
    """Parts that a batch is computed in; `batch_size_per_gpu` is the size of one part."""
    grad_clip: float | None = None
    """Largest L2 norm of a network's gradient; None for any."""
    channels_last: bool = False
    """Memory layout of networks and images."""
    compile: bool = False
    """Compile the trained network with torch.compile."""


def parse_step_options(options: Mapping[str, Any], *, gpu: bool) -> StepOptions:
    """Read the step's options from a whole option file.

    Args:
        options: The option file.
        gpu: Whether training runs on a GPU.

    Raises:
        OptionError: A value of the wrong kind, or fp16 on a CPU.
    """
    train_data = (options.get("datasets") or {}).get("train") or {}
    return StepOptions(
        precision=_precision(options, gpu),
        accum_iter=accumulation(train_data),
        grad_clip=_grad_clip((options.get("train") or {}).get("grad_clip")),
        channels_last=_switch(options, "use_channels_last"),
        compile=_switch(options, "use_compile"),
    )


def accumulation(train_data: Mapping[str, Any]) -> int:
    """`accum_iter` of the training set.

    Raises:
        OptionError: It is no whole number of at least 1.
    """
    return whole_number("datasets.train.accum_iter", train_data.get("accum_iter", 1), 1)


def _precision(options: Mapping[str, Any], gpu: bool) -> Precision:
    wanted = options.get("use_amp", False)
    if wanted is False or wanted is None:
        return "float32"
    if wanted is True:
        wanted = "bf16" if _switch(options, "amp_bf16") else "fp16"
    if wanted == "bf16":
        return "bf16"
    if wanted != "fp16":
        raise OptionError("use_amp", f"must be true, false, bf16 or fp16, is {wanted!r}")
    if not gpu:
        raise OptionError("use_amp", "fp16 needs a GPU; on a CPU write 'use_amp: bf16' or leave it out")
    return "fp16"


def _grad_clip(value: Any) -> float | None:
    if value is None or value is False:
        return None
    if value is True:
        return 1.0
    if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise OptionError("train.grad_clip", f"must be a norm above 0, or true for 1, is {value!r}")
    return float(value)


def _switch(options: Mapping[str, Any], key: str) -> bool:
    value = options.get(key, False)
    if not isinstance(value, bool):
        raise OptionError(key, f"must be true or false, is {value!r}")
    return value
