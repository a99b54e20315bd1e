"""Looks up and builds what an option file names in the host's registries."""

from collections.abc import Iterable
from typing import Any

import torch

from ....errors import OptionError, shown, suggestion
from ..options.file import Options
from ..scheduled_model import ScheduledModel


def check_known(path: str, name: Any, registry: Iterable[tuple[str, Any]]) -> None:
    names = {key.removesuffix("_basicsr") for key, _ in registry} | {key for key, _ in registry}
    if not isinstance(name, str):
        raise OptionError(path, f"must be a name, is {shown(name)}")
    if name not in names:
        raise OptionError(path, f"nothing is registered as '{name}'{suggestion(name, names)}")


def model_class(options: Options) -> type | None:
    """The registered model of an option file, None where there is none of that name."""
    from basicsr.utils.registry import MODEL_REGISTRY

    name = options["model_type"]
    for key in (name, f"{name}_basicsr"):
        if key in MODEL_REGISTRY:
            return MODEL_REGISTRY.get(key)
    return None


def scheduled_model_class(options: Options) -> type[ScheduledModel] | None:
    """The registered model where it schedules its losses, else None."""
    model = model_class(options)
    return model if model is not None and issubclass(model, ScheduledModel) else None


def check_network(block: str, network: Options) -> None:
    """Build the network once and throw it away, so that its own complaint comes with the block's name."""
    build_alone(block, network)


def build_alone(block: str, network: Options) -> torch.nn.Module:
    """The network of a block, without consuming random state.

    Raises:
        OptionError: Nothing of its type is registered, or it cannot be built.
    """
    from basicsr.utils.registry import ARCH_REGISTRY

    check_known(f"{block}.type", network.get("type"), ARCH_REGISTRY)
    options = {key: value for key, value in network.items() if key != "type"}
    name = network["type"] if network["type"] in ARCH_REGISTRY else f"{network['type']}_basicsr"
    try:
        with torch.random.fork_rng(devices=[]):
            return ARCH_REGISTRY.get(name)(**options)
    except Exception as error:  # the host's architectures raise nearly anything on options they cannot use
        text = str(error).strip() or type(error).__name__
        raise OptionError(block, f"{network['type']}: {text}") from error
