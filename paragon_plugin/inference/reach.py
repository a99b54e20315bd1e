"""How far around an input pixel a network looks: the margin that a tile needs."""

from __future__ import annotations

from torch import nn

from ..nets.attention import WindowAttention
from ..nets.layers import MultiScaleContext
from ..nets.released_base import ReleasedBase, blur_reach
from ..nets.tier_attention import CyclicWindowAttention
from ..ops.learnable_kernel import LearnableMagicKernelSharp2021Upsample
from ..ops.magic_kernel import MagicKernelSharp2021Upsample

BASE_REACH = 4
"""Low-resolution pixels that Magic Kernel Sharp 2021 looks to each side: 3 taps of sharpening, 1 of the spline."""


def reach(module: nn.Module) -> int:
    """Input pixels to each side on which an output pixel can depend, statistics of the whole image aside.

    Convolutions, windows and classical upscalers add up along the network; parts that run side by side are taken at
    the widest where they are known here, else added too, so that the result is never too small.
    """
    if isinstance(module, MagicKernelSharp2021Upsample | LearnableMagicKernelSharp2021Upsample):
        return BASE_REACH
    if isinstance(module, ReleasedBase):
        return 3 + blur_reach(module.scale)
    if isinstance(module, WindowAttention | CyclicWindowAttention):
        return module.window - 1
    if isinstance(module, nn.Conv2d):
        return max(d * (k - 1) // 2 for k, d in zip(module.kernel_size, module.dilation, strict=True))
    children = dict(module.named_children())
    if isinstance(module, MultiScaleContext):
        return max(map(reach, children.values()))
    base = children.pop("base", None)  # runs beside the body
    return max(sum(map(reach, children.values())), 0 if base is None else reach(base))


def alignment(net: nn.Module) -> int:
    """Tiles start at multiples of this, so that the windows of attention are those of the whole image."""
    windowed = (m for m in net.modules() if isinstance(m, WindowAttention | CyclicWindowAttention))
    return max((module.window for module in windowed), default=1)
