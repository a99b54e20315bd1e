"""Reads and writes checkpoints: the one place where a file of weights is opened.

A checkpoint is `{"params": {...}, "params_ema": {...}}` as BasicSR writes it, or the weights alone, as `.pth` or
`.safetensors`. Ours carry the network's name, scale and options beside the weights under the key `paragon`, which
BasicSR's own `load_network` passes over.
"""

import contextlib
import inspect
import json
import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import OptionError
from .atomic_file import atomic_file
from .checksum import ChecksumError, append_checksum, verify_checksum

LEVELS = ("params_ema", "params")
"""Keys under which weights may stand, the better ones first."""

METADATA = "paragon"
"""Key of the description of the network; in a safetensors file JSON in the header."""

MAX_VALUES = 50_000_000
"""Values of a checkpoint beside what its tensors hold; one with a thousand optimizer states has a ten-thousandth."""

_OTHERS_METADATA = "metadata"
"""Key under which traiNNer-redux keeps what it knows of a network, ours among it; in a safetensors file as above."""

_PREFIXES = ("module.", "_orig_mod.")  # of networks saved inside DataParallel and compiled wrappers


class CheckpointError(OptionError):
    """A file cannot be used as a checkpoint."""

    def __init__(self, path: str | Path, problem: str):
        super().__init__(str(path), problem)
        self.problem = problem
        """What is the matter, in words that follow the file's name: "does not exist"."""


# -- writing -----------------------------------------------------------------------------------------------------------


def save_atomically(state: Any, path: str | Path) -> str:
    """`torch.save` that writes a whole file or none, with a checksum in it (see `checksum`).

    Returns:
        The checksum.

    Raises:
        OSError: The file cannot be written. No part of it is left, and an older file of that name is unchanged.
    """
    try:
        with atomic_file(path) as file:
            torch.save(state, file)
            return append_checksum(file, file.name)
    except RuntimeError as error:
        # torch closes its zip file after a failed write and raises about that; the reason stands behind it.
        reason: BaseException | None = error
        while reason is not None and not isinstance(reason, OSError):
            reason = reason.__cause__ or reason.__context__
        raise reason or error from None


@dataclass(frozen=True)
class NetworkMetadata:
    """What a checkpoint says about its network."""

    type: str
    """Registered name, such as `paragonsr2_tiny`."""
    scale: int | None
    """Enlargement; None where the option file named none."""
    options: dict[str, Any]
    """The network's other options, with their defaults where the network tells them."""

    def plain(self) -> dict[str, Any]:
        """The value to store under `METADATA`: plain values that load without running code."""
        return {"type": self.type, "scale": self.scale, "options": self.options}


def network_metadata(block: Mapping[str, Any], net: nn.Module, scale: int | None = None) -> NetworkMetadata:
    """Describe a network for its checkpoint.

    Options that the network holds as attributes of the same name are stored as they are in effect, so that a later
    change of a default does not change what a checkpoint means. Values that are not plain are left out.

    Args:
        block: The option file's `network_g`, with `type`.
        net: The bare network built from it.
        scale: The option file's.
    """
    options = {key: value for key, value in block.items() if key not in ("type", "scale")}
    for name in inspect.signature(type(net)).parameters:
        in_effect = getattr(net, name, ...)
        if name not in ("variant", "tier", "scale") and _is_plain(in_effect):
            options[name] = in_effect
    plain = {key: value for key, value in options.items() if _is_plain(value)}
    return NetworkMetadata(str(block["type"]), block.get("scale", scale), plain)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return value is None or type(value) in (bool, int, float, str)


