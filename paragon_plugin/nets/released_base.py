"""The classical upscale inside the released checkpoints, in polyphase form.

Shape suffixes: B batch, C channels, H and W low-resolution size, S scale, K taps, J low-resolution neighbours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.magic_kernel import check_alpha, check_image, check_scale, compute_dtype

SHARP_TAPS = tuple(n / 32 for n in (-1, 0, 9, 16, 9, 0, -1))
"""Taps of the released "sharpening" filter. It is a half-band low-pass, not Magic Kernel Sharp 2021."""

BLUR_TAPS = tuple(n / 16 for n in (1, 4, 6, 4, 1))
"""Taps of the released blur."""


class _Taps(nn.Module):
    """One filter under the key `weight`, as in a convolution, but never trained."""

    weight: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)


class SeparableTaps(nn.Module):
    """The taps of a separable filter under the released keys.

    The keys are `kernel` (K,), `h.weight` (C, 1, 1, K) and `v.weight` (C, 1, K, 1). The two weights are applied per
    channel. `kernel` is their origin and is only kept. All three are buffers: they are loaded from a checkpoint and
    saved into it, and no optimizer sees them.
    """

    kernel: Tensor

    def __init__(self, channels: int, taps: tuple[float, ...]) -> None:
        super().__init__()
        kernel = torch.tensor(taps)
        self.register_buffer("kernel", kernel)
        self.h = _Taps(kernel.view(1, 1, 1, -1).repeat(channels, 1, 1, 1))
        self.v = _Taps(kernel.view(1, 1, -1, 1).repeat(channels, 1, 1, 1))

    def taps(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Taps (C, K) along rows, and taps (C, K) along columns."""
        return self.h.weight.flatten(1).to(dtype), self.v.weight.flatten(1).to(dtype)


def filter_axis(x_BCHW: Tensor, taps_CK: Tensor, dim: int) -> Tensor:
    """Correlate one axis with the taps of each channel. The axis gets K - 1 shorter."""
    size = x_BCHW.shape[dim] - taps_CK.shape[1] + 1
    first, *rest = taps_CK.view(*taps_CK.shape, 1, 1).unbind(1)
    y = x_BCHW.narrow(dim, 0, size) * first
    for i, tap in enumerate(rest, 1):
        y.addcmul_(x_BCHW.narrow(dim, i, size), tap)
    return y


def blur_reach(scale: int) -> int:
    """Reach of a 5-tap filter after nearest-neighbour enlargement, in low-resolution pixels to each side."""
    return -(-2 // scale)


def blur_phases(taps_CK: Tensor, scale: int) -> Tensor:
    """Nearest-neighbour enlargement and a 5-tap filter as S filters on the low-resolution grid: (C, 5) -> (C, S, J).

    Tap i of high-resolution pixel s k + p reads low-resolution pixel `k + floor((p + i - 2) / s)`. So phase p adds up
    the taps that read the same pixel. J = 2 * blur_reach(s) + 1.
    """
    reach = blur_reach(scale)
    rows: list[Tensor] = []
    for p in range(scale):
        lands = [(p + i - 2) // scale + reach for i in range(taps_CK.shape[1])]
        columns = [
            sum((taps_CK[:, i] for i, at in enumerate(lands) if at == j), torch.zeros_like(taps_CK[:, 0]))
            for j in range(2 * reach + 1)
        ]
        rows.append(torch.stack(columns, dim=1))
    return torch.stack(rows, dim=1)


class ReleasedBase(nn.Module):
    """The base of the released tiers: sharpen, enlarge to the nearest neighbour, blur, with zeros outside the image.

    (B, C, H, W) -> (B, C, s H, s W):

        y = x + alpha * (sharp(x) - x)         if alpha > 0
        blur(nearest(y, s))

    It is computed without an enlarged image in between, and the numbers are the same. After nearest-neighbour
    enlargement the blur has only s distinct phases per axis. Each phase is a filter of 3 taps (5 at s = 1) on the
    low-resolution grid. The zeros around the enlarged image are the enlarged zeros around the small image.

    A constant image gets darker towards its borders. The checkpoints were trained with this. At s = 1 the base is not
    the identity: it sharpens and blurs, as the released code does.

    Args:
        channels: C.
        scale: 1, 2, 3, 4 or 8.
        alpha: Strength of `sharp`, 0 to 2. It is not in a checkpoint.

    Raises:
        ValueError: `scale` is not supported, or `alpha` is out of range. In `forward`: the input is not a
            floating-point batch of images.
    """

    def __init__(self, channels: int, scale: int, alpha: float) -> None:
        super().__init__()
        self.scale = check_scale(scale)
        self.alpha = check_alpha(alpha, "upsampler_alpha")
        self.sharp = SeparableTaps(channels, SHARP_TAPS)
        self.blur = SeparableTaps(channels, BLUR_TAPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, s H, s W). Half and bfloat16 are computed in float32."""
        check_image(x)
        y = x.to(compute_dtype(x.dtype))
        if self.alpha > 0:
            rows_CK, columns_CK = self.sharp.taps(y.dtype)
            sharp = filter_axis(F.pad(y, (3, 3, 3, 3)), rows_CK, 3)
            y = torch.lerp(y, filter_axis(sharp, columns_CK, 2), self.alpha)
        return self._enlarge(y).to(x.dtype)

    def _enlarge(self, y_BCHW: Tensor) -> Tensor:
        height, width = y_BCHW.shape[2:]
        rows_CSJ, columns_CSJ = (blur_phases(taps_CK, self.scale) for taps_CK in self.blur.taps(y_BCHW.dtype))
        y = F.pad(y_BCHW, (blur_reach(self.scale),) * 4)
        # Along rows first: interleaving columns is strided and slow, and at this point there are s times fewer rows.
        y = torch.stack([filter_axis(y, phase_CJ, 3) for phase_CJ in rows_CSJ.unbind(1)], dim=4)
        y = y.reshape(*y.shape[:3], self.scale * width)
        y = torch.stack([filter_axis(y, phase_CJ, 2) for phase_CJ in columns_CSJ.unbind(1)], dim=3)
        return y.reshape(*y.shape[:2], self.scale * height, self.scale * width)

    def extra_repr(self) -> str:
        return f"scale={self.scale}, alpha={self.alpha:g}"
