"""The ParagonSR2 block and the residual group of blocks."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .attention import WindowAttention
from .layers import ChannelModulation, MultiScaleContext, ScaledConv2d

# ReLU family throughout: run in place it costs a third of GELU on a CPU at the same PSNR. Slightly leaky where a whole
# stream of features passes through it, so that no channel can die.
SLOPE = 0.1


def dense(channels: int, keep_variance: bool) -> nn.Conv2d:
    """A 3x3 convolution for the steps without a skip.

    With `keep_variance` its weights keep the variance of a leaky ReLU's output (He et al., 2015); else they start 2.4
    times smaller, as PyTorch's do. A short chain trains a little better from the smaller ones, through a long one
    nothing would come.
    """
    conv = nn.Conv2d(channels, channels, 3, padding=1)
    if keep_variance:
        nn.init.kaiming_normal_(conv.weight, a=SLOPE)
    return conv


class ParagonBlock(nn.Module):
    """Context, optional attention, expansion, optional 3x3 mix, each residual. (B, C, H, W) -> (B, C, H, W).

    ::

        x = x + gamma * context(x)                      3x3, 1xK, Kx1 depthwise on an eighth of the channels each
        x = x + gamma * attention(norm(x))              with `shift` given
        x = x + gamma * project(modulation(relu(depthwise(expand(x)))))
        x = mix(leaky_relu(x))                          with `mix`; dense 3x3, the only step without a skip

    A dense 3x3 convolution is what a CPU runs closest to its peak: some of them buy more PSNR per millisecond than a
    wider expansion or more blocks.

    Args:
        channels: C.
        hidden: channels between expansion and projection.
        band: K of the context.
        gamma: initial scale of the residuals.
        mix: end in a dense convolution.
        keep_variance: see `dense`.
        modulation: squeeze and excite on the hidden channels.
        shift: None for no attention, else whether its windows are shifted.
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
        # Without bias, the zeros around the image stay zeros for the depthwise convolution, which has one.
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
        # In place wherever a convolution has just made the features: its gradient does not need them, and fresh memory
        # costs more than the sum.
        x = self.project(hidden).add_(x)
        if self.mix is not None:
            x = self.mix(F.leaky_relu(x, SLOPE, inplace=True))
        return x


class ResidualGroup(nn.Module):
    """Blocks and closing dense 3x3 convolutions with a skip around them all. (B, C, H, W) -> (B, C, H, W).

    ::

        y = blocks(x);  y = conv(leaky_relu(y))         `closing` times
        x + gamma * y

    Args:
        blocks: run in sequence.
        channels: C.
        closing: number of convolutions, >= 1.
        gamma: initial scale of the residual.
        keep_variance: see `dense`.
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
