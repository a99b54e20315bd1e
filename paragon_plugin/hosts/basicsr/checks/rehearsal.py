"""Does once, on the real objects and before anything is written, what training will do.

Two optimizer steps are made with everything, on the first images of the training set. Two images of each validation
set, among them the smallest, go through the network and every metric. The host would fail on some of this only at its
first batch, or at its first validation after hours. Here it is refused. A finished run of the same name is not moved
aside for a run that cannot start.

Afterwards random states, networks and optimizers are as before.
"""

import contextlib
import copy
import inspect
import io
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, default_collate

from ....errors import OptionError, RunError
from ....resilience.dataset_wrapper import DatasetWrapper
from ....resilience.model_state import model_state_kept
from ....resilience.random_state import random_state_kept
from ..data.image_size import image_size
from ..options.file import Options
from ..options.problems import FirstProblem, Problems
from ..scheduled_model import ScheduledModel
from .host_refusals import host_refusals

MOST_STEPS = 5
RUNAWAY = 10.0
"""Training is tried for two steps, and for as many as five while a loss is so many times what it was at first."""
MOST_TRIED = 8
"""Sizes of a validation set that are tried, where one after the other cannot be validated."""


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
    with random_state_kept():
        with problems.collected(), model_state_kept(model):
            _rehearse_training(options, model, train_loader.dataset)
        for key, loader in zip([k for k in options["datasets"] if k != "train"], val_loaders, strict=True):
            with problems.collected(), model_state_kept(model):
                rehearse_validation(f"datasets.{key}", loader.dataset, model, options)


def check_batch_fits(options: Options, images: int) -> None:
    """Check that the images of an epoch fill at least one batch. The host's loader drops an incomplete batch.

    Raises:
        OptionError: They do not fill a batch.
    """
    block = options["datasets"]["train"]
    batch = _batch_size(options)
    samples = math.ceil(images * block.get("dataset_enlarge_ratio", 1) / options["world_size"])
    if images and samples < batch:
        parts = " (batch_size_per_gpu x accum_iter)" if "accum_iter" in block else ""
        problem = f"{samples} images per epoch do not fill one batch of {batch}{parts}; raise dataset_enlarge_ratio"
        raise OptionError("datasets.train", problem)


def _batch_size(options: Options) -> int:
    """Images that a process takes for one step."""
    return options["datasets"]["train"]["batch_size_per_gpu"] * (1 if options["dist"] else max(options["num_gpu"], 1))


# -- training ----------------------------------------------------------------------------------------------------------


def _rehearse_training(options: Options, model: Any, dataset: Any) -> None:
    """A whole batch, of two images: its memory and its normalisation are those of any other."""
    images = _untouched(dataset)
    items = [_item("datasets.train", images, index) for index in range(min(2, len(images)) or 1)]
    check_pair("datasets.train", items[0], options.get("scale"))
    size = _batch_size(options)
    with host_refusals("datasets.train"):
        batch = default_collate([items[place % len(items)] for place in range(size)])
    warm_up = options["train"].get("warmup_iter", -1)
    first: Mapping[str, float] = {}
    for number in range(1, MOST_STEPS + 1):
        model.update_learning_rate(number, warmup_iter=warm_up)
        with _told_after(number - 1, model):
            values = _step(options, model, batch)
        first = first or values
        if number > 1 and not any(abs(value) > RUNAWAY * abs(first.get(name, value)) for name, value in values.items()):
            return


