"""Losses the host lacks, registered with it, and the recipe that turns options into loss terms."""

from .fft_loss import FFTLoss

__all__ = ["FFTLoss"]
