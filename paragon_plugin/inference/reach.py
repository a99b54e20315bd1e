"""The reach of a network around an input pixel. It is the margin that a tile needs."""

from __future__ import annotations

from torch import nn

from ..nets.attention import WindowAttention
from ..nets.released_base import ReleasedBase, blur_reach
from ..nets.tier_attention import CyclicWindowAttention
from ..ops.learnable_kernel import LearnableMagicKernelSharp2021Upsample
from ..ops.magic_kernel import MagicKernelSharp2021Upsample

BASE_REACH = 4
"""Reach of Magic Kernel Sharp 2021 in low-resolution pixels to each side: 3 of sharpening, 1 of the spline."""


def reach(module: nn.Module) -> int:
    """Number of input pixels to each side on which an output pixel can depend.

    Statistics of the whole image are not counted. The reaches of convolutions, windows and classical upscalers are
    added along the network. Of parallel parts only the largest reach counts, where these parts are known here. The
    reaches of unknown parallel parts are added too, so the result is never too small.
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
    base = children.pop("base", None)  # parallel to the body
    return max(sum(map(reach, children.values())), 0 if base is None else reach(base))


def alignment(net: nn.Module) -> int:
    """Step of the positions where tiles start, in pixels.

    With it the windows of attention are the same in a tile as in the whole image.
    """
    windowed = (m for m in net.modules() if isinstance(m, WindowAttention | CyclicWindowAttention))
    return max((module.window for module in windowed), default=1)
