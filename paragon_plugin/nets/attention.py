"""Local window attention without loops, rolls or value-dependent shapes.

Shape suffixes: B batch, C channels, H and W size, N windows, T tokens in a window.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelRMSNorm(nn.Module):
    """Root-mean-square normalisation of each token: ``weight * x / sqrt(mean_c(x^2) + 1e-6)``.

    (..., C) -> (..., C); mean and root in float32. (Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.)
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

    (B, C, H, W) -> (B, C, H, W), any H and W: ``x + gamma * proj(attention(rms_norm(x)))``. Shifted windows (Liu et
    al., "Swin Transformer", 2021) let pixels on both sides of a window's border meet. Instead of rolling the image
    around, the grid is moved by padding half a window at the top and left; that padding, and the one that fills the
    last windows at the bottom and right, is masked out as keys. Nothing wraps around, and every window holds at least
    one pixel, so no softmax runs over nothing.

    Args:
        channels: C.
        heads: divides C.
        window: side of a window in pixels, even.
        shifted: move the grid by half a window.
        gamma: initial scale.
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
        w, lead = self.window, self.lead
        # Whole windows, rounded up; the padding behind the image follows from their number.
        rows, columns = (height + lead + w - 1) // w, (width + lead + w - 1) // w
        below, right = rows * w - height - lead, columns * w - width - lead

        qkv = F.pad(self.qkv(self.norm(x_BHWC)), (0, 0, lead, right, lead, below))
        qkv = qkv.view(batch, rows, w, columns, w, 3, self.heads, channels // self.heads)
        qkv = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(
            3, batch * rows * columns, self.heads, w * w, channels // self.heads
        )
        q, k, v = qkv.unbind()
        inside_N11T = self._inside(height, width, rows, columns, x_BHWC.device).repeat(batch, 1, 1, 1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=inside_N11T)

        out = out.view(batch, rows, columns, self.heads, w, w, channels // self.heads).permute(0, 1, 4, 2, 5, 3, 6)
        out = out.reshape(batch, rows * w, columns * w, channels)[:, lead : lead + height, lead : lead + width]
        out = self.proj(out)
        return torch.addcmul(x_BHWC, self.gamma.to(x_BHWC.dtype), out.to(x_BHWC.dtype)).permute(0, 3, 1, 2)

    def _inside(self, height: int, width: int, rows: int, columns: int, device: torch.device) -> Tensor:
        """(rows * columns, 1, 1, T) bool: which tokens of each window are pixels rather than padding."""
        w, lead = self.window, self.lead
        y = torch.arange(rows * w, device=device)
        x = torch.arange(columns * w, device=device)
        y = ((y >= lead) & (y < lead + height)).view(rows, 1, w, 1)
        x = ((x >= lead) & (x < lead + width)).view(1, columns, 1, w)
        return (y & x).reshape(rows * columns, 1, 1, w * w)
