"""Refuses options that the host would fail on later with a traceback: unknown names, missing folders, missing keys.

Nothing is written and no random state is used. Each check has one subject and gives its problems to a collector. A run
raises the first error. `paragon check` shows all errors.
"""

import importlib.util
import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from ....errors import OptionError, shown, suggestion
from ..options import known
from ..options.file import Options
from ..options.optimizers import optimizers
from ..options.problems import FirstProblem, Problems
from ..options.scheduling_block import BLOCK, scheduling_of
from ..options.step import parse_step_options
from .learning_rate import check_what_cannot_act
from .registered import check_known, check_network, model_class, scheduled_model_class
from .unknown_options import check_unknown_options

OURS_FOR = {
    "SRModel": "ParagonSRModel",
    "SwinIRModel": "ParagonSRModel",
    "SRGANModel": "ParagonGANModel",
    "ESRGANModel": "ParagonESRGANModel",
    "RealESRNetModel": "ParagonRealESRNetModel",
    "RealESRGANModel": "ParagonRealESRGANModel",
}
"""Which of our models takes the options of which of the host's."""

Check = Callable[[Options, Problems], None]


def check_training_options(options: Options, problems: Problems | None = None) -> None:
    """Check prepared options of a training run.

    Args:
        options: Of `options.file.load_options`.
        problems: Takes what is wrong; by default the first of it is raised.

    Raises:
        OptionError: Without `problems`: the first thing that cannot work.
    """
    problems = FirstProblem() if problems is None else problems
    for check in CHECKS:
        check(options, problems)


def _model(options: Options, problems: Problems) -> None:
    from basicsr.utils.registry import MODEL_REGISTRY

    if options["model_type"] is not None:
        with problems.collected():
            check_known("model_type", options["model_type"], MODEL_REGISTRY)


def _networks(options: Options, problems: Problems) -> None:
    for block in [key for key in options if key.startswith("network_")]:
        with problems.collected():
            check_network(block, options[block])


def _datasets(options: Options, problems: Problems) -> None:
    from basicsr.utils.registry import DATASET_REGISTRY

    for key, dataset in options["datasets"].items():
        path = f"datasets.{key}"
        if dataset["phase"] not in ("train", "val") or (dataset["phase"] == "train") != (key == "train"):
            problems.error(path, "must be called train, val or val_<something>")
            continue
        with problems.collected():
            check_known(f"{path}.type", dataset.get("type"), DATASET_REGISTRY)
        for error in folder_errors(path, dataset):
            problems.error(error.path, error.problem)
        _required(f"{path}.", dataset, ("name", *_needs(dataset)), problems)
        if (dataset.get("mean") is None) != (dataset.get("std") is None):
            problems.error(f"{path}.mean", "goes with std; give both or neither")
        for n in ("", "2"):
            kernels, chances = dataset.get(f"kernel_list{n}"), dataset.get(f"kernel_prob{n}")
            if kernels and chances and len(kernels) != len(chances):
                counts = f"{len(chances)}, {len(kernels)}"
                problems.error(f"{path}.kernel_prob{n}", f"must be as many as kernel_list{n}: {counts}")
        if dataset.get("persistent_workers") and dataset.get("num_worker_per_gpu", 1 if key == "train" else 0) == 0:
            problems.error(f"{path}.persistent_workers", "needs workers: num_worker_per_gpu is 0")
    train, scale = options["datasets"].get("train"), options.get("scale")
    if train is None:
        problems.error("datasets", "has no block 'train'")
        train = {}
    for path, size in (("datasets.train.gt_size", train.get("gt_size")), ("gt_size", options.get("gt_size"))):
        if size is not None and scale and size % scale:
            problems.error(path, f"must be a multiple of scale {scale}, is {size}")
    check_set_names(options, problems)


def check_set_names(options: Options, problems: Problems) -> None:
    """No two validation or test sets share a name, also where a file system does not tell case apart."""
    names = [d["name"] for d in options["datasets"].values() if d["phase"] != "train" and "name" in d]
    folded = [name.casefold() for name in names]
    for name in dict.fromkeys(name for name in names if folded.count(name.casefold()) > 1):
        problems.error("datasets", f"two validation sets are called '{name}'; their results would mix")


def _needs(dataset: Options) -> tuple[str, ...]:
    """Options without which a data set cannot be built or cannot give an item."""
    kind = str(dataset.get("type")).removesuffix("_basicsr")
    if dataset["phase"] != "train":
        return known.NEEDED.get(kind, ())
    return (
        "batch_size_per_gpu",
        "num_worker_per_gpu",
        *known.NEEDED.get(kind, ()),
        *known.NEEDED_TO_TRAIN.get(kind, ()),
    )


def _required(path: str, block: Options, keys: Iterable[str], problems: Problems) -> None:
    """An option that was refused is gone as well, and has been told of."""
    told = {problem.path for problem in problems.found}
    for key in keys:
        if key not in block and f"{path}{key}" not in told:
            problems.error(f"{path}{key}", "is missing")


