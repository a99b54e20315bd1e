"""Finds the network that a checkpoint is for, from the names and shapes of its tensors alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..ops.magic_kernel import SCALES
from .paragonsr2 import SIZES, build_paragonsr2, refuse_version_0_1
from .released import TIERS, build_released

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Detected:
    """A network that a state dict loads into strictly."""

    registered_name: str
    """`paragonsr2_<size>` or `paragonsr2_<tier>`."""
    scale: int
    """Enlargement: 1, 2, 3, 4 or 8."""
    options: dict[str, Any]
    """Every option of the network that its tensors show."""


def detect(state_dict: Mapping[str, Tensor]) -> Detected:
    """Recognise the eight sizes and the four released tiers.

    The width, the number of groups and the kinds of layers show which network it is. This network is then built without
    memory and compared with the checkpoint tensor by tensor. So the result always loads strictly.

    Some options do not show in the tensors. They are left out of the result, and building then takes their defaults. A
    checkpoint that was trained with a different value needs that value given again, else its image changes:

    - Sizes: `upsampler_alpha` (default 1.2). The taps of the fixed kernel are not saved. The learnable kernel saves its
      learnt strength, but not the centre of its bounds, which is also `upsampler_alpha`.
    - Tiers: `upsampler_alpha` (default 0.3, 0.0, 0.4, 0.4 for realtime, stream, photo, pro with the released base, else
      1.2) and `window_size` (default 16). The saved taps of the released base are the taps before blending.

    `detail_gain` and `use_checkpointing` are left out too. They have no effect after the weights are loaded.

    Args:
        state_dict: Names and tensors of the network itself, without a prefix or a surrounding `params`.

    Raises:
        ValueError: The checkpoint fits none of our networks, or is of a size as in version 0.1. The message says what
            was found.
    """
    shapes = {str(key): tuple(getattr(value, "shape", ())) for key, value in state_dict.items()}
    first = shapes.get("conv_in.weight", ())
    if len(first) != 4 or "conv_out.weight" not in shapes or not any(key.startswith("body.") for key in shapes):
        raise ValueError(f"not a ParagonSR2 checkpoint: expected conv_in, body and conv_out, saw {_names(shapes)}")
    refuse_version_0_1(shapes)
    return _detect_tier(shapes) if "up.0.weight" in shapes else _detect_size(shapes)


def _detect_size(shapes: Shapes) -> Detected:
    groups = len({key.split(".")[1] for key in shapes if key.startswith("body.")})
    # Of two sizes with the same width, the one with the nearer number of groups.
    ordered = sorted(SIZES.items(), key=lambda item: -abs(item[1].groups - groups))
    channels, name = _by_width({row.features: name for name, row in ordered}, shapes, "size")
    options = {
        "in_chans": channels,
        "use_attention": any(".attention." in key for key in shapes),
        "use_content_aware": any(key.startswith("content_gain.") for key in shapes),
        "use_learnable_magic_kernel": "base.sharp_kernel" in shapes,
    }
    scale = _scale("conv_out.weight", shapes, channels)
    return _verified(name, scale, options, build_paragonsr2, shapes)


def _detect_tier(shapes: Shapes) -> Detected:
    # Photo and pro have the same width; only pro has a token dictionary.
    other = "photo" if any(".token_ca." in key for key in shapes) else "pro"
    widths = {row.features: name for name, row in TIERS.items() if name != other}
    channels, name = _by_width(widths, shapes, "released tier")
    options: dict[str, Any] = {
        "in_chans": channels,
        "base": "released" if any(key.startswith("base.") for key in shapes) else "magic_kernel_sharp",
    }
    if name in ("photo", "pro"):
        options["export_safe"] = not any("attn.qkv." in key for key in shapes)
    scale = _scale("up.0.weight", shapes, shapes["conv_in.weight"][0])
    return _verified(name, scale, options, build_released, shapes)


def _by_width(names: dict[int, str], shapes: Shapes, kind: str) -> tuple[int, str]:
    """The number of input channels, and the name of the network with the checkpoint's number of features."""
    features, channels = shapes["conv_in.weight"][:2]
    if features not in names:
        raise ValueError(f"no {kind} of ParagonSR2 has the {features} features of this checkpoint's conv_in.weight")
    return channels, names[features]


def _scale(name: str, shapes: Shapes, channels: int) -> int:
    """The scale s of a convolution with `channels` s^2 output channels."""
    for scale in SCALES:
        if shapes[name][:1] == (channels * scale**2,):
            return scale
    raise ValueError(
        f"{name} has shape {shapes[name]}; its first number should be {channels} times the square of one of {SCALES}"
    )


def _verified(
    name: str, scale: int, options: dict[str, Any], build: Callable[..., nn.Module], shapes: Shapes
) -> Detected:
    with torch.device("meta"):
        expected = {key: tuple(value.shape) for key, value in build(name, scale=scale, **options).state_dict().items()}
    found = f"looks like paragonsr2_{name} at x{scale}, but"
    if missing := expected.keys() - shapes.keys():
        raise ValueError(f"{found} lacks {_names(missing)}")
    if unexpected := shapes.keys() - expected.keys():
        raise ValueError(f"{found} also has {_names(unexpected)}")
    for key, shape in expected.items():
        if shapes[key] != shape:
            raise ValueError(f"{found} {key} has shape {shapes[key]} instead of {shape}")
    return Detected(f"paragonsr2_{name}", scale, options)


def _names(keys: Iterable[str]) -> str:
    """The first four names in sorted order, and the number of the rest."""
    names = sorted(keys)
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more if names else "nothing"
