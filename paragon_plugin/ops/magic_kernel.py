"""Magic Kernel Sharp 2021 enlargement by an integer factor, in polyphase form.

The Magic Kernel is the quadratic B-spline. Its "Sharp 2021" form convolves it with a 7-tap filter on the
low-resolution grid. libvips calls the same kernel `mks2021`. Source: J. Costella, "The Magic Kernel".

Enlarging by an integer s meets the spline at only s distinct positions per axis. So the operation has two parts per
axis, both on the low-resolution grid: one 7-tap filter, then s different 3-tap filters. The results of these s filters
are interleaved into the output.

The filters are multiply-adds of shifted slices instead of convolutions (`benchmarks/base_upsampler.py` compares them
with nearest + blur). Autocast and TF32 shorten the mantissa of convolutions and matrix products, so they cannot change
this image. `phases` gives the same image before its pixel shuffle, by two convolutions: a network that shuffles its
detail too then shuffles once.

Shape suffixes: B batch, C channels, H and W low-resolution size, S scale, K taps, R terms of a sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from typing_extensions import Self

SCALES = (1, 2, 3, 4, 8)
"""Enlargement factors that every part of the package supports."""

ALPHA_RANGE = (0.0, 2.0)
"""Smallest and largest accepted strength of sharpening. 0 is the plain spline, 1 is Magic Kernel Sharp 2021."""

_SHARP_2021 = tuple(n / 144 for n in (-1, 6, -35, 204, -35, 6, -1))


def check_scale(scale: object) -> int:
    """Return `scale` as it is.

    Raises:
        ValueError: `scale` is not an integer of `SCALES`.
    """
    if isinstance(scale, bool) or not isinstance(scale, int) or scale not in SCALES:
        raise ValueError(f"scale must be one of {SCALES}, got {scale!r}")
    return scale


def check_alpha(alpha: object, name: str = "alpha") -> float:
    """Return `alpha` as a float.

    Args:
        alpha: Strength of sharpening.
        name: Name of the option, for the error message.

    Raises:
        ValueError: `alpha` is not a number within `ALPHA_RANGE`.
    """
    low, high = ALPHA_RANGE
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not low <= alpha <= high:
        raise ValueError(f"{name} must be a number from {low:g} (spline only) to {high:g}, got {alpha!r}")
    return float(alpha)


def sharp_taps(alpha: float = 1.0) -> tuple[float, ...]:
    """Sharpening taps blended with the identity: `(1 - alpha) * delta + alpha * [-1, 6, -35, 204, -35, 6, -1] / 144`.

    The 7 taps are symmetric and their sum is 1 for every `alpha`. They are applied along both axes. So at 0 < alpha < 1
    the two-dimensional filter is the product of two blended filters. It is not a blend of the sharpened image and the
    original image.

    Raises:
        ValueError: `alpha` is outside `ALPHA_RANGE`.
    """
    alpha = check_alpha(alpha)
    return tuple(alpha * tap + (1.0 - alpha) * (i == 3) for i, tap in enumerate(_SHARP_2021))


def magic_kernel(x: float) -> float:
    """The Magic Kernel, `x` low-resolution pixels from its centre: the quadratic B-spline, support 3, integral 1."""
    x = abs(x)
    if x <= 0.5:
        return 0.75 - x * x
    return 0.5 * (x - 1.5) ** 2 if x < 1.5 else 0.0


def spline_phases(scale: int) -> tuple[tuple[float, float, float], ...]:
    """Taps of the s phases of the spline.

    Row p weighs the low-resolution pixels k - 1, k, k + 1 for output pixel s k + p. This output pixel is at
    t = (p + 1/2) / s - 1/2 from the centre of low-resolution pixel k. Its taps are `magic_kernel(j - t)` for
    j = -1, 0, 1, normalised to sum 1.

    Raises:
        ValueError: `scale` is not supported.
    """
    check_scale(scale)
    rows: list[tuple[float, float, float]] = []
    for p in range(scale):
        t = (p + 0.5) / scale - 0.5
        left, mid, right = (magic_kernel(j - t) for j in (-1, 0, 1))
        total = left + mid + right
        rows.append((left / total, mid / total, right / total))
    return tuple(rows)


def check_image(x: Tensor) -> None:
    """Check the rank and type of an input.

    Raises:
        ValueError: `x` is not a floating-point batch of images (B, C, H, W).
    """
    if x.dim() != 4:
        raise ValueError(f"expected a batch of images (B, C, H, W), got a tensor of shape {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"expected floating-point images, got {x.dtype}; divide integers by their range first")


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type to compute in: float32 for shorter types, else `dtype`.

    In a shorter type a sum over 9 taps with negative lobes loses its last bits.
    """
    return torch.promote_types(dtype, torch.float32)