def _validation(options: Options, problems: Problems) -> None:
    val = options.get("val") or {}
    check_metrics(val.get("metrics") or {}, problems)
    told = problems.told_of("datasets")
    if val and not told and not any(dataset["phase"] == "val" for dataset in options["datasets"].values()):
        problems.warn("val", "there is no validation set (datasets: val: ...); nothing will be validated")


def _optimizers(options: Options, problems: Problems) -> None:
    train = options["train"]
    _required("train.", train, ("total_iter",), problems)
    known_types = optimizers()
    for key in ("optim_g", *(["optim_d"] if "network_d" in options else [])):
        block, path = train.get(key), f"train.{key}"
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            problems.error(path, f"must be a block with 'type: ...', is {shown(block)}")
            continue
        if block["type"] not in known_types:
            if scheduled_model_class(options):  # ours take any of them, the host's have their own say
                near = suggestion(block["type"], known_types)
                problems.error(f"{path}.type", f"no optimizer '{block['type']}'{near}")
            continue
        arguments = set(inspect.signature(known_types[block["type"]]).parameters) - {"params"}
        for name in [name for name in block if name not in arguments | {"type"}]:
            problems.error(f"{path}.{name}", f"unknown option of {block['type']}{suggestion(str(name), arguments)}")
        with problems.collected():
            known.RATE(f"{path}.lr", block.get("lr"))
            if set(block) <= arguments | {"type"}:
                _try_optimizer(path, known_types[block["type"]], block)


def _try_optimizer(path: str, optimizer: Callable[..., Any], block: Options) -> None:
    """Build it for one number and throw it away."""
    options = {key: value for key, value in block.items() if key != "type"}
    try:
        optimizer([torch.nn.Parameter(torch.zeros(1, 1))], **options)
    except Exception as error:  # they raise nearly anything on options they cannot use
        raise OptionError(path, f"{block['type']}: {error}") from error


def _learning_rate(options: Options, problems: Problems) -> None:
    """The host's schedulers; a model of another plugin may have its own."""
    from basicsr.models.base_model import BaseModel

    block = options["train"].get("scheduler")
    if not isinstance(block, dict) or not isinstance(block.get("type"), str):
        problems.error("train.scheduler", f"must be a block with 'type: ...', is {shown(block)}")
        return
    model = model_class(options)
    if model is not None and getattr(model, "setup_schedulers", None) is not BaseModel.setup_schedulers:
        return
    table = known.SCHEDULERS.get(block["type"])
    if table is None:
        near = suggestion(block["type"], known.SCHEDULERS)
        problems.error("train.scheduler.type", f"no learning-rate scheduler '{block['type']}'{near}")
        return
    for name in [name for name in block if name not in {*table, "type"}]:
        problems.error(f"train.scheduler.{name}", f"unknown option of {block['type']}{suggestion(str(name), table)}")
    known.take_types("train.scheduler.", block, table, problems)
    _required("train.scheduler.", block, ["periods"] if "periods" in table else ["milestones"], problems)
    length = "periods" if "periods" in table else "restarts"
    parts, weights = block.get(length), block.get("restart_weights", [1])
    if parts is not None and len(parts) != len(weights):
        problems.error(f"train.scheduler.{length}", f"must be as many as restart_weights: {len(parts)}, {len(weights)}")
    total = options["train"].get("total_iter")
    if length == "periods" and parts and total and sum(parts) < total - 1:
        problems.error(
            "train.scheduler.periods",
            f"end at iteration {sum(parts):g}, before total_iter {total}: BasicSR has no learning rate after that",
        )


def _schedule(options: Options, problems: Problems) -> None:
    """The options of a training step, and a model that would ignore them and the block."""
    train = options["train"]
    if model_class(options) is None:
        return
    if scheduled_model_class(options):
        with problems.collected():
            parse_step_options(options, gpu=options["num_gpu"] > 0)
        return
    model_type = options["model_type"]
    for_ours = OURS_FOR.get(model_type, "")
    use = f"; use 'model_type: {for_ours}'" if for_ours else f"; there is one that does only for {', '.join(OURS_FOR)}"
    if scheduling_of(options).enabled or train.get("losses"):
        problems.error("model_type", f"{model_type} knows neither 'losses' nor 'dynamic_loss_scheduling'{use}")
    for path, where, key in (
        *(("", options, key) for key in ("use_amp", "use_channels_last", "use_compile")),
        ("datasets.train.", options["datasets"].get("train") or {}, "accum_iter"),
        ("train.", train, "grad_clip"),
    ):
        if where.get(key) not in (None, False):
            problems.error(f"{path}{key}", f"{model_type} does not know it{use}")