# -- reading -----------------------------------------------------------------------------------------------------------


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The contents of a `.pth`, `.state` or `.safetensors` file on the CPU; nothing in it is run.

    Returns:
        The file's mapping. A safetensors file whose names start with a level (`params.conv_in.weight`) is nested as a
        `.pth` would be.

    Raises:
        CheckpointError: The file is missing, unreadable, damaged, holds objects other than plain values and tensors,
            or is no mapping.
    """
    path = Path(path)
    if not os.path.isfile(path):  # pathlib raises on names that are too long
        raise CheckpointError(path, "is no file" if os.path.exists(path) else "does not exist")
    try:
        state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickled(path)
    except OSError as error:
        raise CheckpointError(path, f"cannot be read: {error.strerror or error}") from error
    except CheckpointError:
        raise
    except ChecksumError as error:
        raise CheckpointError(path, f"is damaged: {error}") from error
    except pickle.UnpicklingError as error:
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        if foreign is None:
            raise CheckpointError(path, "is damaged or not a checkpoint (UnpicklingError)") from error
        raise CheckpointError(path, f"holds more than weights and is not loaded: {foreign[1]}") from error
    except Exception as error:  # a broken or foreign file raises nearly anything
        raise CheckpointError(path, f"is damaged or not a checkpoint ({type(error).__name__})") from error
    if not isinstance(state, dict):
        raise CheckpointError(path, f"is not a checkpoint but a {type(state).__name__}")
    _refuse_too_many(path, state)
    return state


def peek(path: str | Path) -> dict[str, Any]:
    """As `read_checkpoint` for a `.pth` or `.state`, without reading its tensors or comparing its checksum."""
    try:
        _refuse_inflating(Path(path))
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except CheckpointError:
        raise
    except Exception as error:  # a broken or foreign file raises nearly anything
        raise CheckpointError(path, f"is damaged or not a checkpoint ({type(error).__name__})") from error
    if not isinstance(state, dict):
        raise CheckpointError(path, f"is not a checkpoint but a {type(state).__name__}")
    return state


def nonfinite_weight(weights: Mapping[str, Tensor]) -> str | None:
    """Name of the first weight with NaN or infinity; None where all are finite."""
    for name, value in weights.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            return name
    return None


def _read_pickled(path: Path) -> Any:
    verify_checksum(path)  # first: what is damaged may say any size
    _refuse_inflating(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _refuse_inflating(path: Path) -> None:
    """A zip file of torch holds its parts as they are: parts that say they are larger than the file are compressed, or
    the same bytes several times over, and can fill any memory."""
    with open(path, "rb") as file:
        if file.read(2) != b"PK":
            return
        try:
            with zipfile.ZipFile(file) as archive:
                inside = sum(part.file_size for part in archive.infolist())
        except (zipfile.BadZipFile, NotImplementedError):
            return  # damaged: that is for its checksum and torch to say
        size = os.fstat(file.fileno()).st_size
    if inside > size:
        raise CheckpointError(
            path, f"has {size:,} bytes and would take {inside:,}: torch.save compresses nothing, it is not loaded"
        )


def _refuse_too_many(path: Path, state: Any) -> None:
    """A few bytes of pickle can refer to one list thousands of times over: values are counted as if written out."""
    sizes: dict[int, int] = {}
    stack: list[tuple[Any, bool]] = [(state, False)]
    while stack:
        value, done = stack.pop()
        if id(value) in sizes and not done:
            continue
        inside: list[Any] = []
        if isinstance(value, Mapping):
            inside = [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set):
            inside = list(value)
        if not done and inside:
            stack += [(value, True), *((part, False) for part in inside)]
            sizes[id(value)] = 0  # what refers to itself counts once
            continue
        sizes[id(value)] = 1 + sum(sizes.get(id(part), 1) for part in inside)
        if sizes[id(value)] > MAX_VALUES:
            raise CheckpointError(path, f"holds more than {MAX_VALUES:,} values: it is not loaded")


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, "pt") as file:
            state: dict[str, Any] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
            header = file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(path, "is damaged or not a safetensors file") from error
    if state and all(key.startswith(tuple(f"{level}." for level in LEVELS)) for key in state):
        levels: dict[str, Any] = {}
        for key, value in state.items():
            level, name = key.split(".", 1)
            levels.setdefault(level, {})[name] = value
        state = levels
    if METADATA in header:
        state[METADATA] = json.loads(header[METADATA])
    with contextlib.suppress(KeyError, ValueError):  # of somebody else's file it may be anything
        state[_OTHERS_METADATA] = json.loads(header[_OTHERS_METADATA])
    return state


def read_network(path: str | Path, param_key: str | None = "params_ema") -> dict[str, Tensor]:
    """The weights of one network in a checkpoint, without prefixes of wrappers such as `module.`.

    Args:
        path: `.pth` or `.safetensors`.
        param_key: Where to look first; without it there, `params_ema`, `params` and the top level follow, in this
            order. None takes the top level only.

    Raises:
        CheckpointError: As `read_checkpoint`; or the file holds no weights there.
    """
    return network_weights(read_checkpoint(path), path, param_key)


def network_weights(
    checkpoint: Mapping[str, Any], path: str | Path, param_key: str | None = "params_ema"
) -> dict[str, Tensor]:
    """As `read_network`, from what `read_checkpoint` returned; `path` is for messages."""
    wanted = LEVELS if param_key is None else dict.fromkeys((param_key, *LEVELS))
    levels = [key for key in wanted if isinstance(checkpoint.get(key), Mapping)]
    if param_key is None and levels:
        raise CheckpointError(path, f"holds its weights under '{levels[0]}', not at the top level (param_key: null)")
    found = (
        checkpoint[levels[0]]
        if levels
        else {k: v for k, v in checkpoint.items() if k not in (METADATA, _OTHERS_METADATA)}
    )
    weights = {}
    for key, value in found.items():
        if not isinstance(key, str) or not isinstance(value, Tensor) or value.layout != torch.strided:
            raise CheckpointError(path, f"holds no network under 'params' or 'params_ema': {key!r} is not a weight")
        while key.startswith(_PREFIXES):
            key = key.split(".", 1)[1]
        weights[key] = value
    if not weights:
        raise CheckpointError(path, "holds no network")
    return weights


def read_metadata(checkpoint: Mapping[str, Any], path: str | Path) -> NetworkMetadata | None:
    """What a checkpoint says about its network, None where it says nothing; `path` is for messages.

    Raises:
        CheckpointError: The description is not of the form we write.
    """
    others = checkpoint.get(_OTHERS_METADATA)
    value = checkpoint.get(METADATA, others.get(METADATA) if isinstance(others, Mapping) else None)
    if value is None:
        return None
    match value:
        case {"type": str(name), "scale": int() | None as scale, "options": dict(options)} if _is_plain(options):
            return NetworkMetadata(name, scale, options)
    raise CheckpointError(path, f"its description of the network ('{METADATA}') is damaged")
