"""A ready network from nothing but its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..nets.checkpoint_detection import detect
from ..nets.paragonsr2 import SIZES, build_paragonsr2
from ..nets.released import build_released
from ..nets.tiers import TIERS
from ..resilience.checkpoints import CheckpointError, network_weights, read_checkpoint, read_metadata

_PREFIX = "paragonsr2_"


@dataclass(frozen=True)
class LoadedNetwork:
    """A network as its checkpoint describes it.

    Attributes:
        net: in evaluation mode, float32, on the CPU.
        name: registered name, such as `paragonsr2_tiny`.
        scale: enlargement.
        in_chans: channels of its images.
    """

    net: nn.Module
    name: str
    scale: int
    in_chans: int


def load_network(path: str | Path, param_key: str | None = "params_ema") -> LoadedNetwork:
    """Read a checkpoint of one of our networks.

    Size or tier, scale and options are those the checkpoint itself carries, else what its keys and shapes show.

    Args:
        path: `.pth` or `.safetensors`.
        param_key: see `read_network`.

    Raises:
        CheckpointError: The file is no checkpoint, or of a network that is not ours, or its weights do not fit what it
            says it is, or are not finite.
    """
    checkpoint = read_checkpoint(path)
    weights = network_weights(checkpoint, path, param_key)
    metadata = read_metadata(checkpoint, path)
    try:
        if metadata is None:
            found = detect(weights)
            name, scale, options = found.registered_name, found.scale, dict(found.options)
        else:
            name, scale, options = metadata.type, metadata.scale, metadata.options
        _check_fit(path, name, scale, options, weights)
        net = _build(name, scale, options)
        net.load_state_dict(weights)
    except CheckpointError:
        raise
    except (ValueError, TypeError, RuntimeError) as error:  # the last from shapes that the base brings
        raise CheckpointError(path, f"is not of a ParagonSR2 network: {error}") from error
    assert scale is not None  # _build refuses it
    return LoadedNetwork(net.eval(), name, scale, getattr(net, "in_chans", 3))


def _build(name: str, scale: Any, options: dict[str, Any]) -> nn.Module:
    variant = name.removeprefix(_PREFIX)
    if name.startswith(_PREFIX) and variant in TIERS:
        return build_released(variant, scale=scale, **options)
    if name.startswith(_PREFIX) and variant in SIZES:
        return build_paragonsr2(variant, scale=scale, **options)
    raise ValueError(f"it holds {name}; known are {', '.join(_PREFIX + v for v in (*SIZES, *TIERS))}")


def _check_fit(path: str | Path, name: str, scale: Any, options: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """Compare shapes before anything of that size is allocated: a file may say what it likes."""
    with torch.device("meta"):
        expected = _build(name, scale, options).state_dict()
    released_base = {key for key in weights if key.startswith("base.")}  # brought by the checkpoint
    for key in sorted((expected.keys() | weights.keys()) - (released_base - expected.keys())):
        if key not in weights:
            raise CheckpointError(path, f"is incomplete for {name} x{scale}: {key} is missing")
        if key not in expected:
            raise CheckpointError(path, f"does not fit {name} x{scale}: {key} is not part of it")
        if weights[key].shape != expected[key].shape:
            shapes = f"{tuple(weights[key].shape)} in place of {tuple(expected[key].shape)}"
            raise CheckpointError(path, f"does not fit {name} x{scale}: {key} is {shapes}")
        if not weights[key].isfinite().all():
            raise CheckpointError(path, f"{key} holds NaN or infinite values; the training run diverged")