def extend(x_BCHW: Tensor, margin: int = 4) -> Tensor:
    """Repeat the edge pixels `margin` times on every side.

    Sharpening uses 3 pixels of the margin and the spline uses 1, so both together need 4. The image is extended once,
    then both filters run. The result is the same as with the composite 9-tap kernel on an endless image. A second
    extension between the filters would change the outermost pixels.
    """
    return F.pad(x_BCHW, (margin,) * 4, mode="replicate")


def sharpen(x_BCHW: Tensor, taps_K: Tensor) -> Tensor:
    """Filter both axes with 7 symmetric taps: (B, C, H, W) -> (B, C, H - 6, W - 6).

    Only the first four taps are read.
    """
    for dim in (3, 2):
        size = x_BCHW.shape[dim] - 6
        at = [x_BCHW.narrow(dim, i, size) for i in range(7)]
        x_BCHW = taps_K[3] * at[3]
        for i in range(3):
            # In place: new memory costs more time than the arithmetic, and no gradient needs the partial sums.
            x_BCHW.addcmul_(at[i] + at[6 - i], taps_K[i])
    return x_BCHW


def enlarge(x_BCHW: Tensor, phases_S3: Tensor) -> Tensor:
    """Apply the s phases of 3 taps along both axes and interleave: (B, C, H, W) -> (B, C, s (H - 2), s (W - 2))."""
    height, width = x_BCHW.shape[2] - 2, x_BCHW.shape[3] - 2

    # Columns first: interleaving them is strided and slow, and at this point there are s times fewer rows.
    left, mid, right = (x_BCHW.narrow(3, i, width) for i in range(3))
    columns: list[Tensor] = []
    for phase_3 in phases_S3.unbind():
        a, b, c = phase_3.unbind()
        columns.append((left * a).addcmul_(mid, b).addcmul_(right, c))
    y = torch.stack(columns, dim=4).flatten(3)

    above, mid, below = (y.narrow(2, i, height).unsqueeze(3) for i in range(3))
    a_S1, b_S1, c_S1 = phases_S3.unsqueeze(2).unbind(1)
    return (above * a_S1).addcmul_(mid, b_S1).addcmul_(below, c_S1).flatten(2, 3)


def composite_taps(taps_K: Tensor, phases_S3: Tensor) -> Tensor:
    """The 7 taps and the spline as one filter of 9 taps for each phase: `c[p][i + j] = w[p][j] q[i]`, (S, 9)."""
    parts = [phases_S3[:, j, None] * F.pad(taps_K, (j, 2 - j)) for j in range(3)]
    return parts[0] + parts[1] + parts[2]


def polyphase(x_BCHW: Tensor, columns_RS9: Tensor, rows_RS9: Tensor) -> Tensor:
    """Filter an image with separable filters for s x s phases: (B, C, H, W) -> (B, C s^2, H, W), borders replicated.

        y[c s^2 + p s + q] = sum_r rows[r][q] * (columns[r][p] * x[c])          1-D correlations, radius 4

    A pixel shuffle turns the phases into the enlarged image. These are two convolutions, so that a graph gets few
    nodes. Autocast does not shorten them. TF32 does: on a GPU that uses it, errors are about 1e-4. Half and bfloat16
    are computed in float32, which the result has.
    """
    if torch.is_autocast_enabled(x_BCHW.device.type):
        with torch.autocast(x_BCHW.device.type, enabled=False):
            return polyphase(x_BCHW, columns_RS9, rows_RS9)
    channels, (terms, scale, _) = x_BCHW.shape[1], rows_RS9.shape
    dtype = compute_dtype(x_BCHW.dtype)
    y = extend(x_BCHW.to(dtype)).contiguous(memory_format=torch.channels_last)
    down_R191 = columns_RS9.to(dtype).reshape(terms * scale, 1, 9, 1)
    along = torch.einsum("rqk,pt->pqrtk", rows_RS9.to(dtype), torch.eye(scale, dtype=dtype, device=y.device))
    along = along.reshape(scale * scale, terms * scale, 1, 9)
    y = F.conv2d(y, down_R191.repeat(channels, 1, 1, 1), groups=channels)
    return F.conv2d(y, along.repeat(channels, 1, 1, 1), groups=channels)


