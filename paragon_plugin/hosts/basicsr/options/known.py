"""The known options by block, of BasicSR, of the plugin and of Real-ESRGAN's degradations, with the kind of their
values.

A kind is called with (path, value). It returns the value in the type that the host needs, or raises OptionError. It
has a JSON schema too, which an editor reads.
"""

import ast
import inspect
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....errors import OptionError, home_expanded, shown, whole_number
from ....report.metrics import DIRECTIONS
from .problems import Problems


@dataclass(frozen=True)
class Kind:
    """What kind of value an option takes."""

    check: Callable[[str, Any], Any]
    """Of (path, value): the value as the host wants it; raises OptionError."""
    schema: Mapping[str, Any]
    """What JSON schema can say of it; never refuses what `check` takes."""

    def __call__(self, path: str, value: Any) -> Any:
        return self.check(path, value)


def _kind(**schema: Any) -> Callable[[Callable[[str, Any], Any]], Kind]:
    """Makes a kind of a function of (path, value)."""
    return lambda check: Kind(check, schema)


@_kind()
def anything(_: str, value: Any) -> Any:
    """No check: another check looks at this option, or there is no rule for it."""
    return value


@_kind(type="boolean")
def switch(path: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise OptionError(path, f"must be true or false, is {shown(value)}")
    return value


@_kind(type="string")
def text(path: str, value: Any) -> str:
    if not isinstance(value, str):
        raise OptionError(path, f"must be text, is {shown(value)}")
    return value


@_kind(type="object")
def block(path: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise OptionError(path, f"must be a block of options, is {shown(value)}")
    return value


@_kind(type="string", minLength=1)
def name(path: str, value: Any) -> str:
    """Text that is not empty."""
    if not isinstance(value, str) or not value:
        raise OptionError(path, f"must be a name, is {shown(value)}")
    return value


MAX_PART = 200
"""Bytes of a name that becomes part of a path. File systems take 255, and a date, an ending or an iteration follows."""


METRIC_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": {"type": "string", "examples": ["calculate_psnr", "calculate_ssim", "calculate_niqe"]},
        "better": {"enum": [*DIRECTIONS, None]},
        "crop_border": {"type": "integer", "minimum": 0},
        "test_y_channel": {"type": "boolean"},
    },
}
"""Of the block of one metric; a metric of somebody else may have any option."""


@_kind(type="string", minLength=1, maxLength=MAX_PART)
def path_part(path: str, value: Any) -> str:
    """A name that becomes part of a path: of one folder or file, inside the run's own folder."""
    value = name(path, value)
    try:
        size = len(os.fsencode(value))
    except UnicodeEncodeError:
        raise OptionError(path, f"becomes part of a path, and no file here can be called {shown(value)}") from None
    if size > MAX_PART:
        raise OptionError(path, f"becomes part of a path and may have {MAX_PART} bytes, has {size}: {shown(value)}")
    if Path(value).name != value or value == ".." or not value.isprintable():
        raise OptionError(path, f"becomes part of a path and cannot be {shown(value)}")
    return value


@_kind(type="string")
def file_path(path: str, value: Any) -> str:
    """A path with `~` for the home folder."""
    if not isinstance(value, str) or "\0" in value:
        raise OptionError(path, f"must be a path, is {shown(value)}")
    return home_expanded(path, value)


@_kind(type="object", additionalProperties=METRIC_SCHEMA)
def metrics(path: str, value: Any) -> dict[str, Any]:
    """Metrics by name; the name becomes part of tags and of a picture's file name."""
    for key, metric in block(path, value).items():
        path_part(f"{path}.{key}", key)
        if isinstance(metric, dict) and metric.get("better") is not None:
            choice(*DIRECTIONS)(f"{path}.{key}.better", metric["better"])
    return value


@_kind(anyOf=[{"type": "string"}, {"type": "array", "items": {"type": "string"}}])
def file_paths(path: str, value: Any) -> Any:
    """One path or a list of them."""
    return [file_path(path, one) for one in value] if isinstance(value, list) else file_path(path, value)


