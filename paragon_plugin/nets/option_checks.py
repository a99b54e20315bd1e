"""Checks of the options and inputs that all our networks share.

A check of an option returns the valid value or raises ValueError.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..ops.magic_kernel import check_image

MIN_SIDE = 8
"""Smallest height and width of an input."""


def refuse_unknown_options(options: Iterable[str], known: Sequence[str]) -> None:
    """Check the names of options.

    Raises:
        ValueError: A name of `options` is not in `known`. The message has the first such name and all known names.
    """
    for name in options:
        if name not in known:
            raise ValueError(f"unknown option {name!r}{near_miss(name, known)}; valid ones: {', '.join(known)}")


def near_miss(name: object, known: Sequence[str]) -> str:
    """` (did you mean 'photo'?)` for a name close to a known one, else an empty string."""
    close = difflib.get_close_matches(str(name).lower(), known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def check_flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return value


def check_gain(value: object) -> float:
    # Not zero: in the eight sizes the last convolution starts at zero, and with a gain of zero neither would get a
    # gradient.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 10:
        raise ValueError(f"detail_gain must be a number above 0 and at most 10, got {value!r}")
    return float(value)


def check_whole(name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return value


def check_input(x: Tensor, channels: int) -> None:
    """Check an input of a network.

    Raises:
        ValueError: `x` is not floating-point (B, channels, H, W) with H and W >= `MIN_SIDE`.
    """
    check_image(x)
    if x.shape[1] != channels:
        raise ValueError(f"this network takes images of {channels} channels, got shape {tuple(x.shape)}")
    # In compilation and export the sizes are symbols. A comparison would put a fixed bound into the graph.
    if not torch.compiler.is_compiling() and min(x.shape[2:]) < MIN_SIDE:
        raise ValueError(f"height and width must be at least {MIN_SIDE}, got shape {tuple(x.shape)}")
