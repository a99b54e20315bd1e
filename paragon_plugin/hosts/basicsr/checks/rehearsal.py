"""One item of each dataset through network, losses and metrics before anything is written.

What the host would only fail on at its first batch or its first validation, hours in, is refused here, and a finished
run of the same name is not moved aside for a run that cannot start. No random state, weight or average changes.
"""

import copy
import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ....errors import OptionError
from ....resilience.random_state import random_state_kept
from ..options.file import Options
from ..options.problems import FirstProblem, Problems
from ..scheduled_model import ScheduledModel

SIDE = 64
"""Low-resolution side of the validation crop that is tried."""

_METRICS = ("calculate_psnr", "calculate_ssim")
"""Metrics that work on a crop; others may need a whole photograph."""


def rehearse(
    options: Options, model: Any, train_loader: Any, val_loaders: Sequence[Any], problems: Problems | None = None
) -> None:
    """Try what training will do; nothing changes.

    Args:
        options: Prepared options.
        model: Built from them.
        train_loader: Over the training set.
        val_loaders: Over the validation sets, in the order of the options.
        problems: Takes what does not fit; by default the first of it is raised.

    Raises:
        OptionError: Without `problems`: something does not fit.
    """
    problems = FirstProblem() if problems is None else problems
    scale = options.get("scale")
    with random_state_kept():
        with problems.collected():
            train = first_item("datasets.train", train_loader.dataset)
            check_pair("datasets.train", train, scale)
            if isinstance(model, ScheduledModel):
                model.rehearse(train, options["datasets"]["train"]["batch_size_per_gpu"])
        for key, loader in zip([k for k in options["datasets"] if k != "train"], val_loaders, strict=True):
            with problems.collected():
                item = first_item(f"datasets.{key}", loader.dataset)
                check_pair(f"datasets.{key}", item, scale)
                metrics = (options.get("val") or {}).get("metrics") or {}
                check_references(f"datasets.{key}", item, metrics)
                if "gt" in item and scale:
                    _try_metrics(metrics, item["gt"][..., : SIDE * scale, : SIDE * scale])


def check_batch_fits(options: Options, images: int) -> None:
    """The images of an epoch fill at least one batch: the host's loader leaves out what does not.

    Raises:
        OptionError: They do not.
    """
    block = options["datasets"]["train"]
    batch = block["batch_size_per_gpu"] * (1 if options["dist"] else max(options["num_gpu"], 1))
    samples = math.ceil(images * block.get("dataset_enlarge_ratio", 1) / options["world_size"])
    if samples < batch:
        parts = " (batch_size_per_gpu x accum_iter)" if "accum_iter" in block else ""
        problem = f"{samples} images per epoch do not fill one batch of {batch}{parts}; raise dataset_enlarge_ratio"
        raise OptionError("datasets.train", problem)


def first_item(path: str, dataset: Any) -> dict[str, Any]:
    if len(dataset) == 0:
        raise OptionError(path, "holds no image")
    try:
        return _untouched(dataset)[0]
    except OptionError:
        raise
    except KeyError as error:
        raise OptionError(path, f"the option {error} is missing") from error
    except Exception as error:  # a dataset of the host raises nearly anything on an image it cannot use
        text = " ".join(str(a) for a in error.args) or type(error).__name__
        raise OptionError(path, f"cannot give its first item ({_source(dataset)}): {text}") from error


def _untouched(dataset: Any) -> Any:
    """A copy to take an item from: with its first one a dataset opens its database, which workers cannot be sent."""
    try:
        return copy.deepcopy(dataset)
    except Exception:  # one that holds what cannot be copied cannot be sent either
        return dataset


def _source(dataset: Any) -> str:
    """Files of the first item, where the dataset tells."""
    paths = getattr(dataset, "paths", None)
    first = paths[0] if paths else None
    return ", ".join(str(value) for value in first.values()) if isinstance(first, dict) else str(first or "no file")


def check_pair(path: str, item: dict[str, Any], scale: Any) -> None:
    if not isinstance(scale, int) or "lq" not in item or "gt" not in item:
        return
    lq, gt = item["lq"].shape[-2:], item["gt"].shape[-2:]
    if (lq[0] * scale, lq[1] * scale) != tuple(gt):
        where = item.get("lq_path", "its first pair")
        raise OptionError(
            path, f"LR images must be 1/{scale} of HR: {where} is {tuple(lq)} for {tuple(gt)} (height, width)"
        )


def check_references(path: str, item: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Metrics that compare with HR images need a set that has them.

    Raises:
        OptionError: It has none.
    """
    from basicsr.utils.registry import METRIC_REGISTRY

    for name, options in metrics.items():
        if "gt" not in item and "img2" in inspect.signature(METRIC_REGISTRY.get(options["type"])).parameters:
            raise OptionError(path, f"has no HR images, which val.metrics.{name} compares with; take a paired data set")


def _try_metrics(metrics: dict[str, Any], gt: Tensor) -> None:
    from basicsr.metrics import calculate_metric
    from basicsr.utils import tensor2img

    image = np.asarray(tensor2img([gt]))
    for name, options in metrics.items():
        if options["type"] not in _METRICS:
            continue
        try:
            value = calculate_metric({"img": image, "img2": 255 - image}, dict(options))
        except Exception as error:
            raise OptionError(f"val.metrics.{name}", str(error)) from error
        if not math.isfinite(value):
            raise OptionError(f"val.metrics.{name}", f"gives {value} on a {image.shape[:2]} image; check crop_border")
