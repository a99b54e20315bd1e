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
from ...step_options import parse_step_options
from .checkpoints import CheckpointError, read_network
from .option_file import Options

OURS_FOR = {
    "SRModel": "ParagonSRModel",
    "SwinIRModel": "ParagonSRModel",
    "SRGANModel": "ParagonGANModel",
    "ESRGANModel": "ParagonESRGANModel",
    "RealESRNetModel": "ParagonRealESRNetModel",
    "RealESRGANModel": "ParagonRealESRGANModel",
}
"""Which of our models takes the options of which of the host's."""


def check_training_options(options: Options) -> None:
    """Check prepared options of a training run.

    Raises:
        OptionError: The first thing that cannot work.
    """
    from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY

    check_known("model_type", options["model_type"], MODEL_REGISTRY)
    for block in [key for key in options if str(key).startswith("network_")]:
        check_known(f"{block}.type", options[block].get("type"), ARCH_REGISTRY)
        check_network(block, options[block])
    for key, dataset in options["datasets"].items():
        path = f"datasets.{key}"
        if dataset["phase"] not in ("train", "val"):
            raise OptionError(path, "must be called train, val or val_<something>")
        check_known(f"{path}.type", dataset.get("type"), DATASET_REGISTRY)
        if not isinstance(dataset.get("name"), str):
            raise OptionError(f"{path}.name", f"must be a name, is {dataset.get('name')!r}")
        check_folders(path, dataset)
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
        check_known(f"val.metrics.{name}.type", metric.get("type"), METRIC_REGISTRY)
    for key in ("optim_g", "scheduler", *(["optim_d"] if "network_d" in options else [])):
        block = options["train"].get(key)
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise OptionError(f"train.{key}", f"must be a block with 'type: ...', is {block!r}")
    for key in [k for k in options["path"] if str(k).startswith("pretrain_network")]:
        value = options["path"][key]
        if value is not None:
            param_key = options["path"].get(key.replace("pretrain_network", "param_key"), "params")
            check_pretrained(f"path.{key}", Path(value), param_key)
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
    if hasattr(MODEL_REGISTRY.get(_registered(model_type, MODEL_REGISTRY)), "schedules_losses"):
        parse_step_options(options, gpu=options["num_gpu"] > 0)
        return
    for_ours = OURS_FOR.get(model_type, "ParagonSRModel")
    if ours:
        raise OptionError(
            "model_type", f"{model_type} knows neither 'losses' nor 'dynamic_loss_scheduling'; use {for_ours}"
        )
    for path, block, key in (
        *(("", options, key) for key in ("use_amp", "use_channels_last", "use_compile")),
        ("datasets.train.", options["datasets"].get("train") or {}, "accum_iter"),
        ("train.", train, "grad_clip"),
    ):
        if block.get(key) not in (None, False):
            raise OptionError(f"{path}{key}", f"{model_type} does not know it; use 'model_type: {for_ours}'")


def _registered(name: str, registry: Any) -> str:
    """The host registers some classes under a suffix."""
    return name if name in registry else f"{name}_basicsr"


def _check_training_numbers(train: Options) -> None:
    """Numbers that the host takes as they are and fails on, or does nonsense with, at some later iteration."""
    _check_range("train.ema_decay", train.get("ema_decay", 0), 0, 1, "below 1", upper_open=True)
    _check_range("train.warmup_iter", train.get("warmup_iter", -1), -1, 1e12, "or -1 for none")
    for key in ("optim_g", "optim_d"):
        if key in train:
            _check_range(f"train.{key}.lr", train[key].get("lr"), 0, 1e38, "above 0", lower_open=True)
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


def check_known(path: str, name: Any, registry: Iterable[tuple[str, Any]]) -> None:
    names = {key.removesuffix("_basicsr") for key, _ in registry} | {key for key, _ in registry}
    if not isinstance(name, str):
        raise OptionError(path, f"must be a name, is {name!r}")
    if name not in names:
        raise OptionError(path, f"nothing is registered as '{name}'{suggestion(name, names)}")


def check_network(block: str, network: Options) -> None:
    """Build the network once and throw it away, so that its own complaint comes with the block's name."""
    from basicsr.utils.registry import ARCH_REGISTRY

    options = {key: value for key, value in network.items() if key != "type"}
    name = _registered(network["type"], ARCH_REGISTRY)
    try:
        with torch.random.fork_rng():
            ARCH_REGISTRY.get(name)(**options)
    except Exception as error:  # the host's architectures raise nearly anything on options they cannot use
        raise OptionError(block, f"{network['type']}: {error}") from error


def check_pretrained(path: str, file: Path, param_key: str | None) -> None:
    """A file of network weights, read without running anything in it."""
    try:
        read_network(file, param_key)
    except CheckpointError as error:
        raise OptionError(path, f"{file} {error.problem}") from error


def check_folders(path: str, dataset: Options) -> None:
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
