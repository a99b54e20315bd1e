"""One pass over a validation set: each image goes through the network and every metric, and is written if asked for.

It replaces the host's pass in all models that use `SRModel`'s: in the stock loop, in our loop and in tests.
"""

import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ....report.metrics import finite_mean, is_best, metric_text
from ..options.known import MAX_PART
from ..options.metrics import measured


def validate_images(model: Any, loader: Any, iteration: int | str, tb_logger: Any, save_img: bool) -> None:
    """What the host's `SRModel.nondist_validation` does, with these differences.

    A metric that is NaN or infinite on an image is left out of the mean and named, once for each image. Such a mean is
    never the best. Each set has a folder of its own for its images, and no two images of a set share a file. Any file
    name will do.

    Leaves `metric_results` ({metric: mean}) and `best_metric_results` on the model, as the host does, and on the
    dataset `labels` ({`lq_path`: name of the image's files}).

    Args:
        model: A model of the host with `feed_data`, `test` and `get_current_visuals`.
        loader: Validation loader, one image a batch.
        iteration: Where training is; in a test the name of the run.
        tb_logger: TensorBoard's writer or None.
        save_img: Whether to write the images.
    """
    dataset, options = loader.dataset, model.opt["val"]
    name, metrics = dataset.opt["name"], options.get("metrics") or {}
    values: dict[str, list[float]] = {metric: [] for metric in metrics}
    labels: dict[str, str] = {}
    with tqdm(total=len(loader), unit="image", disable=not options.get("pbar")) as bar:
        for batch in loader:
            label = labels[batch["lq_path"][0]] = _label(batch["lq_path"][0], labels)
            model.feed_data(batch)
            model.test()
            images = _images(model)
            if save_img:
                write_image(images["img"], _file(model.opt, name, label, iteration))
            for metric, block in metrics.items():
                values[metric].append(measured(images, block))
            bar.update()
    dataset.labels = labels
    model.metric_results = {metric: finite_mean(found) for metric, found in values.items()}
    if metrics:
        _name_left_out(model, name, list(labels.values()), values, iteration)
        model._initialize_best_metric_results(name)
        for metric, value in model.metric_results.items():
            best = model.best_metric_results[name][metric]
            if is_best(value, best["val"], best["better"]):
                best |= {"val": value, "iter": iteration}
        model._log_validation_metric_values(iteration, name, tb_logger)


def _images(model: Any) -> dict[str, NDArray[np.uint8]]:
    """The network's image and, where there is one, the original, as 8-bit BGR; the tensors are let go."""
    from basicsr.utils import tensor2img

    visuals = model.get_current_visuals()
    names = {"img": "result", "img2": "gt"}
    images = {name: np.asarray(tensor2img([visuals[key]])) for name, key in names.items() if key in visuals}
    for attribute in ("gt", "lq", "output"):
        if hasattr(model, attribute):
            delattr(model, attribute)
    torch.cuda.empty_cache()  # as the host does: images differ in size
    return images


def _label(path: str, taken: Mapping[str, str]) -> str:
    """What an image's files are called: its own name without the ending, and a number where that is taken."""
    stem = os.fsdecode(os.fsencode(Path(path).stem)[:MAX_PART])
    label, number, used = stem, 1, set(taken.values())
    while label in used:
        number += 1
        label = f"{stem}_{number}"
    return label


def _file(options: Mapping[str, Any], dataset: str, label: str, iteration: int | str) -> Path:
    folder = Path(options["path"]["visualization"]) / dataset
    if options["is_train"]:
        return folder / label / f"{label}_{iteration}.png"
    ending = options["val"].get("suffix") or options["name"]
    room = 255 - len(os.fsencode(f"_{ending}.png"))
    return folder / f"{os.fsdecode(os.fsencode(label)[:room])}_{ending}.png"


def write_image(image: NDArray[np.uint8], path: Path) -> None:
    """Write a PNG file. OpenCV does not get the name of the file, because it fails on a name that is not UTF-8.

    Args:
        image: 8-bit BGR (H, W, 3) or grey (H, W).
        path: The file; its folder is made if it is missing.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", image)
    if not done:
        raise OSError(f"{path}: an image of shape {image.shape} cannot be written as PNG")
    path.write_bytes(data.tobytes())


def _name_left_out(
    model: Any, dataset: str, labels: list[str], values: Mapping[str, list[float]], iteration: int | str
) -> None:
    """A warning for each metric that newly is no finite number on some image."""
    told: set[tuple[str, str, str]] = model.__dict__.setdefault("_left_out_of_means", set())
    for metric, found in values.items():
        odd = [(label, value) for label, value in zip(labels, found, strict=True) if not math.isfinite(value)]
        new = [(label, value) for label, value in odd if (dataset, metric, label) not in told]
        told |= {(dataset, metric, label) for label, _ in new}
        if new:
            names = ", ".join(f"{label} ({metric_text(value)})" for label, value in new[:5])
            names += f" and {len(new) - 5} more" if len(new) > 5 else ""
            logging.getLogger("basicsr").warning(
                f"Validation {dataset}, iteration {iteration}: {metric} is no finite number on {names}; left out of "
                f"the mean of {len(labels)} images"
            )
