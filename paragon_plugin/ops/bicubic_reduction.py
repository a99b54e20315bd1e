"""MATLAB-style bicubic reduction of 8-bit images by a whole number, exactly.

`imresize(hr, 1/s, 'bicubic')` of MATLAB, antialiased: the cubic convolution kernel (a = -1/2) stretched by s, symmetric
borders, one rounding to 8 bits at the end. The kernel's taps at these scales are whole numbers over a common
denominator, and sums of them with 8-bit values are exact in float64. So a pixel of the result depends on the pixels
under the kernel alone: a patch that is reduced by itself, with its surroundings, equals the patch of the reduced image.

R. Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 29(6), 1981.
"""

from functools import cache

import torch
from torch import Tensor


def bicubic_reduction(hr: Tensor, scale: int, region: tuple[int, int, int, int] | None = None) -> Tensor:
    """Reduce an image by a whole number.

    Args:
        hr: Image (H, W, C), uint8. What H and W have over multiples of the scale is left out at the bottom and on the
            right.
        scale: s >= 1; 1 gives the image itself.
        region: Top, left, height and width of the part that is wanted, in pixels of the result; None: all of it.

    Returns:
        (H // s, W // s, C), uint8, or the region of it.

    Raises:
        ValueError: The region is not inside the result, or the image is no 8-bit image.
    """
    if hr.dtype != torch.uint8 or hr.dim() != 3:
        kind = f"{type(hr).__name__} of {hr.dtype} {tuple(hr.shape)}"
        raise ValueError(f"must be an 8-bit image as a tensor (H, W, C), is {kind}")
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    top, left, rows, columns = region or (0, 0, height, width)
    if min(top, left) < 0 or min(rows, columns) < 1 or top + rows > height or left + columns > width:
        raise ValueError(f"no region {region} in a result of {height} x {width}")
    if scale == 1:
        return hr[top : top + rows, left : left + columns].clone()
    part = _under_the_kernels(hr, 0, top, rows, scale, height)
    part = _under_the_kernels(part, 1, left, columns, scale, width)
    taps = _taps(scale)
    down = _weighted_sums(part, 0, taps, scale, rows)
    across = _weighted_sums(down, 1, taps, scale, columns)
    unit = sum(taps) ** 2
    return ((across + unit / 2) / unit).floor().clamp(0, 255).to(torch.uint8)


def _under_the_kernels(image: Tensor, axis: int, first: int, count: int, scale: int, size: int) -> Tensor:
    """What `count` results need along an axis that gives `size` of them; mirrored beyond its borders."""
    taps, whole = len(_taps(scale)), size * scale
    start = first * scale - (taps - scale) // 2
    length = scale * (count - 1) + taps
    if start >= 0 and start + length <= whole:
        return image.narrow(axis, start, length)
    places = torch.arange(start, start + length).remainder(2 * whole)
    return image.index_select(axis, torch.where(places < whole, places, 2 * whole - 1 - places))


def _weighted_sums(image: Tensor, axis: int, taps: tuple[int, ...], scale: int, count: int) -> Tensor:
    """Sums along an axis, `scale` apart, not divided by the sum of the taps; float64."""
    shape = list(image.shape)
    shape[axis] = count
    total = torch.zeros(shape, dtype=torch.float64)
    step = [slice(None)] * image.dim()
    for place, tap in enumerate(taps):
        step[axis] = slice(place, place + scale * (count - 1) + 1, scale)
        total.add_(image[tuple(step)], alpha=tap)
    return total


@cache
def _taps(scale: int) -> tuple[int, ...]:
    """Whole numbers 2 (2 s)^3 k(d / (2 s)), d: distance from the centre of the result, in half pixels."""
    unit = 2 * scale

    def tap(d: int) -> int:
        if d <= unit:
            return 3 * d**3 - 5 * d**2 * unit + 2 * unit**3
        return -(d**3) + 5 * d**2 * unit - 8 * d * unit**2 + 4 * unit**3

    return tuple(tap(abs(d)) for d in range(-4 * scale + 1, 4 * scale) if (d - scale + 1) % 2 == 0)
