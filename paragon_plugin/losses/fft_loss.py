"""Frequency loss: L1 distance of the 2-D Fourier spectra."""

import torch
from torch import Tensor, nn


class FFTLoss(nn.Module):
    """`w mean(|Re F(x - y)|, |Im F(x - y)|)` with F the unnormalised 2-D real FFT over height and width.

    In a pixel loss the high frequencies count little, because they have little energy. In this loss each frequency
    counts for itself. Source: the multi-scale frequency reconstruction loss of Cho et al., "Rethinking Coarse-to-Fine
    Approach in Single Image Deblurring", ICCV 2021, at one scale. In efficient super-resolution a weight of 0.05 beside
    L1 with 1 is common.

    Args:
        loss_weight: w.
    """

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """pred, target: (B, C, H, W), any real type; computed in float32. Returns a scalar."""
        difference = pred.float() - target.float()
        spectrum = torch.view_as_real(torch.fft.rfft2(difference, norm="backward"))
        return self.loss_weight * spectrum.abs().mean()