def whole(least: int, most: int = 2**31 - 1) -> Kind:
    """A whole number in [least, most]; 5e3 is one."""
    return Kind(
        lambda path, value: whole_number(path, value, least, most),
        {"type": "integer", "minimum": least, "maximum": most},
    )


def number(words: str, low: float, high: float, *, above_low: bool = False, below_high: bool = False) -> Kind:
    """A number in [low, high]; a bound of None is no bound. `words` describes the rule in the message."""

    def check(path: str, value: Any) -> float:
        real = isinstance(value, int | float) and not isinstance(value, bool)
        outside = not real or not low <= value <= high  # nan is outside as well
        if outside or (above_low and value == low) or (below_high and value == high):
            raise OptionError(path, "is missing" if value is None else f"must be a number {words}, is {shown(value)}")
        return value

    schema: dict[str, Any] = {"type": "number"}
    schema["exclusiveMinimum" if above_low else "minimum"] = low
    schema["exclusiveMaximum" if below_high else "maximum"] = high
    return Kind(check, schema)


def choice(*values: str) -> Kind:
    def check(path: str, value: Any) -> str:
        if value not in values:
            raise OptionError(path, f"must be one of {', '.join(values)}; is {shown(value)}")
        return value

    return Kind(check, {"enum": list(values)})


def some_of(*values: str) -> Kind:
    """A list of some of these words. The host draws from the list at random, so it would find a wrong word only when it
    is drawn.
    """

    def check(path: str, value: Any) -> list[str]:
        if not isinstance(value, list) or not value or any(item not in values for item in value):
            raise OptionError(path, f"must be a list of some of {', '.join(values)}; is {shown(value)}")
        return value

    return Kind(check, {"type": "array", "items": {"enum": list(values)}, "minItems": 1})


def numbers(
    count: int | None = None,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    rising: bool = False,
    some: bool = False,
    empty: bool = False,
) -> Kind:
    """A list of finite numbers from `low` to `high`. By arguments: of this length, rising, not all 0, possibly
    empty.
    """
    rule = (
        "a list of" + (f" {count}" if count else "") + " numbers" + (f" of at least {low:g}" if low > -math.inf else "")
    )
    rule += f" and at most {high:g}" if high < math.inf else ""
    rule += ", the smaller first" if rising else ", not all 0" if some else ""

    def check(path: str, value: Any) -> list[float]:
        items = value if isinstance(value, list) else []
        good = (bool(items) or (empty and value == [])) and all(
            isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) and low <= x <= high
            for x in items
        )
        if (
            not good
            or (count and len(items) != count)
            or (rising and items != sorted(items))
            or (some and not any(items))
        ):
            raise OptionError(path, f"must be {rule}, is {shown(value)}")
        return value

    item: dict[str, Any] = {"type": "number"}
    item |= {"minimum": low} if low > -math.inf else {}
    item |= {"maximum": high} if high < math.inf else {}
    schema: dict[str, Any] = {"type": "array", "items": item}
    schema |= {"minItems": count, "maxItems": count} if count else {} if empty else {"minItems": 1}
    return Kind(check, schema)


def or_none(kind: Kind) -> Kind:
    """`~` stands for leaving the option out."""
    return Kind(lambda path, value: None if value is None else kind(path, value), _schema_or_none(kind.schema))