def magic_kernel_sharp_2021_upsample(x: Tensor, scale: int, alpha: float = 1.0) -> Tensor:
    """Enlarge images `scale` times with Magic Kernel Sharp 2021.

    Per axis, with taps q = `sharp_taps(alpha)` and phases w = `spline_phases(scale)`, borders replicated:

        y[s k + p] = sum_j w[p][j] * sum_i q[i] * x[k + j - 1 + i - 3]

    A constant image keeps its value everywhere. Sharpening overshoots: at an edge, values can leave the range of the
    input by about a tenth of that range. They are not clamped, so that the gradient passes.

    Args:
        x: Images (B, C, H, W), floating point, any H, W >= 1. Half and bfloat16 are computed in float32.
        scale: One of 1, 2, 3, 4, 8. With 1 the result is `x` itself.
        alpha: Strength of sharpening, 0 (spline only) to 2. 1 is Magic Kernel Sharp 2021.

    Returns:
        Images (B, C, s H, s W) in the dtype of `x`.

    Raises:
        ValueError: `scale` is not supported, `alpha` is outside `ALPHA_RANGE`, or `x` is not a floating-point batch of
            images.
    """
    check_scale(scale)
    check_image(x)
    taps = x.new_tensor(sharp_taps(alpha), dtype=compute_dtype(x.dtype))
    return _upsample(x, scale, taps if alpha > 0 else None, taps.new_tensor(spline_phases(scale)))


def _upsample(x: Tensor, scale: int, taps_K: Tensor | None, phases_S3: Tensor) -> Tensor:
    if scale == 1:
        return x
    dtype = compute_dtype(x.dtype)
    y = x.to(dtype)
    y = extend(y, 1) if taps_K is None else sharpen(extend(y), taps_K.to(dtype))
    return enlarge(y, phases_S3.to(dtype)).to(x.dtype)


class MagicKernelSharp2021Upsample(nn.Module):
    """`magic_kernel_sharp_2021_upsample` with its coefficients kept as buffers.

    The buffers follow the module between devices. They are computed, not learnt, so they are neither in `parameters()`
    nor in `state_dict()`. A checkpoint therefore loads with any strength of sharpening.

    Args:
        scale: One of 1, 2, 3, 4, 8.
        alpha: Strength of sharpening, 0 to 2, see `sharp_taps`.

    Raises:
        ValueError: The same as for the function.
    """

    sharp_taps: Tensor
    spline_phases: Tensor

    def __init__(self, scale: int, alpha: float = 1.0) -> None:
        super().__init__()
        self.scale = check_scale(scale)
        self.alpha = check_alpha(alpha)
        self.register_buffer("sharp_taps", torch.tensor(sharp_taps(alpha)), persistent=False)
        self.register_buffer("spline_phases", torch.tensor(spline_phases(scale)), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # The move gives device and precision only; the values are computed again. Without this `half()` would round
        # the coefficients, `double()` would keep their float32 values, and `to_empty()` would leave them unset.
        super()._apply(fn, recurse)  # pyright: ignore[reportUnknownMemberType]
        dtype = compute_dtype(self.sharp_taps.dtype)
        self.sharp_taps = torch.tensor(sharp_taps(self.alpha), dtype=dtype, device=self.sharp_taps.device)
        self.spline_phases = torch.tensor(spline_phases(self.scale), dtype=dtype, device=self.spline_phases.device)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, s H, s W)."""
        check_image(x)
        return _upsample(x, self.scale, self.sharp_taps if self.alpha > 0 else None, self.spline_phases)

    def phases(self, x: Tensor) -> Tensor:
        """The same image before its pixel shuffle: (B, C, H, W) -> (B, C s^2, H, W), see `polyphase`."""
        if self.scale == 1:
            return x
        taps_1S9 = composite_taps(self.sharp_taps, self.spline_phases)[None]
        return polyphase(x, taps_1S9, taps_1S9)

    def extra_repr(self) -> str:
        return f"scale={self.scale}, alpha={self.alpha:g}"
