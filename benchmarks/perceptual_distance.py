"""Perceptual losses and metrics without a download: ST-LPIPS, whose wheel `stlpips-pytorch` carries its weights.

ST-LPIPS (Ghildyal and Liu, "Shift-tolerant Perceptual Similarity Metric", ECCV 2022) is not LPIPS; numbers of the two
do not compare. One trunk is used as the loss and the other as the metric, so that a loss is not judged by itself.
"""

import sys
import types

import torch
from torch import Tensor, nn


def st_lpips(trunk: str) -> nn.Module:
    """ST-LPIPS with trunk `alex` or `vgg`; call with images (B, 3, H, W) in [0, 1] and `normalize=True`."""
    for name in ("IPython", "torchsummary"):  # imported by the wheel, neither declared nor used by it
        if name not in sys.modules:
            stub = types.ModuleType(name)
            stub.embed = stub.summary = None  # type: ignore[attr-defined]
            sys.modules[name] = stub
    try:
        from stlpips_pytorch import stlpips
    except ImportError as error:
        raise SystemExit("this benchmark needs the wheel stlpips-pytorch: pip install stlpips-pytorch") from error
    distance = stlpips.LPIPS(net=trunk, variant="shift_tolerant", verbose=False).requires_grad_(False)
    return distance.to(memory_format=torch.channels_last)  # a fifth faster on a CPU


class STLPIPSLoss(nn.Module):
    """`w` times the mean ST-LPIPS distance of a batch."""

    def __init__(self, loss_weight: float = 1.0, trunk: str = "alex"):
        super().__init__()
        self.loss_weight = loss_weight
        self.distance = st_lpips(trunk)

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        return self.loss_weight * self.distance(pred, target, normalize=True).mean()
