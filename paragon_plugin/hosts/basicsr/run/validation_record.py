"""Keeps what a report needs of the validation set and what a run would not leave behind otherwise.

It is written once for each run and validation set, at the first validation: the metrics of classical upscalers over the
whole set, and the same small crop of LR, bicubic and HR of a few images. The end of a run needs these metrics anyhow.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from basicsr.utils import tensor2img
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from ....report.references import FILE_NAME, FOLDER, CropPlace, SetRecord, read_records, write_records
from .reference_upscalers import bicubic, reference_metrics
from .validation_pass import write_image

CROPS = 4
CROP_SIDE = 128


def recorded_references(
    folder: str | Path, loader: DataLoader[Any], wanted: Mapping[str, Mapping[str, Any]], scale: int
) -> dict[str, dict[str, float]]:
    """`reference_metrics` of a validation set, computed once for each run and written to `report/` with crops.

    It draws no random numbers, so training is not changed. If the folder cannot be written, the report lacks these
    pictures, and the run goes on.

    Args:
        folder: The experiment's folder.
        loader: Validation loader of the host; `loader.dataset.opt` has the set's name.
        wanted: The option file's `val: metrics:`.
        scale: Upscaling factor.

    Returns:
        {upscaler: {metric: mean}}, as `reference_metrics`.
    """
    dataset: Any = loader.dataset
    name, images = str(dataset.opt["name"]), len(dataset)
    path = Path(folder) / FOLDER / FILE_NAME
    known = read_records(path)
    if (old := known.get(name)) and (old.images, old.scale, old.wanted) == (images, scale, _plain(wanted)):
        return old.metrics
    with torch.random.fork_rng(devices=[]):
        metrics = reference_metrics(loader, wanted, scale)
    try:
        crops = list(_write_crops(path.parent / name, dataset, scale)) if scale > 1 else []
        record = SetRecord(images, scale, _plain(wanted), metrics, crops)
        write_records(path, known | {name: record})
    except OSError as error:
        logging.getLogger("basicsr").warning(f"The report will lack its references: {error}")
    return metrics


def _plain(value: Any) -> Any:
    """A value as JSON gives it back."""
    return json.loads(json.dumps(value, default=str))


def _write_crops(folder: Path, dataset: Any, scale: int) -> Iterator[CropPlace]:
    """Crops of up to `CROPS` images, spread over the set, each where bicubic is furthest from the original."""
    labels: Mapping[str, str] = getattr(dataset, "labels", {})
    for index in np.unique(np.linspace(0, len(dataset) - 1, CROPS).round().astype(int)):
        item = dataset[int(index)]
        if "gt" not in item:
            return
        lr, hr = _image(item["lq"]), _image(item["gt"])
        enlarged = _image(bicubic(item["lq"][None], scale))
        if enlarged.shape != hr.shape or hr.ndim != 3:
            continue
        image = labels.get(item["lq_path"], Path(item["lq_path"]).stem)
        top, left, side = hardest_place(np.abs(enlarged.astype(np.float32) - hr).mean(2), scale)
        inside = np.s_[top : top + side, left : left + side]
        small = np.s_[top // scale : (top + side) // scale, left // scale : (left + side) // scale]
        for what, picture in {"lr": lr[small], "bicubic": enlarged[inside], "hr": hr[inside]}.items():
            write_image(picture, folder / f"{image}_{what}.png")
        yield CropPlace(image, top, left, side)


def _image(tensor: torch.Tensor) -> NDArray[np.uint8]:
    """A tensor in [0, 1] as the host's 8-bit image, BGR (H, W, 3)."""
    return np.asarray(tensor2img([tensor]), np.uint8)


def hardest_place(error: NDArray[np.float32], scale: int) -> tuple[int, int, int]:
    """The square with the largest mean error: top, left, side, all multiples of scale.

    Args:
        error: Absolute error per HR pixel (H, W).
        scale: Upscaling factor; corners fall on LR pixels.
    """
    side = min(CROP_SIDE, *error.shape) // scale * scale
    total = cv2.integral(error.astype(np.float64))
    sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    sums = sums[::scale, ::scale]
    row, column = np.unravel_index(int(np.argmax(sums)), sums.shape)
    return int(row) * scale, int(column) * scale, side
