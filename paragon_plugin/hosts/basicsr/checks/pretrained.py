"""Checks the weights that networks start from: they can be read, they are finite, and they fit the network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ....errors import OptionError
from ....nets.checkpoint_detection import detect
from ....resilience.checkpoints import LEVELS, CheckpointError, network_weights, nonfinite_weight, read_checkpoint
from ..options import known
from ..options.file import Options
from ..options.problems import Problems
from .registered import build_alone


def check_all_pretrained(options: Options, problems: Problems) -> None:
    """Check every `path.pretrain_network_*` as the model will load it.

    A run that is resumed loads its own networks instead. So this check comes after the state to resume has been found.
    """
    paths = options["path"]
    resumed = bool(paths.get("resume_state"))
    for key in [key for key in paths if key.startswith("pretrain_network")]:
        if paths[key] is None:
            continue
        end = key.removeprefix("pretrain_network_")
        where = f"network_{end}" if resumed else f"path.{key}"
        with problems.collected():
            file = Path(known.file_path(f"path.{key}", paths[key]))
            weights = check_pretrained(where, file, paths.get(f"param_key_{end}", "params"))
            block = f"network_{end}"
            if isinstance(options.get(block), Mapping) and not problems.told_of(block):
                network = build_alone(block, options[block])
                strict = paths.get(f"strict_load_{end}", True) is not False
                check_fit(where, file, weights, network, (block, options[block]), strict=strict)


def check_pretrained(path: str, file: Path, param_key: str | None) -> dict[str, Tensor]:
    """A file of network weights, read without running anything in it.

    Returns:
        The weights under `param_key`, or where `resilience.checkpoints` looks next.

    Raises:
        OptionError: It holds no weights there, or NaN or infinity at any of its levels.
    """
    try:
        checkpoint = read_checkpoint(file)
        weights = network_weights(checkpoint, file, param_key)
        for level in LEVELS:
            if isinstance(checkpoint.get(level), Mapping):
                _require_finite(path, file, network_weights(checkpoint, file, level))
    except CheckpointError as error:
        raise OptionError(path, f"{file} {error.problem}") from error
    _require_finite(path, file, weights)
    return weights


def _require_finite(path: str, file: Path, weights: Mapping[str, Tensor]) -> None:
    if broken := nonfinite_weight(weights):
        raise OptionError(path, f"{file} holds NaN or infinity ({broken}); take an older checkpoint")


def check_fit(
    path: str,
    file: Path,
    weights: Mapping[str, Tensor],
    network: nn.Module,
    block: tuple[str, Mapping[str, Any]],
    *,
    strict: bool,
) -> None:
    """Weights load into a network.

    Args:
        path: Where the file stands in the options.
        file: For messages.
        weights: What it holds.
        network: Built from the block; takes the weights.
        block: Name of the network's block, and what stands in it.
        strict: Every weight must fit; else some.

    Raises:
        OptionError: They do not; it says what they are.
    """
    name, options = block
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in weights.items()}
    fitting = {key: value for key, value in weights.items() if expected.get(key) == found[key]}
    try:
        network.load_state_dict(dict(weights) if strict else fitting, strict=strict)
        if strict or fitting:
            return
    except (RuntimeError, ValueError, KeyError, TypeError):
        pass
    wanted = f"{name} is {options.get('type')}" + (f" x{options['scale']}" if options.get("scale") else "")
    what = _what_they_are(weights)
    if what is not None and what not in wanted:
        raise OptionError(path, f"{file} is {what}; {wanted}")
    parts = [
        _some("lacks", [key for key in expected if key not in found]),
        _some("also has", [key for key in found if key not in expected]),
        *(f"{key} is {size}, not {expected[key]}" for key, size in found.items() if expected.get(key, size) != size),
    ]
    said = [part for part in parts if part][:3]
    raise OptionError(path, f"{file} does not fit, {wanted}: {'; '.join(said) or 'its weights do not load'}")


def _what_they_are(weights: Mapping[str, Tensor]) -> str | None:
    """`paragonsr2_tiny x2`; None where they are of no network of ours."""
    try:
        found = detect(weights)
    except ValueError:
        return None
    return f"{found.registered_name} x{found.scale}"


def _some(what: str, names: list[str]) -> str:
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return f"{what} {', '.join(names[:2])}{more}" if names else ""
