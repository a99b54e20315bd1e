"""The ParagonSR2 block and the residual group of blocks."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .attention import WindowAttention
from .layers import ChannelModulation, MultiScaleContext, ScaledConv2d

# All activations are of the ReLU family: in place, a ReLU takes a third of the time of GELU on a CPU, at the same PSNR.
# It is leaky where a whole stream of features passes through it, so that no channel can die.
SLOPE = 0.1
"""Slope of the leaky ReLUs for negative values."""


def dense(channels: int, keep_variance: bool) -> nn.Conv2d:
    """A 3x3 convolution for the steps without a skip.

    A short chain of convolutions trains slightly better from small weights. Through a long chain with small weights no
    signal would pass.

    Args:
        channels: Channels of input and output.
        keep_variance: Whether the initial weights keep the variance of a leaky ReLU's output (He et al., 2015). Else
            they start 2.4 times smaller, which is PyTorch's default.
    """
    conv = nn.Conv2d(channels, channels, 3, padding=1)
    if keep_variance:
        nn.init.kaiming_normal_(conv.weight, a=SLOPE)
    return conv


class ParagonBlock(nn.Module):
    """Context, optional attention, expansion, optional 3x3 mix. (B, C, H, W) -> (B, C, H, W).

    The steps, all residual except the mix:

        x = x + gamma * context(x)                      3x3, 1xK, Kx1 depthwise on an eighth of the channels each
        x = x + gamma * attention(norm(x))              if `shift` is not None
        x = x + gamma * project(modulation(relu(depthwise(expand(x)))))
        x = mix(leaky_relu(x))                          if `mix`; a dense 3x3 convolution

    A CPU runs dense 3x3 convolutions closest to its peak speed. Some of them give more PSNR per millisecond than a
    wider expansion or more blocks.

    Args:
        channels: C.
        hidden: Channels between expansion and projection.
        band: K of the context.
        gamma: Initial scale of the residuals.
        mix: Whether the block ends in a dense convolution.
        keep_variance: See `dense`.
        modulation: Whether squeeze and excite works on the hidden channels.
        shift: Whether the windows of the attention are shifted. None for no attention.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        band: int,
        *,
        gamma: float,
        mix: bool,
        keep_variance: bool,
        modulation: bool,
        shift: bool | None,
    ) -> None:
        super().__init__()
        self.context = MultiScaleContext(channels, band, gamma)
        self.attention = None
        if shift is not None:
            self.attention = WindowAttention(channels, max(1, channels // 16), shifted=shift, gamma=gamma)
        # Without a bias here, the zeros around the image are zeros for the depthwise convolution too. That one has a
        # bias.
        self.expand = nn.Conv2d(channels, hidden, 1, bias=False)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.modulation = ChannelModulation(hidden) if modulation else None
        self.project = ScaledConv2d(hidden, channels, (1, 1), bias=False, gamma=gamma)
        self.mix = dense(channels, keep_variance) if mix else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.context(x)
        if self.attention is not None:
            x = self.attention(x)
        hidden = F.relu(self.depthwise(self.expand(x)), inplace=True)
        if self.modulation is not None:
            hidden = self.modulation(hidden)
        # In place where a convolution has just computed the features: its gradient does not need them, and new memory
        # costs more time than the sum.
        x = self.project(hidden).add_(x)
        if self.mix is not None:
            x = self.mix(F.leaky_relu(x, SLOPE, inplace=True))
        return x


class ResidualGroup(nn.Module):
    """Blocks, then dense 3x3 convolutions, with a skip around all of them. (B, C, H, W) -> (B, C, H, W).

    The steps:

        y = blocks(x)
        y = conv(leaky_relu(y))                         `closing` times
        x + gamma * y

    Args:
        blocks: The blocks, in order.
        channels: C.
        closing: Number of convolutions, >= 1.
        gamma: Initial scale of the residual.
        keep_variance: See `dense`.
    """

    def __init__(
        self, blocks: list[ParagonBlock], channels: int, closing: int, *, gamma: float, keep_variance: bool
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.convs = nn.Sequential(*(dense(channels, keep_variance) for _ in range(closing - 1)))
        self.out = ScaledConv2d(channels, channels, (3, 3), gamma=gamma)

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(x)
        for conv in (*self.convs, self.out):
            y = conv(F.leaky_relu(y, SLOPE, inplace=True))
        return y.add_(x)
