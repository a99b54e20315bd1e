"""Losses as plain modules, usable in any training loop."""

from .feature_matching_loss import GANFeatureMatchingLoss
from .fft_loss import FFTLoss
from .ldl_loss import LDLLoss
from .learned_metric_losses import DISTSLoss, LPIPSLoss, PieAPPLoss
from .ssim_loss import MSSSIMLoss, SSIMLoss

__all__ = [
    "DISTSLoss",
    "FFTLoss",
    "GANFeatureMatchingLoss",
    "LDLLoss",
    "LPIPSLoss",
    "MSSSIMLoss",
    "PieAPPLoss",
    "SSIMLoss",
]
