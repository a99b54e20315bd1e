"""Local window attention without loops, rolls or value-dependent shapes.

Shape suffixes: B batch, C channels, H and W size, N windows, T tokens in a window.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelRMSNorm(nn.Module):
    """Root-mean-square normalisation of each token: `weight * x / sqrt(mean_c(x^2) + 1e-6)`.

    (..., C) -> (..., C). Mean and root are computed at least in float32. Source: Zhang and Sennrich, "Root Mean Square
    Layer Normalization", 2019.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6)
        return wide.to(x.dtype) * self.weight.to(x.dtype)


class WindowAttention(nn.Module):
    """Multi-head self-attention within square windows of RMS-normalised tokens, residual with a per-channel scale.

    (B, C, H, W) -> (B, C, H, W), any H and W: `x + gamma * proj(attention(rms_norm(x)))`.

    Shifted windows connect the pixels on both sides of a window's border (Liu et al., "Swin Transformer", 2021). The
    image is not rolled. Instead the grid of windows starts half a window outside the image. Places outside the image,
    before its start and after its end, are masked out as keys. So nothing wraps around. Every window contains at least
    one pixel, so no softmax has only masked keys.

    Windows are gathered by index, without padding and reshaping. Every intermediate size is then a plain function of H
    and W, so one exported graph serves all sizes from 9 on. At size 8 the grid is a single window, which needs a graph
    of its own.

    Args:
        channels: C.
        heads: Number of heads, a divisor of C.
        window: Side of a window in pixels, even.
        shifted: Whether the grid is moved by half a window.
        gamma: Initial scale of the residual.
    """

    def __init__(self, channels: int, heads: int, *, window: int = 8, shifted: bool = False, gamma: float) -> None:
        super().__init__()
        assert channels % heads == 0, (channels, heads)
        self.heads = heads
        self.window = window
        self.lead = window // 2 if shifted else 0
        self.norm = ChannelRMSNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), gamma))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BHWC = x_BCHW.permute(0, 2, 3, 1)
        batch, height, width, channels = x_BHWC.shape
        w, depth = self.window, channels // self.heads
        y_RT, x_CT = self._grid(height, x_BHWC.device), self._grid(width, x_BHWC.device)
        rows, columns = y_RT.shape[0], x_CT.shape[0]

        qkv = self.qkv(self.norm(x_BHWC))[:, y_RT.clamp(0, height - 1)][:, :, :, x_CT.clamp(0, width - 1)]
        qkv = qkv.unflatten(5, (3, self.heads, depth)).permute(5, 0, 1, 3, 6, 2, 4, 7)
        q, k, v = qkv.reshape(3, batch * rows * columns, self.heads, w * w, depth).unbind()
        inside_y = ((y_RT >= 0) & (y_RT < height)).view(rows, 1, w, 1)
        inside_x = ((x_CT >= 0) & (x_CT < width)).view(1, columns, 1, w)
        inside_N11T = (inside_y & inside_x).reshape(rows * columns, 1, 1, w * w).repeat(batch, 1, 1, 1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=inside_N11T)

        out = out.view(batch, rows, columns, self.heads, w, w, depth).permute(0, 1, 4, 2, 5, 3, 6).flatten(5)
        y = torch.arange(height, device=out.device) + self.lead
        x = torch.arange(width, device=out.device) + self.lead
        out = self.proj(out[:, y // w, y % w][:, :, x // w, x % w])
        return torch.addcmul(x_BHWC, self.gamma.to(x_BHWC.dtype), out.to(x_BHWC.dtype)).permute(0, 3, 1, 2)

    def _grid(self, size: int, device: torch.device) -> Tensor:
        """Positions (windows, window) along an axis of `size` pixels. The outermost may be outside the image."""
        count = (size + self.lead + self.window - 1) // self.window
        starts = torch.arange(count, device=device) * self.window - self.lead
        return starts.unsqueeze(1) + torch.arange(self.window, device=device)