def _schema_or_none(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(schema.get("type"), str):  # a mistake inside is then told where it stands
        return {**schema, "type": [schema["type"], "null"]}
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    return {"anyOf": [schema, {"type": "null"}]} if schema else {}


PROBABILITY = number("from 0 to 1", 0, 1)
POSITIVE_RANGE = numbers(2, low=0, high=1e6, rising=True)
SCALE_RANGE = numbers(2, low=0.01, high=64, rising=True)
"""Of sizes: with 0 nothing is left of an image, and a kernel of width 0 has no values."""
RATE = number("above 0", 0, 1e38, above_low=True)

KERNELS = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")
"""Blur kernels of Real-ESRGAN's degradations."""

DEGRADATIONS: dict[str, Kind] = {
    **{f"resize_prob{n}": numbers(3, low=0, some=True) for n in ("", "2")},
    **{f"resize_range{n}": SCALE_RANGE for n in ("", "2")},
    **{f"gaussian_noise_prob{n}": PROBABILITY for n in ("", "2")},
    **{f"noise_range{n}": POSITIVE_RANGE for n in ("", "2")},
    **{f"poisson_scale_range{n}": POSITIVE_RANGE for n in ("", "2")},
    **{f"gray_noise_prob{n}": PROBABILITY for n in ("", "2")},
    **{f"jpeg_range{n}": numbers(2, low=1, high=100, rising=True) for n in ("", "2")},
    "second_blur_prob": PROBABILITY,
    "gt_size": whole(1),
}
"""What Real-ESRGAN's degradations need at the top of the file."""

TOP: dict[str, Kind] = {
    **dict.fromkeys(("name", "model_type", "scale", "num_gpu", "manual_seed"), anything),
    **dict.fromkeys(("datasets", "path", "train", "val", "logger"), anything),
    "dist_params": or_none(block),
    "find_unused_parameters": or_none(switch),
    **dict.fromkeys(("use_amp", "amp_bf16", "use_channels_last", "use_compile"), anything),  # options/step.py
    **{key: or_none(switch) for key in ("gt_usm", "l1_gt_usm", "percep_gt_usm", "gan_gt_usm")},
    **{key: or_none(kind) for key, kind in DEGRADATIONS.items()},
    "high_order_degradation": or_none(switch),
    "queue_size": whole(1),
}

DATASET: dict[str, Kind] = {
    "name": path_part,
    **dict.fromkeys(("type", "phase", "scale", "accum_iter"), anything),
    **{key: or_none(file_paths) for key in ("dataroot_gt", "dataroot_lq", "dataroot_flow")},
    **{key: or_none(file_path) for key in ("meta_info", "meta_info_file")},
    "io_backend": block,
    "filename_tmpl": text,
    "gt_size": or_none(whole(1)),
    **{key: or_none(switch) for key in ("use_hflip", "use_rot", "pin_memory", "persistent_workers")},
    **{key: or_none(numbers()) for key in ("mean", "std")},
    "color": or_none(text),
    "prefetch_mode": or_none(choice("cpu", "cuda")),
    "num_prefetch_queue": whole(1),
    "max_unreadable": number("from 0 to 1: a share of the images", 0, 1),
    # Real-ESRGAN's blur kernels
    **{f"blur_kernel_size{n}": whole(1) for n in ("", "2")},
    **{f"kernel_list{n}": some_of(*KERNELS) for n in ("", "2")},
    **{f"kernel_prob{n}": numbers(low=0, some=True) for n in ("", "2")},
    **{f"blur_sigma{n}": SCALE_RANGE for n in ("", "2")},
    **{f"betag_range{n}": POSITIVE_RANGE for n in ("", "2")},
    **{f"betap_range{n}": POSITIVE_RANGE for n in ("", "2")},
    **{f"sinc_prob{n}": PROBABILITY for n in ("", "2")},
    "final_sinc_prob": PROBABILITY,
}

TRAIN_DATASET: dict[str, Kind] = {
    **DATASET,
    "batch_size_per_gpu": whole(1),
    "num_worker_per_gpu": whole(0, 1024),
    "dataset_enlarge_ratio": number("above 0, such as 100", 0, 1e6, above_low=True),
}

HR_DATASET: dict[str, Kind] = {
    "images": Kind(anything.check, {"type": ["array", "null"], "items": {"type": "string"}}),
    "exclude": Kind(anything.check, {"type": ["array", "null"], "items": {"type": "string"}}),
    "cache_mb": number("of at least 0", 0, 1e9),
}
"""What our sets of HR images alone take besides; they check it themselves."""

_BLUR = ("blur_kernel_size", "kernel_list", "kernel_prob", "blur_sigma", "betag_range", "betap_range", "sinc_prob")
_DEGRADATIONS = (*(f"{key}{n}" for n in ("", "2") for key in _BLUR), "final_sinc_prob", "use_hflip", "use_rot")
NEEDED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("PairedImageDataset", "RealESRGANPairedDataset"), ("dataroot_gt", "dataroot_lq", "io_backend")),
    "SingleImageDataset": ("dataroot_lq", "io_backend"),
    "RealESRGANDataset": ("dataroot_gt", "io_backend", *_DEGRADATIONS),
    "HRDegradationDataset": ("dataroot_gt", *_DEGRADATIONS),
}
"""Options that the host's datasets cannot do without, by type."""
NEEDED_TO_TRAIN: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("PairedImageDataset", "RealESRGANPairedDataset"), ("gt_size", "use_hflip", "use_rot")
)

