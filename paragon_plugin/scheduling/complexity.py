"""How complex the training images are: the score, and the class that calibration uses.

The score looks at target images in [0, 1]:

    score = (min(10 var, 1) + min(10 (mean|dx| + mean|dy|), 1) + min(2 (max - min), 1)) / 3
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .calibration import Complexity


def dataset_complexity_score(gt: Tensor) -> Tensor:
    """Complexity score of a batch as one image.

    Args:
        gt: Target images (B, C, H, W), values in [0, 1], H and W at least 2.

    Returns:
        Scalar in [0, 1] on gt's device.
    """
    gt = gt.detach().float()
    variance = (10 * gt.var()).clamp(max=1)
    dx = (gt[..., :, 1:] - gt[..., :, :-1]).abs().mean()
    dy = (gt[..., 1:, :] - gt[..., :-1, :]).abs().mean()
    edges = (10 * (dx + dy)).clamp(max=1)
    spread = (2 * (gt.max() - gt.min())).clamp(max=1)
    return (variance + edges + spread) / 3


def mean_image_complexity(gt: Tensor) -> Tensor:
    """Mean over the images of a batch of each image's own score; does not depend on the batch size.

    Args:
        gt: Target images (B, C, H, W), values in [0, 1].

    Returns:
        Scalar in [0, 1] on gt's device.
    """
    gt = gt.detach().float()
    flat = gt.flatten(1)
    variance = (10 * flat.var(dim=1)).clamp(max=1)
    dx = (gt[..., :, 1:] - gt[..., :, :-1]).abs().flatten(1).mean(dim=1)
    dy = (gt[..., 1:, :] - gt[..., :-1, :]).abs().flatten(1).mean(dim=1)
    edges = (10 * (dx + dy)).clamp(max=1)
    spread = (2 * (flat.amax(dim=1) - flat.amin(dim=1))).clamp(max=1)
    return torch.stack([variance, edges, spread]).mean()


class DatasetComplexity:
    """Averages the scores of the batches that training sees, then names a class.

    Args:
        cutoffs: Mean score below which a dataset is simple, above which it is complex.
    """

    def __init__(self, cutoffs: tuple[float, float]):
        self.cutoffs = cutoffs
        self.total = 0.0
        self.count = 0
        self.decided: Complexity | None = None

    def observe(self, score: float) -> None:
        """Take in the mean score of one batch."""
        self.total += score
        self.count += 1

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def decide(self) -> Complexity:
        """Name the class from what was seen; stays as decided."""
        low, high = self.cutoffs
        self.decided = "simple" if self.mean < low else "complex" if self.mean > high else "moderate"
        return self.decided

    def state_dict(self) -> dict[str, Any]:
        return {"total": self.total, "count": self.count, "decided": self.decided}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.total, self.count, self.decided = state["total"], state["count"], state["decided"]
