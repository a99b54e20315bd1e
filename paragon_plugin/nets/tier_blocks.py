"""The four kinds of block of the released tiers. Each maps (B, C, H, W) -> (B, C, H, W).

Attribute names are the keys of the released checkpoints.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint  # pyright: ignore[reportUnknownVariableType]

from .tier_attention import ChannelAttention, CyclicWindowAttention, TokenDictionaryAttention, Windows

HALF_MAX = 65504.0
"""The largest number of half precision."""


class LayerScale(nn.Module):
    """`gamma * x` with one factor per channel.

    Source: Touvron et al., "Going deeper with Image Transformers", 2021.
    """

    def __init__(self, channels: int, gamma: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((1, channels, 1, 1), gamma))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class ImageRMSNorm(nn.Module):
    """`scale * x / sqrt(mean_c(x^2) + 1e-6) + bias` at every pixel. (B, C, H, W) -> (B, C, H, W).

    Mean and root are computed at least in float32. Source: Zhang and Sennrich, "Root Mean Square Layer Normalization",
    2019.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        root = (wide.square().mean(1, keepdim=True) + 1e-6).sqrt().to(x.dtype)
        return torch.addcmul(self.bias, x / root, self.scale)


class DepthwiseMix(nn.Module):
    """`conv2(gelu(dw(conv1(x))))`: 1x1 to 2 C channels, 3x3 depthwise, 1x1 back to C. A base class of blocks."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = 2 * channels
        self.conv1 = nn.Conv2d(channels, hidden, 1)
        self.dw = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.conv2 = nn.Conv2d(hidden, channels, 1)

    def mix(self, x: Tensor) -> Tensor:
        return self.conv2(F.gelu(self.dw(self.conv1(x))))


class NanoBlock(DepthwiseMix):
    """`x + scale * mix(x)`.

    Args:
        channels: C.
        gamma: Initial scale of the residual.
    """

    def __init__(self, channels: int, *, gamma: float) -> None:
        super().__init__(channels)
        self.scale = LayerScale(channels, gamma)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale(self.mix(x))


class StreamBlock(nn.Module):
    """Two reaches and a gate: `x + scale * out(a * b)` with `(a, b) = gate(proj(fuse([dw1(x), dw3(x)])))`.

    `dw1` and `dw3` are 3x3 depthwise convolutions with dilation 1 and 3. `gate` is a 3x3 depthwise convolution on 4 C
    channels. The product is computed at least in float32 and clamped to the range of half precision.

    Args:
        channels: C.
        gamma: Initial scale of the residual.
    """

    def __init__(self, channels: int, *, gamma: float) -> None:
        super().__init__()
        hidden = 2 * channels
        self.dw1 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.dw3 = nn.Conv2d(channels, channels, 3, padding=3, dilation=3, groups=channels)
        self.fuse = nn.Conv2d(2 * channels, channels, 1)
        self.proj = nn.Conv2d(channels, 2 * hidden, 1)
        self.gate = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden)
        self.out = nn.Conv2d(hidden, channels, 1)
        self.scale = LayerScale(channels, gamma)

    def forward(self, x: Tensor) -> Tensor:
        near_and_far = torch.cat((self.dw1(x), self.dw3(x)), dim=1)
        a, b = self.gate(self.proj(self.fuse(near_and_far))).chunk(2, dim=1)
        wide = torch.promote_types(a.dtype, torch.float32)
        gated = (a.to(wide) * b.to(wide)).clamp(-HALF_MAX, HALF_MAX).to(a.dtype)
        return x + self.scale(self.out(gated))


class PhotoBlock(DepthwiseMix):
    """Two residual steps with one common scale, as in the released code.

        x = x + scale * mix(norm(x))
        x = x + scale * attn(attn_norm(x))             if `window` is not None

    Args:
        channels: C.
        gamma: Initial scale of the residuals.
        window: Side of the windows of attention in pixels. None for no attention and no parameters of it.
    """

    def __init__(self, channels: int, *, gamma: float, window: int | None) -> None:
        super().__init__(channels)
        self.norm = ImageRMSNorm(channels)
        self.scale = LayerScale(channels, gamma)
        if window is not None:
            self.attn_norm = ImageRMSNorm(channels)
            self.attn = CyclicWindowAttention(channels, window=window)

    def forward(self, x: Tensor, windows: Windows | None = None) -> Tensor:
        """Apply the block. `windows` is None if the block was built without attention."""
        x = x + self.scale(self.mix(self.norm(x)))
        if windows is not None:
            attended = self.attn(self.attn_norm(x).permute(0, 2, 3, 1), windows)
            x = x + self.scale(attended.permute(0, 3, 1, 2))
        return x


class ProBlock(DepthwiseMix):
    """Four residual steps, each with its own scale.

        x = x + scale1 * mix(norm1(x))
        x = x + scale2 * channel_attn(x)
        x = x + scale3 * window_attn(norm3(x))         if `window` is not None
        x = x + scale4 * token_ca(norm4(x))

    Args:
        channels: C.
        gamma: Initial scale of the residuals.
        window: Side of the windows of attention in pixels. None for no attention and no parameters of it.
    """

    def __init__(self, channels: int, *, gamma: float, window: int | None) -> None:
        super().__init__(channels)
        self.norm1 = ImageRMSNorm(channels)
        self.scale1 = LayerScale(channels, gamma)
        self.channel_attn = ChannelAttention(channels)
        self.scale2 = LayerScale(channels, gamma)
        if window is not None:
            self.norm3 = ImageRMSNorm(channels)
            self.window_attn = CyclicWindowAttention(channels, window=window)
            self.scale3 = LayerScale(channels, gamma)
        self.norm4 = ImageRMSNorm(channels)
        self.token_ca = TokenDictionaryAttention(channels)
        self.scale4 = LayerScale(channels, gamma)

    def forward(self, x: Tensor, windows: Windows | None = None) -> Tensor:
        """Apply the block. `windows` is None if the block was built without attention."""
        x = x + self.scale1(self.mix(self.norm1(x)))
        x = x + self.scale2(self.channel_attn(x))
        if windows is not None:
            attended = self.window_attn(self.norm3(x).permute(0, 2, 3, 1), windows)
            x = x + self.scale3(attended.permute(0, 3, 1, 2))
        read = self.token_ca(self.norm4(x).permute(0, 2, 3, 1))
        return x + self.scale4(read.permute(0, 3, 1, 2))


class BlockSequence(nn.Module):
    """Blocks in sequence without a skip around them. (B, C, H, W) -> (B, C, H, W).

    Args:
        blocks: The blocks, in order.
        first: Number of the first block in the whole body. Blocks with odd numbers attend in shifted windows.
        use_checkpointing: Whether only the inputs of the blocks are kept for the backward pass. The rest is then
            computed again there.
    """

    def __init__(self, blocks: list[nn.Module], *, first: int, use_checkpointing: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.first = first
        self.use_checkpointing = use_checkpointing

    def forward(self, x: Tensor, windows: tuple[Windows, Windows] | None) -> Tensor:
        """Run the blocks.

        Args:
            x: Features (B, C, H, W).
            windows: Unshifted and shifted windows. None for blocks without window attention.
        """
        for number, block in enumerate(self.blocks, self.first):
            own = () if windows is None else (windows[number % 2],)
            if self.use_checkpointing and x.requires_grad:
                # No block draws random numbers, so their state is not needed.
                x = checkpoint(block, x, *own, use_reentrant=False, preserve_rng_state=False)
            else:
                x = block(x, *own)
        return x
