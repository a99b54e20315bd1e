"""Feature matching: the inner features of the discriminator should be alike for real and generated images."""

import torch
from torch import Tensor, nn


class GANFeatureMatchingLoss(nn.Module):
    """`w mean_l mean |D_l(y) - D_l(x)|`: distance of the discriminator's features of output y and real image x.

    D_l are the outputs of the discriminator's convolutions, except the last one, which gives the logits. The features
    of x are constants. Source: Wang et al., "High-Resolution Image Synthesis and Semantic Manipulation with Conditional
    GANs", CVPR 2018. The mean over the layers replaces their sum, so that the weight does not depend on the number of
    layers.

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
