"""Refuses what the host would fail on later with a traceback: unknown names, missing folders, missing keys.

Nothing is written and no random state is consumed here.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from ...options import OptionError, parse_dynamic_loss_scheduling, suggestion
from .option_file import Options


def check_training_options(options: Options) -> None:
    """Check prepared options of a training run.

    Raises:
        OptionError: The first thing that cannot work.
    """
    from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY

    _known("model_type", options["model_type"], MODEL_REGISTRY)
    for block in [key for key in options if str(key).startswith("network_")]:
        _known(f"{block}.type", options[block].get("type"), ARCH_REGISTRY)
        _check_network(block, options[block])
    for key, dataset in options["datasets"].items():
        path = f"datasets.{key}"
        if dataset["phase"] not in ("train", "val"):
            raise OptionError(path, "must be called train, val or val_<something>")
        _known(f"{path}.type", dataset.get("type"), DATASET_REGISTRY)
        if not isinstance(dataset.get("name"), str):
            raise OptionError(f"{path}.name", f"must be a name, is {dataset.get('name')!r}")
        _check_folders(path, dataset)
    train = options["datasets"].get("train")
    if train is None:
        raise OptionError("datasets", "has no block 'train'")
    _check_count("datasets.train.batch_size_per_gpu", train.get("batch_size_per_gpu"), 1)
    _check_count("datasets.train.num_worker_per_gpu", train.get("num_worker_per_gpu"), 0)
    enlarge = train.get("dataset_enlarge_ratio", 1)
    if isinstance(enlarge, bool) or not isinstance(enlarge, int | float) or not 0 < enlarge < 1e6:
        raise OptionError("datasets.train.dataset_enlarge_ratio", f"must be a positive number, is {enlarge!r}")
    for name, metric in ((options.get("val") or {}).get("metrics") or {}).items():
        if not isinstance(metric, dict):
            raise OptionError(f"val.metrics.{name}", f"must be a block with 'type: ...', is {metric!r}")
        _known(f"val.metrics.{name}.type", metric.get("type"), METRIC_REGISTRY)
    for key in ("optim_g", "scheduler"):
        block = options["train"].get(key)
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise OptionError(f"train.{key}", f"must be a block with 'type: ...', is {block!r}")
    for key in [k for k in options["path"] if str(k).startswith("pretrain_network")]:
        value = options["path"][key]
        if value is not None and not Path(str(value)).is_file():
            raise OptionError(f"path.{key}", f"{value} does not exist")
    parse_dynamic_loss_scheduling(options["train"].get("dynamic_loss_scheduling"))


def _known(path: str, name: Any, registry: Iterable[tuple[str, Any]]) -> None:
    names = {key.removesuffix("_basicsr") for key, _ in registry} | {key for key, _ in registry}
    if not isinstance(name, str):
        raise OptionError(path, f"must be a name, is {name!r}")
    if name not in names:
        raise OptionError(path, f"nothing is registered as '{name}'{suggestion(name, names)}")


def _check_network(block: str, network: Options) -> None:
    """Build the network once and throw it away, so that its own complaint comes with the block's name."""
    from basicsr.utils.registry import ARCH_REGISTRY

    options = {key: value for key, value in network.items() if key != "type"}
    name = network["type"] if network["type"] in ARCH_REGISTRY else f"{network['type']}_basicsr"
    try:
        with torch.random.fork_rng():
            ARCH_REGISTRY.get(name)(**options)
    except Exception as error:  # the host's architectures raise nearly anything on options they cannot use
        raise OptionError(block, f"{network['type']}: {error}") from error


def _check_folders(path: str, dataset: Options) -> None:
    for key, value in dataset.items():
        if not key.startswith("dataroot") or value is None:
            continue
        for root in value if isinstance(value, list) else [value]:
            if not isinstance(root, str):
                raise OptionError(f"{path}.{key}", f"must be a folder's path, is {root!r}")
            if not Path(root).exists():
                raise OptionError(f"{path}.{key}", f"the folder {root} does not exist")
            if Path(root).is_dir() and not any(Path(root).iterdir()):
                raise OptionError(f"{path}.{key}", f"the folder {root} is empty")
    meta = dataset.get("meta_info_file")
    if meta is not None and not Path(str(meta)).is_file():
        raise OptionError(f"{path}.meta_info_file", f"{meta} does not exist")


def _check_count(path: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise OptionError(path, f"must be a whole number of at least {least}, is {value!r}")
