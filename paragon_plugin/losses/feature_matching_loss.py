"""Feature matching: real and generated images should look alike to the discriminator's inner layers."""

import torch
from torch import Tensor, nn


class GANFeatureMatchingLoss(nn.Module):
    """`w mean_l mean |D_l(y) - D_l(x)|`: how far the discriminator's features of output and real image are apart.

    D_l are the outputs of the discriminator's convolutions but the one that gives the logits; those of the real image
    x are constants. Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs",
    CVPR 2018, with the mean over layers in place of the sum, so that the weight does not depend on their number.

    Args:
        loss_weight: w.
    """

    looks_at_features = True
    """Takes the discriminator's features, not images."""

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, fake: tuple[Tensor, ...], real: tuple[Tensor, ...]) -> Tensor:
        """fake, real: features of the same layers, any shapes. Returns a scalar."""
        distances = [(f.float() - r.float()).abs().mean() for f, r in zip(fake, real, strict=True)]
        return self.loss_weight * torch.stack(distances).mean()