PATH: dict[str, Kind] = {
    **{f"pretrain_network_{net}": or_none(file_path) for net in ("g", "d")},
    **{f"param_key_{net}": or_none(text) for net in ("g", "d")},
    **{f"strict_load_{net}": or_none(switch) for net in ("g", "d")},
    "resume_state": or_none(file_path),
    "ignore_resume_networks": anything,
    **dict.fromkeys(
        ("experiments_root", "models", "training_states", "log", "visualization", "results_root"), anything
    ),
}

TRAIN: dict[str, Kind] = {
    **dict.fromkeys(("optim_g", "scheduler", "losses", "dynamic_loss_scheduling", "grad_clip"), anything),
    "learnable_kernel_lr_factor": anything,
    **dict.fromkeys(("pixel_opt", "perceptual_opt", "gan_opt", "ldl_opt", "feature_matching_opt"), anything),
    "optim_d": anything,
    "total_iter": whole(1),
    "warmup_iter": number("or -1 for none", -1, 2**31),
    "ema_decay": number("below 1", 0, 1, below_high=True),
    "net_d_iters": whole(1),
    "net_d_init_iters": whole(0),
}

METRIC = ("type", "better")
"""Options of a metric that are not its function's."""

VAL: dict[str, Kind] = {
    "val_freq": whole(1),
    "save_img": or_none(switch),
    "pbar": or_none(switch),
    "suffix": or_none(path_part),
    "metrics": or_none(metrics),
}

LOGGER: dict[str, Kind] = {
    "print_freq": whole(1),
    "save_checkpoint_freq": whole(1),
    "use_tb_logger": or_none(switch),
    "keep_last": or_none(whole(1)),
    "wandb": or_none(block),
}

WANDB: dict[str, Kind] = {"project": or_none(text), "resume_id": or_none(text)}
DIST: dict[str, Kind] = {"backend": or_none(text), "port": or_none(whole(1))}

SCHEDULERS: dict[str, dict[str, Kind]] = {
    "MultiStepLR": {
        "milestones": numbers(low=0, empty=True),
        "gamma": number("of at least 0", 0, 1e38),
        "restarts": numbers(low=0),
        "restart_weights": numbers(low=0),
    },
    "CosineAnnealingRestartLR": {
        "periods": numbers(low=1),
        "restart_weights": numbers(low=0),
        "eta_min": number("of at least 0", 0, 1e38),
    },
}
SCHEDULERS["MultiStepRestartLR"] = SCHEDULERS["MultiStepLR"]
"""The host's learning-rate schedulers and their options."""


def take_types(path: str, block: dict[str, Any], table: dict[str, Kind], problems: Problems) -> None:
    """Check the known options of a block and put values of the host's types in their place; refused ones go.

    Args:
        path: The block's path with a dot at its end, empty for the top of the file.
        block: Changed in place.
        table: Kinds by option.
        problems: Takes what is wrong.
    """
    for key in [key for key in block if key in table]:
        try:
            block[key] = table[key](f"{path}{key}", block[key])
        except OptionError as error:
            del block[key]
            problems.error(error.path, error.problem)


def words_in(classes: Iterable[type]) -> set[str]:
    """Every text constant in the modules of these classes and of their bases: the options that they may read.

    A class that a plugin registers reads options of its own, which are in no table here.
    """
    modules = {inspect.getmodule(base) for cls in classes for base in cls.__mro__}
    found: set[str] = set()
    for module in modules:
        if module is None or module.__name__.partition(".")[0] in ("builtins", "torch", "abc", "typing"):
            continue
        try:
            tree = ast.parse(inspect.getsource(module))
        except (OSError, TypeError, SyntaxError):
            continue
        nodes = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
        found |= {value for value in nodes if isinstance(value, str) and value.isidentifier()}
    return found