def _negative_weights(options: Options, problems: Problems) -> None:
    """A loss that is to become larger: it is the host's right to take it, and mostly a slip."""
    train = options["train"]
    listed = train.get("losses") if isinstance(train.get("losses"), list) else []
    blocks = [(f"train.losses[{i}]", block) for i, block in enumerate(listed or [])]
    blocks += [(f"train.{key}", block) for key, block in train.items() if key.endswith("_opt")]
    weights = [(f"{path}.loss_weight", block.get("loss_weight")) for path, block in blocks if isinstance(block, dict)]
    weights += [(f"{BLOCK}.manual_weights.{name}", w) for name, w in scheduling_of(options).manual_weights.items()]
    for path, weight in weights:
        if isinstance(weight, int | float) and weight < 0:
            problems.warn(path, f"is {weight:g}: below 0, training goes away from this loss's target")


def _late_losses(options: Options, problems: Problems) -> None:
    """A schedule that cannot act before the run ends."""
    train = options["train"]
    total = train.get("total_iter")
    if total is None:
        return
    listed = train.get("losses") if isinstance(train.get("losses"), list) else []
    blocks = [(f"train.losses[{i}]", block) for i, block in enumerate(listed or [])]
    blocks += [(f"train.{key}", block) for key, block in train.items() if key.endswith("_opt")]
    for path, block in blocks:
        start = block.get("start_iter") if isinstance(block, dict) else None
        if isinstance(start, int | float) and start > total:
            problems.error(
                f"{path}.start_iter", f"is {start:g}, but training ends at total_iter {total}: it never acts"
            )
    schedule = scheduling_of(options)
    window = schedule.baseline_iterations
    if schedule.enabled and window is not None and window >= total:
        path = f"{BLOCK}.baseline_iterations"
        problems.error(path, f"is {window}, but training ends at total_iter {total}: the scheduler never acts")


def _degradations(options: Options, problems: Problems) -> None:
    """What Real-ESRGAN's models read at the top of the file."""
    model = scheduled_model_class(options)
    if model is not None:
        told = {problem.path for problem in problems.found}
        for key in model.needed_options(options):
            if options.get(key) is None and key not in told:
                problems.error(key, "is missing: an option of Real-ESRGAN's degradations, at the file's top level")


def _logger(options: Options, problems: Problems) -> None:
    wandb = options["logger"].get("wandb")
    if wandb is None:
        return
    known.take_types("logger.wandb.", wandb, known.WANDB, problems)
    if not wandb.get("project"):
        return
    if importlib.util.find_spec("wandb") is None:
        problems.error("logger.wandb.project", "needs the package wandb: pip install wandb, or write 'project: ~'")
    if not options["logger"].get("use_tb_logger"):
        problems.error("logger.use_tb_logger", "must be true for wandb, which copies what goes to TensorBoard")


def _images(options: Options, problems: Problems) -> None:
    from .images import check_images  # not before the host is repaired: it imports the host

    check_images(options, problems)


CHECKS: tuple[Check, ...] = (
    _model,
    _networks,
    _datasets,
    _validation,
    _optimizers,
    _learning_rate,
    check_what_cannot_act,
    check_unknown_options,
    _schedule,
    _negative_weights,
    _late_losses,
    _degradations,
    _logger,
    _images,
)


def check_metrics(metrics: dict[str, Any], problems: Problems) -> None:
    """Each of `val.metrics` is a block that names a registered metric."""
    from basicsr.utils.registry import METRIC_REGISTRY

    for name, metric in metrics.items():
        if not isinstance(metric, dict):
            problems.error(f"val.metrics.{name}", f"must be a block with 'type: ...', is {shown(metric)}")
            continue
        with problems.collected():
            check_known(f"val.metrics.{name}.type", metric.get("type"), METRIC_REGISTRY)


def _of_folders(dataset: Options) -> bool:
    """Whether it is one of the host's sets that take one folder each for HR and LR."""
    return str(dataset.get("type")).removesuffix("_basicsr") in known.NEEDED


def check_folders(path: str, dataset: Options) -> None:
    """Raise the first of `folder_errors`."""
    for error in folder_errors(path, dataset):
        raise error


def folder_errors(path: str, dataset: Options) -> Iterator[OptionError]:
    """Folders and lists of a data set that are not there."""
    for key, value in dataset.items():
        if not key.startswith("dataroot") or value is None:
            continue
        for root in value if isinstance(value, list) and not _of_folders(dataset) else [value]:
            if not isinstance(root, str):
                yield OptionError(f"{path}.{key}", f"must be a folder's path, is {shown(root)}")
            elif not os.path.exists(root):
                yield OptionError(f"{path}.{key}", f"the folder {root} does not exist")
            elif not os.path.isdir(root) and _of_folders(dataset):
                yield OptionError(f"{path}.{key}", f"{root} is not a folder")
            elif os.path.isdir(root) and not any(Path(root).iterdir()):
                yield OptionError(f"{path}.{key}", f"the folder {root} is empty")
    for key in ("meta_info_file", "meta_info"):
        meta = dataset.get(key)
        if meta is not None and not (isinstance(meta, str) and os.path.isfile(meta)):
            yield OptionError(f"{path}.{key}", f"{meta} does not exist")
