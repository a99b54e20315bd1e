"""Convolutional layers of the ParagonSR2 block.

Shape suffixes: B batch, C channels, H and W size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ScaledConv2d(nn.Conv2d):
    """A convolution, zero-padded to keep the size, with a learnt scale per output channel: `gamma * conv(x)`.

    It is the branch of a residual. A small initial gamma keeps a deep stack close to the identity, so 80 blocks train
    without normalisation (LayerScale: Touvron et al., "Going deeper with Image Transformers", 2021). Gamma multiplies
    the weights, not the features, because on a CPU a pass over the image costs more than arithmetic.

    Args:
        in_channels: The same as for `nn.Conv2d`.
        out_channels: The same as for `nn.Conv2d`.
        kernel_size: Height and width, odd.
        gamma: Initial scale.
        groups: The same as for `nn.Conv2d`.
        bias: The same as for `nn.Conv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int],
        *,
        gamma: float,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        padding = (kernel_size[0] // 2, kernel_size[1] // 2)
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            in_channels, out_channels, kernel_size, padding=padding, groups=groups, bias=bias
        )
        self.gamma = nn.Parameter(torch.full((out_channels,), gamma))

    def forward(self, input: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias * self.gamma
        return self._conv_forward(input, self.weight * self.gamma.view(-1, 1, 1, 1), bias)


class MultiScaleContext(nn.Module):
    """Depthwise context at several scales, residual: 3x3, 1xK and Kx1 on an eighth of the channels each.

    (B, C, H, W) -> (B, C, H, W). Five eighths of the channels pass unchanged, which costs little quality. The two
    crossed bands have the reach of K x K taps at the cost of 2 K taps. Source: Yu et al., "InceptionNeXt", 2023.

    Args:
        channels: C >= 4. An eighth is rounded up.
        band: K, odd.
        gamma: Initial scale of the residuals.
    """

    def __init__(self, channels: int, band: int, gamma: float) -> None:
        super().__init__()
        part = -(-channels // 8)
        self.part = part
        self.starts = [channels - 3 * part, channels - 2 * part, channels - part]
        self.square = ScaledConv2d(part, part, (3, 3), groups=part, gamma=gamma)
        self.row = ScaledConv2d(part, part, (1, band), groups=part, gamma=gamma)
        self.column = ScaledConv2d(part, part, (band, 1), groups=part, gamma=gamma)

    def forward(self, x: Tensor) -> Tensor:
        # A sum into slices of a copy takes two thirds of the time of a concatenation.
        out = x.clone()
        for start, conv in zip(self.starts, (self.square, self.row, self.column), strict=True):
            out.narrow(1, start, self.part).add_(conv(x.narrow(1, start, self.part)))
        return out


class ChannelModulation(nn.Module):
    """Squeeze and excite: every channel times `2 sigmoid(MLP(mean over the image))`.

    (B, C, H, W) -> (B, C, H, W). The factor is 1 where the MLP gives 0. The mean is over the whole input. So a tile of
    an image is modulated by its own mean. Source: Hu et al., "Squeeze-and-Excitation Networks", 2018.
    """

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        hidden = max(channels // reduction, 4)
        self.squeeze = nn.Conv2d(channels, hidden, 1)
        self.excite = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        return x * (2.0 * torch.sigmoid(self.excite(F.silu(self.squeeze(mean)))))


def sub_pixel(x: Tensor, scale: int) -> Tensor:
    """`torch.nn.functional.pixel_shuffle`: (B, C s^2, H, W) -> (B, C, s H, s W).

    At s = 2 the columns are stacked, then whole rows are moved. On a CPU with channels last this takes half the time of
    the library's function, which saves a twentieth of the smallest network's time. From s = 3 on the library's function
    is faster. Source: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
    Convolutional Neural Network", 2016.
    """
    if scale != 2:
        return F.pixel_shuffle(x, scale)
    batch, channels, height, width = x.shape
    phases = x.reshape(batch, channels // 4, 2, 2, height, width)
    rows = torch.stack(phases.unbind(3), dim=5).transpose(2, 3)
    return rows.reshape(batch, channels // 4, 2 * height, 2 * width)
