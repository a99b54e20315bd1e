"""Locally discriminative learning: a pixel loss that counts where the output looks like an artefact."""

import torch
from basicsr.losses.loss_util import get_refined_artifact_map
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from ..hosts.basicsr.registration import register


@register(LOSS_REGISTRY)
class LDLLoss(nn.Module):
    """`criterion(m y, m x)` with m the artefact map of output y, ground truth x and the averaged network's output.

    m is large where the residual varies locally and y is further from x than the averaged network's output is; the
    host computes it. Liang, Zeng and Zhang, "Details or Artifacts: A Locally Discriminative Learning Approach to
    Realistic Image Super-Resolution", CVPR 2022. Needs `train: ema_decay`.

    Args:
        loss_weight: Factor on the criterion, where none is given.
        criterion: A pixel loss with its weight inside. Default: L1.
        window: Side of the window in which the residual's variance is taken, odd.
    """

    looks_at_ema = True
    """Takes the averaged network's output as a third image."""

    def __init__(self, loss_weight: float = 1.0, criterion: nn.Module | None = None, window: int = 7):
        super().__init__()
        if criterion is not None and not isinstance(criterion, nn.Module):
            raise ValueError("criterion is set by the block 'ldl_opt'; a list entry is 'type: LDLLoss' with L1")
        self.loss_weight = loss_weight
        self.criterion = criterion or nn.L1Loss()
        self.window = window

    def forward(self, pred: Tensor, target: Tensor, ema_output: Tensor) -> Tensor:
        """pred, target, ema_output: (B, C, H, W). Returns a scalar."""
        seen = pred
        if pred.requires_grad:
            # The map is a fifth root of a variance, whose slope is infinite where a whole residual is flat.
            seen = pred.view_as(pred)
            seen.register_hook(lambda gradient: torch.nan_to_num(gradient, nan=0, posinf=0, neginf=0))
        weight = get_refined_artifact_map(target, seen, ema_output, self.window)
        value = self.criterion(torch.mul(weight, pred), torch.mul(weight, target))
        return value if self.loss_weight == 1 else self.loss_weight * value
