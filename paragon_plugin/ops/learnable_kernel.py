"""Magic Kernel Sharp 2021 whose sharpening is learnt within bounds that keep it a classical upscale."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .magic_kernel import (
    check_alpha,
    check_image,
    check_scale,
    compute_dtype,
    enlarge,
    extend,
    sharp_taps,
    sharpen,
    spline_phases,
)

if TYPE_CHECKING:
    from typing_extensions import Self

ALPHA_BOUND = 0.5
"""Largest distance of the learnt strength from `init_alpha`."""

BIAS_BOUND = 0.1
"""Largest weight of the diagonal curvature."""

TAP_BOUNDS = (0.02, 0.05, 0.1)
"""Largest distance of the learnt taps from MKS 2021's, from the outermost inwards."""


def within(value: Tensor, centre: Tensor | float, bound: Tensor | float) -> Tensor:
    """``centre + bound * tanh((value - centre) / bound)``: never further than `bound` from `centre`."""
    return centre + bound * torch.tanh((value - centre) / bound)


class LearnableMagicKernelSharp2021Upsample(nn.Module):
    """Magic Kernel Sharp 2021 with a learnt 7-tap sharpening filter and a fixed spline.

    With k = MKS 2021's taps [-1, 6, -35] / 144 at distance 3, 2, 1, the filter along either axis has the taps ::

        alpha = within(sharp_alpha, init_alpha, 0.5)
        q[i]  = alpha * k[i] + (within(sharp_kernel[i], k[i], TAP_BOUNDS[i]) - k[i])        i = 0, 1, 2
        q[3]  = 1 - 2 * (q[0] + q[1] + q[2]),  q[6 - i] = q[i]

    and the filter of the plane is ``q (x) q + within(sharp_bias, 0, 0.1) * d (x) d`` with d = [1, -2, 1], the curvature
    along the diagonals, the part of a symmetric filter that a product of two 1-D filters cannot have. A bias added to
    the image would shift a constant one; this one vanishes there, as d sums to 0.

    Whatever values the parameters take: the filter is symmetric (left and right, up and down, rows and columns), its
    DC gain is 1, and it stays within those bounds of the fixed filter. At initialisation it is the fixed one with
    ``alpha = init_alpha``. Parameters start at the values they stand for, so they can be read while close to them.
    At scale 1 the fixed upsampler is the identity; so is this one at first, and it learns the deviation from it.

    Args:
        scale: one of 1, 2, 3, 4, 8.
        init_alpha: initial strength of sharpening, 0 to 2.

    Raises:
        ValueError: unsupported `scale`, `init_alpha` out of range; in forward, not a floating-point batch of images.

    Source: J. Costella, "The Magic Kernel", for the fixed filter; the parametrisation is this project's.
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
        # As in the fixed upsampler: constants take their device and precision from the move, never their values.
        super()._apply(fn, recurse)  # pyright: ignore[reportUnknownMemberType]
        dtype, device = compute_dtype(self.base_taps.dtype), self.base_taps.device
        self.base_taps = torch.tensor(sharp_taps()[:3], dtype=dtype, device=device)
        self.tap_bounds = torch.tensor(TAP_BOUNDS, dtype=dtype, device=device)
        self.spline_phases = torch.tensor(spline_phases(self.scale), dtype=dtype, device=device)
        return self

    def taps(self) -> Tensor:
        """The (7,) taps along either axis as they are now: symmetric, sum 1."""
        dtype = self.base_taps.dtype
        strength = within(self.sharp_alpha.to(dtype), self.init_alpha, ALPHA_BOUND)
        if self.scale == 1:
            strength = strength - self.init_alpha
        deviation_3 = within(self.sharp_kernel.to(dtype), self.base_taps, self.tap_bounds) - self.base_taps
        outer_3 = strength * self.base_taps + deviation_3
        centre_1 = (1.0 - 2.0 * outer_3.sum()).unsqueeze(0)
        return torch.cat((outer_3, centre_1, outer_3.flip(0)))

    def diagonal(self) -> Tensor:
        """The weight of the diagonal curvature as it is now, a scalar within `BIAS_BOUND` of 0."""
        return within(self.sharp_bias.to(self.base_taps.dtype), 0.0, BIAS_BOUND)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, s H, s W); half and bfloat16 are computed in float32."""
        check_image(x)
        dtype = compute_dtype(x.dtype)
        extended = extend(x.to(dtype), 4)
        # Sharpening shortens the extended image by 3 on every side; the curvature, with its radius of 1, by 2 + 1.
        inner = extended[:, :, 2:-2, 2:-2]
        curvature = torch.diff(torch.diff(inner, n=2, dim=2), n=2, dim=3)
        y = torch.addcmul(sharpen(extended, self.taps().to(dtype)), self.diagonal().to(dtype), curvature)
        y = y[:, :, 1:-1, 1:-1] if self.scale == 1 else enlarge(y, self.spline_phases.to(dtype))
        return y.to(x.dtype)

    def extra_repr(self) -> str:
        return f"scale={self.scale}, init_alpha={self.init_alpha:g}"
