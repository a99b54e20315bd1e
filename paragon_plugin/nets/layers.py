"""Layers of the networks. Shape suffixes: B batch, C channels, H and W size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import WindowAttention

SLOPE = 0.1
"""Slope of the leaky ReLUs for negative values.

In place, a leaky ReLU takes a third of the time of GELU or SiLU on a CPU. In a short training SiLU is no better, and
plain ReLU loses 0.2 dB (`benchmarks/body_search.py`).
"""


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU in place. The convolution that has computed `x` does not need it for its gradient."""
    return F.leaky_relu(x, SLOPE, inplace=True)


class ResidualGroup(nn.Module):
    """3x3 convolutions with an activation between two of them, and a skip around all. (B, C, H, W) -> (B, C, H, W).

        y = x + conv(activate(conv(... activate(conv(x)))))
        y + gamma * attention(norm(y))                          if there is attention

    The convolutions keep PyTorch's initial weights. These let a tenth of the signal through three convolutions. So at
    the start a group is close to the identity, and a stack of any depth lets signal and gradient pass.

    Args:
        channels: C.
        convs: Number of convolutions, >= 1.
        attention: Attention on the result, or None.
    """

    def __init__(self, channels: int, convs: int, attention: WindowAttention | None = None) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(convs))
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.convs
        y = first(x)
        for conv in others:
            y = conv(activate(y))
        y = y.add_(x)
        return y if self.attention is None else self.attention(y)


def sub_pixel(x: Tensor, scale: int) -> Tensor:
    """`torch.nn.functional.pixel_shuffle`: (B, C s^2, H, W) -> (B, C, s H, s W).

    At s = 2 the columns are stacked, then whole rows are moved. On a CPU with channels last this takes half the time of
    the library's function. From s = 3 on the library's function is faster. A graph gets the library's function at every
    scale: in ONNX it is one node. Source: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an
    Efficient Sub-Pixel Convolutional Neural Network", 2016.
    """
    if scale == 1:
        return x
    if scale != 2 or torch.compiler.is_compiling():
        return F.pixel_shuffle(x, scale)
    batch, channels, height, width = x.shape
    phases = x.reshape(batch, channels // 4, 2, 2, height, width)
    rows = torch.stack(phases.unbind(3), dim=5).transpose(2, 3)
    return rows.reshape(batch, channels // 4, 2 * height, 2 * width)
