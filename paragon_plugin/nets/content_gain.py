"""Content-aware gain: how much learnt detail an image gets, judged from how busy it is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Mean and spread of the two logarithms over photographs at half size (BSDS500), so that the network sees numbers
# around 0 and 1. Only a matter of conditioning.
_CENTRE = -3.35
_SPREAD = 0.45


def busyness(x_BCHW: Tensor) -> Tensor:
    """Two statistics per image, (B, C, H, W) -> (B, 2), each about standard normal over photographs.

    Logarithms of the mean absolute difference between neighbours along rows and along columns, of the mean over
    channels, standardised; float32 at least. H, W >= 2.
    """
    x = x_BCHW.to(torch.promote_types(x_BCHW.dtype, torch.float32)).mean(1)
    steps = torch.stack([torch.diff(x, dim=dim).abs().mean((1, 2)) for dim in (2, 1)], dim=1)
    # The floor is a quarter of an 8-bit step: a constant image has a finite logarithm, and a finite gradient.
    return ((steps + 1e-3).log() - _CENTRE) / _SPREAD


class ContentGain(nn.Module):
    """One factor per image between 1/2 and 3/2: ``1 + tanh(MLP(b) - slope * mean(b)) / 2``, b = `busyness`.

    (B, C, H, W) -> (B, 1, 1, 1). The slope starts at 0.1, which favours simple images slightly; training decides. The
    factor follows from the whole image it is given: a tile gets the tile's.
    """

    def __init__(self, hidden: int = 8) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.1))
        self.hidden = nn.Linear(2, hidden)
        self.out = nn.Linear(hidden, 1)
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor) -> Tensor:
        busy_B2 = busyness(x).to(self.slope.dtype)
        response = self.out(F.silu(self.hidden(busy_B2))).squeeze(1) - self.slope * busy_B2.mean(1)
        return (1.0 + 0.5 * torch.tanh(response)).view(-1, 1, 1, 1)
