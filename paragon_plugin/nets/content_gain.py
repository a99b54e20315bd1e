"""Content-aware gain: a factor on the learnt detail that follows from the content of the image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Mean and standard deviation of the two logarithms over photographs at half size (BSDS500). They are there for
# conditioning only: the MLP gets inputs around 0 with a spread of about 1.
_CENTRE = -3.35
_SPREAD = 0.45


def busyness(x_BCHW: Tensor) -> Tensor:
    """Two statistics per image, each about standard normal over photographs. (B, C, H, W) -> (B, 2), H, W >= 2.

    The channels are averaged first. Each statistic is the logarithm of the mean absolute difference between neighbours,
    along rows and along columns, standardised. Both are computed at least in float32.
    """
    x = x_BCHW.to(torch.promote_types(x_BCHW.dtype, torch.float32)).mean(1)
    steps = torch.stack([torch.diff(x, dim=dim).abs().mean((1, 2)) for dim in (2, 1)], dim=1)
    # The floor is a quarter of an 8-bit step. It keeps the logarithm and its gradient finite for a constant image.
    return ((steps + 1e-3).log() - _CENTRE) / _SPREAD


class ContentGain(nn.Module):
    """One factor per image between 1/2 and 3/2: `1 + tanh(MLP(b) - slope * mean(b)) / 2` with b = `busyness(x)`.

    (B, C, H, W) -> (B, 1, 1, 1). The slope is learnt. It starts at 0.1, which favours simple images slightly. The
    factor follows from the whole input. So a tile of an image has its own factor.
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
