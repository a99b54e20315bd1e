"""Perceptual losses and metrics without a download: ST-LPIPS, whose wheel `stlpips-pytorch` carries its weights.

ST-LPIPS (Ghildyal and Liu, "Shift-tolerant Perceptual Similarity Metric", ECCV 2022) is not LPIPS; numbers of the two
do not compare. One trunk is used as the loss and the other as the metric, so that a loss is not judged by itself.
"""

import sys
import types
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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


def gram(features: Tensor) -> Tensor:
    """(B, C, C): products of the channels (B, C, H, W), mean over the pixels and channels."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / features[0].numel()


class FeatureLoss(nn.Module):
    """Mean absolute difference of a trunk's five features, or of what `of` makes of them; the sum over the five.

    Features as they are compare content, their Gram matrices style (Gatys, Ecker and Bethge, CVPR 2016).
    """

    def __init__(self, trunk: str = "alex", of: Callable[[Tensor], Tensor] | None = None):
        super().__init__()
        distance = st_lpips(trunk)
        self.scaling, self.net = distance.get_submodule("scaling_layer"), distance.get_submodule("net")
        self.of = of or nn.Identity()

    def features(self, image: Tensor) -> list[Tensor]:
        return [self.of(stage) for stage in self.net(self.scaling(2 * image - 1))]

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.features(target)
        pairs = zip(self.features(pred), wanted, strict=True)
        return torch.stack([F.l1_loss(mine, theirs) for mine, theirs in pairs]).sum()
