"""The three kinds of attention in the released tiers, without loops over windows or images.

Shape suffixes: B batch, C channels, H and W size, N windows, T places in a window, P pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Windows(NamedTuple):
    """How an image is cut into windows and put together again."""

    source: Tensor
    """(N T,), the pixel index in the flattened image for each place of each window. H W for a place outside."""
    target: Tensor
    """(H W,), the place index for each pixel."""


def cyclic_windows(height: int, width: int, window: int, shift: int, device: torch.device) -> Windows:
    """Cut an image into windows.

    The image is first extended at the right and the bottom to multiples of `window`. Then it is rotated by `shift`
    towards the top and the left.

    Args:
        height: H.
        width: W.
        window: Side of a window in pixels.
        shift: Rotation in pixels.
        device: Device of the indices.
    """

    def places(size: int) -> tuple[Tensor, Tensor]:
        """Along one axis: the positions (count, window) in the windows, and the place (size,) of each position."""
        count = (size + window - 1) // window
        padded = count * window
        held = (torch.arange(count, device=device) * window + shift).unsqueeze(1) + torch.arange(window, device=device)
        place = torch.arange(size, device=device) - shift
        # Without `%`: ONNX export does not support a remainder by a symbol.
        return torch.where(held < padded, held, held - padded), torch.where(place < 0, place + padded, place)

    held_y, place_y = places(height)
    held_x, place_x = places(width)
    y, x = held_y.view(-1, 1, window, 1), held_x.view(1, -1, 1, window)
    source = torch.where((y < height) & (x < width), y * width + x, height * width)
    y, x = place_y.unsqueeze(1), place_x.unsqueeze(0)
    target = ((y // window * held_x.shape[0] + x // window) * window + y % window) * window + x % window
    return Windows(source.reshape(-1), target.reshape(-1))


class CyclicWindowAttention(nn.Module):
    """Multi-head self-attention within square windows of a rotated, zero-padded image.

    (B, H, W, C) -> (B, H, W, C), any H and W: `proj(softmax(q k^T / sqrt(C / heads)) v)` in every window.

    As in the released code there is no mask and no position bias. So places outside the image take part as zero tokens
    (their keys are the bias), and shifted windows at the border contain pixels from opposite sides.

    Args:
        channels: C, a multiple of `heads`.
        heads: Number of heads.
        window: Side of a window in pixels.
    """

    def __init__(self, channels: int, *, heads: int = 4, window: int = 16) -> None:
        super().__init__()
        assert channels % heads == 0, (channels, heads)
        self.heads = heads
        self.window = window
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x_BHWC: Tensor, windows: Windows) -> Tensor:
        """Attend within `windows`, the result of `cyclic_windows` for H, W and `window`."""
        batch, height, width, channels = x_BHWC.shape
        # One zero token stands for all places outside. So the projection computes each pixel once, and only one token
        # more, however many places are outside.
        tokens = F.pad(x_BHWC.reshape(batch, height * width, channels), (0, 0, 0, 1))
        qkv = self.qkv(tokens).index_select(1, windows.source)
        qkv = qkv.reshape(-1, self.window**2, 3, self.heads, channels // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind()
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        out = out.reshape(batch, windows.source.shape[0], channels).index_select(1, windows.target)
        return self.proj(out).reshape(batch, height, width, channels)


class ChannelAttention(nn.Module):
    """Squeeze and excite: `x * sigmoid(fc.2(gelu(fc.0(mean over the image))))`. (B, C, H, W) -> (B, C, H, W).

    The mean is over the whole input. So a tile of an image is weighted by its own mean. Source: Hu et al.,
    "Squeeze-and-Excitation Networks", 2018.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = channels // reduction
        self.fc = nn.Sequential(
            nn.Linear(channels, hidden, bias=False), nn.GELU(), nn.Linear(hidden, channels, bias=False), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class TokenDictionaryAttention(nn.Module):
    """Every pixel reads from a learnt dictionary: `out_proj(softmax(q k^T / sqrt(reduced)) v)`.

    (B, H, W, C) -> (B, H, W, C). Queries come from the pixels. Keys and values come from `token_dict` (1, tokens, C).
    All keys have `k_proj.bias` in common, and the softmax cancels it. So its gradient is zero except for rounding.
    """

    def __init__(self, channels: int, *, tokens: int = 64, reduced: int = 16) -> None:
        super().__init__()
        # The tokens start as large as the normalised pixels. With small tokens all keys would be about equal to the
        # bias, and no gradient would pass.
        self.token_dict = nn.Parameter(torch.randn(1, tokens, channels))
        self.q_proj = nn.Linear(channels, reduced)
        self.k_proj = nn.Linear(channels, reduced)
        self.v_proj = nn.Linear(channels, channels)
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        tokens_TC = self.token_dict[0]
        keys = self.k_proj(tokens_TC) * self.k_proj.out_features**-0.5
        weights = torch.softmax(F.linear(self.q_proj(x_BHWC), keys), dim=-1)
        return self.out_proj(weights @ self.v_proj(tokens_TC))
