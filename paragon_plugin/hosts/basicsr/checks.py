"""Refuses what the host would fail on later with a traceback: unknown names, missing folders, missing keys.

Nothing is written and no random state is consumed here.
"""

import difflib
import importlib.util
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
    metrics = (options.get("val") or {}).get("metrics") or {}
    if not isinstance(metrics, dict):
        raise OptionError("val.metrics", f"must be a block of metrics, is {metrics!r}")
    for name, metric in metrics.items():
        if not isinstance(metric, dict):
            raise OptionError(f"val.metrics.{name}", f"must be a block with 'type: ...', is {metric!r}")
        _known(f"val.metrics.{name}.type", metric.get("type"), METRIC_REGISTRY)
    for key in ("optim_g", "scheduler"):
        block = options["train"].get(key)
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise OptionError(f"train.{key}", f"must be a block with 'type: ...', is {block!r}")
    for key in [k for k in options["path"] if str(k).startswith("pretrain_network")]:
        value = options["path"][key]
        if value is not None:
            _check_pretrained(f"path.{key}", Path(value))
    _check_schedule(options)
    _check_training_numbers(options["train"])
    names = [d["name"] for d in options["datasets"].values() if d["phase"] == "val"]
    for name in names:
        if names.count(name) > 1:
            raise OptionError("datasets", f"two validation sets are called '{name}'; their results would mix")
    wandb = options["logger"].get("wandb")
    if isinstance(wandb, dict) and wandb.get("project") and importlib.util.find_spec("wandb") is None:
        raise OptionError("logger.wandb.project", "needs the package wandb: pip install wandb, or write 'project: ~'")
    if wandb is not None and not isinstance(wandb, dict):
        raise OptionError("logger.wandb", f"must be a block with 'project: ...', is {wandb!r}")


def _check_schedule(options: Options) -> None:
    """The block itself, near misses of its name, and a model that would ignore it."""
    from basicsr.utils.registry import MODEL_REGISTRY

    train = options["train"]
    for key in train:
        for ours in ("dynamic_loss_scheduling", "losses"):
            if key != ours and difflib.get_close_matches(str(key), [ours], cutoff=0.85):
                raise OptionError(f"train.{key}", f"unknown option; did you mean '{ours}'?")
    ours = parse_dynamic_loss_scheduling(train.get("dynamic_loss_scheduling")).enabled or train.get("losses")
    model_type = options["model_type"]
    if ours and not hasattr(MODEL_REGISTRY.get(model_type), "schedules_losses"):
        raise OptionError(
            "model_type", f"{model_type} knows neither 'losses' nor 'dynamic_loss_scheduling'; use ParagonSRModel"
        )


def _check_training_numbers(train: Options) -> None:
    """Numbers that the host takes as they are and fails on, or does nonsense with, at some later iteration."""
    _check_range("train.ema_decay", train.get("ema_decay", 0), 0, 1, "below 1", upper_open=True)
    _check_range("train.warmup_iter", train.get("warmup_iter", -1), -1, 1e12, "or -1 for none")
    _check_range("train.optim_g.lr", train["optim_g"].get("lr"), 0, 1e38, "above 0", lower_open=True)
    scheduler = train["scheduler"]
    for key in ("milestones", "periods", "restart_weights"):
        values = scheduler.get(key, [])
        for value in values if isinstance(values, list) else [values]:
            _check_range(f"train.scheduler.{key}", value, 0, 1e12, "or a list of them")
    for key in ("gamma", "eta_min"):
        _check_range(f"train.scheduler.{key}", scheduler.get(key, 0), 0, 1e38, "of at least 0")


def _check_range(
    path: str, value: Any, low: float, high: float, words: str, *, lower_open: bool = False, upper_open: bool = False
) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high or (lower_open and value == low) or (upper_open and value == high):
        raise OptionError(path, "is missing" if value is None else f"must be a number {words}, is {value!r}")


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


def _check_pretrained(path: str, file: Path) -> None:
    """A file of network weights, read without running anything in it."""
    if not file.is_file():
        raise OptionError(path, f"{file} {'is no file' if file.exists() else 'does not exist'}")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken or foreign file raises nearly anything
        raise OptionError(path, f"{file} is damaged or not a checkpoint ({type(error).__name__})") from error
    if not isinstance(state, dict) or not any(isinstance(state.get(key), dict) for key in ("params", "params_ema")):
        raise OptionError(path, f"{file} holds no network under 'params' or 'params_ema'")


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
