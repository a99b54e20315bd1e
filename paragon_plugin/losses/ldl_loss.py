"""Locally discriminative learning: a pixel loss weighted by how much the output looks like an artefact."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def artifact_map(pred: Tensor, target: Tensor, ema_output: Tensor, window: int = 7) -> Tensor:
    """How much each pixel of an output looks like an artefact.

        r = sum_c |x - y|,    m = var(r)^(1/5) * var_window(r),    m = 0 where r < r_ema

    with y the output, x the ground truth, r_ema the residual of the averaged network's output. Variances are
    unbiased; windows at the border see the residual reflected. Liang et al., CVPR 2022, equations 3 to 5.

    Args:
        pred: y, (B, C, H, W).
        target: x, likewise.
        ema_output: Output of the averaged network, likewise.
        window: Side of the window, odd.

    Returns:
        (B, 1, H, W), at least 0; differentiable in y.
    """
    residual = (target - pred).abs().sum(1, keepdim=True)
    averaged = (target - ema_output).abs().sum(1, keepdim=True)
    whole = residual.var(dim=(-1, -2, -3), keepdim=True) ** (1 / 5)
    padded = F.pad(residual, [(window - 1) // 2] * 4, mode="reflect")
    local = padded.unfold(2, window, 1).unfold(3, window, 1).var(dim=(-1, -2), unbiased=True)
    return (whole * local).masked_fill(residual < averaged, 0)


class LDLLoss(nn.Module):
    """`criterion(m y, m x)` with m the artefact map of output y, ground truth x and the averaged network's output.

    m is large where the residual varies locally and y is further from x than the averaged network's output is, see
    `artifact_map`. Liang, Zeng and Zhang, "Details or Artifacts: A Locally Discriminative Learning Approach to
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
        weight = artifact_map(seen, target, ema_output, self.window)
        value = self.criterion(torch.mul(weight, pred), torch.mul(weight, target))
        return value if self.loss_weight == 1 else self.loss_weight * value
