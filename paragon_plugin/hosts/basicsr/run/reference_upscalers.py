"""The metrics of classical upscaling on the validation images."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from basicsr.utils import tensor2img
from basicsr.utils.matlab_functions import imresize
from torch import Tensor
from torch.utils.data import DataLoader

from ....ops.magic_kernel import SCALES, magic_kernel_sharp_2021_upsample
from ....report.metrics import finite_mean
from ..options.metrics import measured


def bicubic(lq: Tensor, scale: int) -> Tensor:
    """MATLAB's bicubic enlargement of one image (1, 3, H, W)."""
    return torch.as_tensor(imresize(lq[0], scale))[None]


UPSCALERS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "bicubic": bicubic,
    "Magic Kernel Sharp 2021": magic_kernel_sharp_2021_upsample,
}


def reference_metrics(
    loader: DataLoader[Any], metrics: Mapping[str, Mapping[str, Any]], scale: int
) -> dict[str, dict[str, float]]:
    """Mean of each configured metric over a validation set, for each classical upscaler.

    Args:
        loader: Validation loader of the host (batch 1, items with `lq` and `gt`).
        metrics: The option file's `val: metrics:`.
        scale: Upscaling factor; without one that both upscalers have (1 or more, supported) the result is empty.

    Returns:
        {upscaler: {metric: mean over the images where it is finite}}; images are rounded to 8 bits as the host does
        for the network's.
    """
    if scale not in SCALES or scale == 1 or not metrics:
        return {}
    values: dict[str, dict[str, list[float]]] = {name: {metric: [] for metric in metrics} for name in UPSCALERS}
    for item in loader:
        if "gt" not in item:
            return {}
        gt = tensor2img([item["gt"]])
        for name, upscale in UPSCALERS.items():
            image = tensor2img([upscale(item["lq"], scale)])
            for metric, options in metrics.items():
                values[name][metric].append(measured({"img": image, "img2": gt}, options))
    return {name: {metric: finite_mean(found) for metric, found in own.items()} for name, own in values.items()}
