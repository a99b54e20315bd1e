"""Builds and loads a network from its checkpoint alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..nets.checkpoint_detection import detect
from ..nets.paragonsr2 import SIZES, build_paragonsr2, refuse_version_0_1
from ..nets.released import build_released
from ..nets.tiers import TIERS
from ..resilience.checkpoints import CheckpointError, network_weights, read_checkpoint, read_metadata
from .foreign_networks import UnknownNetworkError, build_foreign

_PREFIX = "paragonsr2_"


@dataclass(frozen=True)
class LoadedNetwork:
    """A network as its checkpoint describes it."""

    net: nn.Module
    """The network in evaluation mode, float32, on the CPU."""
    name: str
    """Registered name, for example `paragonsr2_tiny`; of other people's networks that of the architecture."""
    scale: int
    """Enlargement."""
    in_chans: int
    """Channels of its images."""


def load_network(path: str | Path, param_key: str | None = "params_ema") -> LoadedNetwork:
    """Read a checkpoint of one of our networks, or of one that spandrel reads.

    Size or tier, scale and options come from the description in the checkpoint. If it has none, they come from its keys
    and shapes.

    Args:
        path: A `.pth` or `.safetensors` file.
        param_key: See `read_network`.

    Raises:
        CheckpointError: The file is not a checkpoint, or is of an unknown network. Or its weights do not fit its
            description, or are not finite.
    """
    checkpoint = read_checkpoint(path)
    weights = network_weights(checkpoint, path, param_key)
    metadata = read_metadata(checkpoint, path)
    try:
        refuse_version_0_1(weights)
    except ValueError as error:
        raise CheckpointError(path, str(error)) from error
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
    except (ValueError, TypeError, RuntimeError) as error:  # RuntimeError: wrong shapes of `base.*`
        try:
            return _foreign(path, weights)
        except UnknownNetworkError as other:
            raise CheckpointError(path, f"is not of a ParagonSR2 network: {error}; {other}") from error
    assert scale is not None  # _build refuses it
    return LoadedNetwork(net.eval(), name, scale, getattr(net, "in_chans", 3))


def _foreign(path: str | Path, weights: dict[str, Tensor]) -> LoadedNetwork:
    net, name, scale = build_foreign(weights)
    for key, value in weights.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise CheckpointError(path, f"{key} holds NaN or infinite values; the training run diverged")
    return LoadedNetwork(net.eval(), name, scale, net.in_chans)


def _build(name: str, scale: Any, options: dict[str, Any]) -> nn.Module:
    variant = name.removeprefix(_PREFIX)
    if name.startswith(_PREFIX) and variant in TIERS:
        return build_released(variant, scale=scale, **options)
    if name.startswith(_PREFIX) and variant in SIZES:
        return build_paragonsr2(variant, scale=scale, **options)
    raise ValueError(f"it holds {name}; known are {', '.join(_PREFIX + v for v in (*SIZES, *TIERS))}")


def _check_fit(path: str | Path, name: str, scale: Any, options: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """Compare shapes before memory is allocated, because the description in a file may be wrong."""
    with torch.device("meta"):
        expected = _build(name, scale, options).state_dict()
    released_base = {key for key in weights if key.startswith("base.")}  # a base that loading adds
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