def _step(options: Options, model: Any, batch: Any) -> Mapping[str, float]:
    """One step of everything; the value of each loss."""
    if isinstance(model, ScheduledModel):
        return model.rehearse(batch)
    train = options["train"]
    every, after = int(train.get("net_d_iters") or 1), int(train.get("net_d_init_iters") or 0)
    with host_refusals(f"model_type {options['model_type']}"):
        model.feed_data(batch)
        model.optimize_parameters((after // every + 1) * every)  # the turn of all its networks
    values: Mapping[str, float] = model.get_current_log()
    for name, value in values.items():
        if not math.isfinite(value):
            raise OptionError("train", f"{name} is {value:g} on the first images; look at its options and weight")
    for name, part in vars(model).items():
        for weight in part.parameters() if isinstance(part, torch.nn.Module) else ():
            if not bool(torch.isfinite(weight).all()):
                raise OptionError("train", f"after one step {name} holds NaN or infinity")
    return values


@contextlib.contextmanager
def _told_after(steps: int, model: Any) -> Iterator[None]:
    """What fails only after steps went well is the fault of the steps."""
    try:
        yield
    except OptionError as error:
        if steps == 0:
            raise
        rates = ", ".join(f"{rate:.3g}" for rate in model.get_current_learning_rate())
        after = f"{steps} step{'s' * (steps > 1)} with a learning rate of {rates}"
        problem = f"is ruined after {after} ({error}); lower the rate, or the weights of the losses"
        raise OptionError("train", problem) from error


def first_item(path: str, dataset: Any) -> dict[str, Any]:
    """The first item of a data set.

    Raises:
        OptionError: It has none, or cannot give it.
    """
    return _item(path, _untouched(dataset), 0)


def _item(path: str, dataset: Any, index: int) -> dict[str, Any]:
    if len(dataset) == 0:
        raise OptionError(path, "holds no image")
    try:
        return dataset[index]
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
    """Raise OptionError where LR is not 1/scale of HR."""
    if not isinstance(scale, int) or "lq" not in item or "gt" not in item:
        return
    lq, gt = item["lq"].shape[-2:], item["gt"].shape[-2:]
    if (lq[0] * scale, lq[1] * scale) != tuple(gt):
        where = item.get("lq_path", "its first pair")
        raise OptionError(
            path, f"LR images must be 1/{scale} of HR: {where} is {tuple(lq)} for {tuple(gt)} (height, width)"
        )


# -- validation --------------------------------------------------------------------------------------------------------


def rehearse_validation(path: str, dataset: Any, model: Any, options: Options) -> None:
    """The smallest image of a set and one more through network and every metric. The model is to be kept outside.

    Where the smallest one fails, larger ones are tried until one passes, so that all that cannot be validated are
    named.

    Args:
        path: Of the set in the option file.
        dataset: The set.
        model: The model that will validate.
        options: Prepared options.

    Raises:
        OptionError: Images cannot be validated.
    """
    item = first_item(path, dataset)
    check_pair(path, item, options.get("scale"))
    metrics = (options.get("val") or {}).get("metrics") or {}
    check_references(path, item, metrics)
    if not options.get("val") or hasattr(dataset, "folders"):  # of videos: its items make no sense alone
        return
    images = _by_size(_untouched(dataset))
    failed: list[_Image] = []
    problem: OptionError | None = None
    for image in images:
        if failed and image.size is not None and image.size == failed[-1].size:
            failed.append(image)
            continue
        found = _problem(path, image, model, options)
        if found is None:
            break
        problem = problem or found
        failed.append(image)
        if len({one.size for one in failed}) >= MOST_TRIED:
            break
    if not failed and len(images) > 1:
        image = images[len(images) // 2]
        problem = _problem(path, image, model, options)
        failed = [image] if problem else []
    if problem is not None:
        rest = f" Nor can {len(failed) - 1} more: {_names(failed[1:])}." if len(failed) > 1 else ""
        raise OptionError(problem.path, f"{problem.problem.rstrip('.')}.{rest}" if rest else problem.problem)


class _Image(DatasetWrapper):
    """One image of a validation set, as a data set."""

    def __init__(self, dataset: Any, index: int, name: str, size: tuple[int, int] | None):
        super().__init__(dataset)
        self.index, self.name, self.size = index, name, size

    def __len__(self) -> int:
        return 1

    def __getitem__(self, _: int) -> Any:
        return self.dataset[self.index]

    def __str__(self) -> str:
        return f"{self.name} ({self.size[0]} x {self.size[1]})" if self.size is not None else self.name


def _by_size(dataset: Any) -> list[_Image]:
    """The images, the smallest first, by their headers; as they stand where their files are not told."""
    images: list[_Image] = []
    files_of = getattr(dataset, "files", lambda _: [])
    for index in range(len(dataset)):
        size, files = None, files_of(index)
        for file in files:
            with contextlib.suppress(Exception):  # a file that cannot be read is told of by name elsewhere
                found = image_size(file)
                size = found if size is None or (found is not None and min(found) < min(size)) else size
        images.append(_Image(dataset, index, Path(files[0]).name if files else f"image {index}", size))
    return sorted(images, key=lambda image: (min(image.size), max(image.size)) if image.size is not None else (0, 0))


def _problem(path: str, image: _Image, model: Any, options: Options) -> OptionError | None:
    """What keeps an image from being validated: the network, or the first metric that fails on it."""
    metrics = options["val"].get("metrics")
    text = _failure(image, model, metrics)
    if text is None:
        return None
    if _failure(image, model, None) is not None or not metrics:
        return OptionError(path, f"{image} cannot be validated: {text}")
    for name, block in metrics.items():
        alone = _failure(image, model, {name: block})
        if alone is not None:
            return OptionError(f"val.metrics.{name}", f"cannot measure {image} of {path}: {alone}")
    return OptionError("val.metrics", f"cannot measure {image} of {path}: {text}")


def _failure(image: _Image, model: Any, metrics: Mapping[str, Any] | None) -> str | None:
    """Why a model cannot validate an image with some metrics, in words; None where it can."""
    for results in ("metric_results", "best_metric_results"):
        vars(model).pop(results, None)
    block = model.opt["val"]
    model.opt["val"] = {**block, "metrics": metrics, "pbar": False}
    try:
        with _quiet(), host_refusals(""):
            model.validation(DataLoader(image), None, None, save_img=False)
    except (OptionError, RunError) as error:
        return str(error)
    finally:
        model.opt["val"] = block
    values: Mapping[str, float] = getattr(model, "metric_results", {})
    bad = [f"{name} gives {value}" for name, value in values.items() if math.isnan(value)]
    return f"{bad[0]}; leave the image out, or look at the metric's options (crop_border)" if bad else None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The host logs each validation."""
    logger = logging.getLogger("basicsr")
    before, logger.disabled = logger.disabled, True
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.disabled = before


def _names(images: Sequence[_Image], shown: int = 5) -> str:
    return ", ".join(map(str, images[:shown])) + (", ..." if len(images) > shown else "")


def check_references(path: str, item: dict[str, Any], metrics: dict[str, Any]) -> None:
    """Metrics that compare with HR images need a set that has them.

    Raises:
        OptionError: It has none.
    """
    from basicsr.utils.registry import METRIC_REGISTRY

    for name, options in metrics.items():
        if "gt" not in item and "img2" in inspect.signature(METRIC_REGISTRY.get(options["type"])).parameters:
            raise OptionError(path, f"has no HR images, which val.metrics.{name} compares with; take a paired data set")
