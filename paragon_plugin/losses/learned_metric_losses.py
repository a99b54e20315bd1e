"""Learned perceptual metrics as losses, from the optional package piq."""

from torch import Tensor, nn


class _LearnedMetric(nn.Module):
    """`w d(x, y)` with d a metric of piq; see its subclasses."""

    metric = ""

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        try:
            import piq
        except ImportError as error:
            raise ValueError("needs the package piq: pip install 'paragon-plugin[metrics]'") from error
        self.loss_weight = loss_weight
        self.distance = getattr(piq, self.metric)().requires_grad_(False)

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """pred, target: (B, 3, H, W), RGB in [0, 1]. Returns a scalar."""
        return self.loss_weight * self.distance(pred, target)


class LPIPSLoss(_LearnedMetric):
    """`w LPIPS(x, y)`, VGG16 trunk. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual
    Metric", CVPR 2018.

    Args:
        loss_weight: w.
    """

    metric = "LPIPS"


class DISTSLoss(_LearnedMetric):
    """`w DISTS(x, y)`, VGG16 trunk. Ding et al., "Image Quality Assessment: Unifying Structure and Texture
    Similarity", TPAMI 2020.

    Args:
        loss_weight: w.
    """

    metric = "DISTS"


class PieAPPLoss(_LearnedMetric):
    """`w PieAPP(x, y)`. Prashnani et al., "PieAPP: Perceptual Image-Error Assessment through Pairwise Preference",
    CVPR 2018. Slow; images of at least 64 x 64.

    Args:
        loss_weight: w.
    """

    metric = "PieAPP"

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """As the others; what is outside [0, 1], which PieAPP refuses, counts as the bound and has no gradient."""
        return super().forward(pred.clamp(0, 1), target)
