"""Frequency loss: L1 distance of the 2-D Fourier spectra."""

import torch
from torch import Tensor, nn


class FFTLoss(nn.Module):
    """`w mean(|Re F(x - y)|, |Im F(x - y)|)` with F the unnormalised 2-D real FFT over height and width.

    Pixel losses treat every frequency alike on average and leave the rare high ones to the end; this one looks at each
    frequency by itself. Multi-scale frequency reconstruction loss of Cho et al., "Rethinking Coarse-to-Fine Approach
    in Single Image Deblurring", ICCV 2021, at one scale; common in efficient super-resolution with a weight of
    0.05 beside L1 with 1.

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
