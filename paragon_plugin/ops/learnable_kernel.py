"""Magic Kernel Sharp 2021 with learnt sharpening. Bounds keep it a classical upscale."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .magic_kernel import (
    check_alpha,
    check_image,
    check_scale,
    composite_taps,
    compute_dtype,
    enlarge,
    extend,
    polyphase,
    sharp_taps,
    sharpen,
    spline_phases,
)

if TYPE_CHECKING:
    from typing_extensions import Self

ALPHA_BOUND = 0.5
"""Largest difference of the learnt strength from `init_alpha`."""

BIAS_BOUND = 0.1
"""Largest absolute weight of the diagonal curvature."""

TAP_BOUNDS = (0.02, 0.05, 0.1)
"""Largest difference of each learnt tap from the tap of Magic Kernel Sharp 2021, from the outermost inwards."""


def within(value: Tensor, centre: Tensor | float, bound: Tensor | float) -> Tensor:
    """`centre + bound * tanh((value - centre) / bound)`: at most `bound` away from `centre`."""
    return centre + bound * torch.tanh((value - centre) / bound)


class LearnableMagicKernelSharp2021Upsample(nn.Module):
    """Magic Kernel Sharp 2021 with a learnt 7-tap sharpening filter and a fixed spline.

    With k = [-1, 6, -35] / 144, the taps of Magic Kernel Sharp 2021 at distance 3, 2, 1, the taps along each axis are

        alpha = within(sharp_alpha, init_alpha, 0.5)
        q[i]  = alpha * k[i] + (within(sharp_kernel[i], k[i], TAP_BOUNDS[i]) - k[i])        i = 0, 1, 2
        q[3]  = 1 - 2 * (q[0] + q[1] + q[2]),  q[6 - i] = q[i]

    The two-dimensional filter is `q (x) q + within(sharp_bias, 0, 0.1) * d (x) d` with d = [1, -2, 1]. The second term
    is the curvature along the diagonals. A symmetric filter can have this part, but a product of two 1-D filters
    cannot. A plain bias would shift a constant image. This term is zero there, because the sum of d is 0.

    For all values of the parameters the filter is symmetric (left and right, up and down, rows and columns), its DC
    gain is 1, and it stays within the bounds around the fixed filter. At initialisation it is the fixed filter with
    `alpha = init_alpha`. Each parameter starts at the value that it stands for. Near its start a parameter is therefore
    almost equal to that value and can be read directly. At scale 1 the fixed upsampler is the identity. This one starts
    as the identity too and learns the deviation from it.

    The fixed filter is from J. Costella, "The Magic Kernel". The parametrisation is this project's.

    Args:
        scale: One of 1, 2, 3, 4, 8.
        init_alpha: Initial strength of sharpening, 0 to 2.

    Raises:
        ValueError: `scale` is not supported, or `init_alpha` is out of range. In `forward`: the input is not a
            floating-point batch of images.
    """

    base_taps: Tensor
    tap_bounds: Tensor
    spline_phases: Tensor

    def __init__(self, scale: int, init_alpha: float = 1.0) -> None:
        super().__init__()
        self.scale = check_scale(scale)
        self.init_alpha = check_alpha(init_alpha, "init_alpha")
        self.register_buffer("base_taps", torch.tensor(sharp_taps()[:3]), persistent=False)
        self.register_buffer("tap_bounds", torch.tensor(TAP_BOUNDS), persistent=False)
        self.register_buffer("spline_phases", torch.tensor(spline_phases(scale)), persistent=False)
        self.sharp_alpha = nn.Parameter(torch.tensor(self.init_alpha))
        self.sharp_bias = nn.Parameter(torch.zeros(()))
        self.sharp_kernel = nn.Parameter(self.base_taps.clone())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # As in the fixed upsampler: the move gives device and precision, the values are computed again.
        super()._apply(fn, recurse)  # pyright: ignore[reportUnknownMemberType]
        dtype, device = compute_dtype(self.base_taps.dtype), self.base_taps.device
        self.base_taps = torch.tensor(sharp_taps()[:3], dtype=dtype, device=device)
        self.tap_bounds = torch.tensor(TAP_BOUNDS, dtype=dtype, device=device)
        self.spline_phases = torch.tensor(spline_phases(self.scale), dtype=dtype, device=device)
        return self

    def taps(self) -> Tensor:
        """The current taps (7,) along each axis: symmetric, sum 1."""
        dtype = self.base_taps.dtype
        strength = within(self.sharp_alpha.to(dtype), self.init_alpha, ALPHA_BOUND)
        if self.scale == 1:
            strength = strength - self.init_alpha
        deviation_3 = within(self.sharp_kernel.to(dtype), self.base_taps, self.tap_bounds) - self.base_taps
        outer_3 = strength * self.base_taps + deviation_3
        centre_1 = (1.0 - 2.0 * outer_3.sum()).unsqueeze(0)
        return torch.cat((outer_3, centre_1, outer_3.flip(0)))

    def diagonal(self) -> Tensor:
        """The current weight of the diagonal curvature, a scalar from -`BIAS_BOUND` to `BIAS_BOUND`."""
        return within(self.sharp_bias.to(self.base_taps.dtype), 0.0, BIAS_BOUND)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, s H, s W). Half and bfloat16 are computed in float32."""
        check_image(x)
        dtype = compute_dtype(x.dtype)
        extended = extend(x.to(dtype), 4)
        # Sharpening removes 3 pixels on every side. The curvature has a radius of 1 and removes only 1, so 2 pixels are
        # cut off before it.
        inner = extended[:, :, 2:-2, 2:-2]
        curvature = torch.diff(torch.diff(inner, n=2, dim=2), n=2, dim=3)
        y = torch.addcmul(sharpen(extended, self.taps().to(dtype)), self.diagonal().to(dtype), curvature)
        y = y[:, :, 1:-1, 1:-1] if self.scale == 1 else enlarge(y, self.spline_phases.to(dtype))
        return y.to(x.dtype)

    def phases(self, x: Tensor) -> Tensor:
        """The same image before its pixel shuffle: (B, C, H, W) -> (B, C s^2, H, W), see `polyphase`."""
        weight = self.diagonal()
        spline = self.spline_phases if self.scale > 1 else self.spline_phases.new_tensor([[0.0, 1.0, 0.0]])
        curvature_7 = F.pad(weight.new_tensor([1.0, -2.0, 1.0]), (2, 2))
        taps_2S9 = torch.stack([composite_taps(taps, spline) for taps in (self.taps(), curvature_7)])
        return polyphase(x, taps_2S9, torch.cat((taps_2S9[:1], weight * taps_2S9[1:])))

    def extra_repr(self) -> str:
        return f"scale={self.scale}, init_alpha={self.init_alpha:g}"
