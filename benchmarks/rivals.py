"""The networks that ours are compared with, x2: built for training with branches folded, and as they are deployed.

SPAN is spandrel's, ECBSR, SRVGGNetCompact and MSRResNet are BasicSR's; RLFN is written here from its paper.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SCALE = 2


class FoldedSpanConv(nn.Module):
    """SPAN's convolution of branches, 1x1, 3x3, 1x1 and beside them 1x1, as the single 3x3 convolution it is used as.

    The weights of the branches are what is trained. Gradients pass through the fold. In SPAN's own training form zeros
    surround the image before the first 1x1 convolution and its bias; when used, they surround the folded convolution.
    Here both are the latter, so training and use agree up to the border.
    """

    def __init__(self, branches: Any) -> None:
        super().__init__()
        self.first, self.second, self.third = branches.conv
        self.skip: nn.Conv2d = branches.sk

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight (out, in, 3, 3) and bias (out,)."""
        a, b = self.third.weight[:, :, 0, 0], self.first.weight[:, :, 0, 0]
        weight = torch.einsum("om,mnhw,ni->oihw", a, self.second.weight, b)
        weight = weight + F.pad(self.skip.weight, (1, 1, 1, 1))
        inner = self.second.weight.sum((2, 3)) @ self.first.bias + self.second.bias
        assert self.skip.bias is not None
        return weight, a @ inner + self.third.bias + self.skip.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, *self.folded(), padding=1)


class LocalAttention(nn.Module):
    """RLFN's enhanced spatial attention: a mask from a strided, pooled and enlarged view of the features."""

    def __init__(self, channels: int, inner: int = 16) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, inner, 1)
        self.stride = nn.Conv2d(inner, inner, 3, stride=2)
        self.pooled = nn.Conv2d(inner, inner, 3, padding=1)
        self.beside = nn.Conv2d(inner, inner, 1)
        self.expand = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(x)
        wide = self.pooled(F.max_pool2d(self.stride(y), 7, 3))
        wide = F.interpolate(wide, size=x.shape[2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.expand(wide + self.beside(y)))


class LocalFeatureBlock(nn.Module):
    """Three 3x3 convolutions with a skip, a 1x1 convolution, and the mask."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3))
        self.point = nn.Conv2d(channels, channels, 1)
        self.attention = LocalAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for conv in self.convs:
            y = F.leaky_relu(conv(y), 0.05)
        return self.attention(self.point(y + x))


class RLFN(nn.Module):
    """Residual local feature network (Kong et al., "Residual Local Feature Network for Efficient Super-Resolution",
    2022): 52 features, 6 blocks."""

    def __init__(self, channels: int = 52, blocks: int = 6) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(LocalFeatureBlock(channels) for _ in range(blocks)))
        self.fuse = nn.Conv2d(channels, channels, 3, padding=1)
        self.last = nn.Conv2d(channels, 3 * SCALE**2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return F.pixel_shuffle(self.last(self.fuse(self.blocks(y)) + y), SCALE)


def compact(features: int, convolutions: int) -> nn.Module:
    from basicsr.archs.srvgg_arch import SRVGGNetCompact

    return SRVGGNetCompact(num_feat=features, num_conv=convolutions, upscale=SCALE)


def residual(features: int, blocks: int) -> nn.Module:
    from basicsr.archs.srresnet_arch import MSRResNet

    return MSRResNet(num_feat=features, num_block=blocks, upscale=SCALE)


def ecbsr(blocks: int, channels: int) -> nn.Module:
    from basicsr.archs.ecbsr_arch import ECBSR

    class Folded(ECBSR):
        def train(self, mode: bool = True) -> Folded:  # noqa: ARG002
            return super().train(False)  # its training form is the same sum of branches, only slower

    return Folded(3, 3, blocks, channels, with_idt=False, act_type="prelu", scale=SCALE).train()


def span(features: int) -> nn.Module:
    from spandrel.architectures.SPAN import SPAN

    net = SPAN(num_in_ch=3, num_out_ch=3, feature_channels=features, upscale=SCALE)
    for owner in [net, *(net.get_submodule(f"block_{i}") for i in range(1, 7))]:
        for name, child in list(owner.named_children()):
            if hasattr(child, "eval_conv"):
                setattr(owner, name, FoldedSpanConv(child))
    return net


RIVALS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "ECBSR m4c16": ("ECBSR", partial(ecbsr, 4, 16)),
    "ECBSR m10c16": ("ECBSR", partial(ecbsr, 10, 16)),
    "SRVGG 16x4": ("SRVGGNetCompact", partial(compact, 16, 4)),
    "SRVGG 32x8": ("SRVGGNetCompact", partial(compact, 32, 8)),
    "SPAN 16": ("SPAN", partial(span, 16)),
    "SPAN 28": ("SPAN", partial(span, 28)),
    "SPAN 48": ("SPAN", partial(span, 48)),
    "MSRResNet 16x4": ("MSRResNet", partial(residual, 16, 4)),
    "RLFN": ("RLFN", RLFN),
}
"""Family and builder of each rival."""


def deployed(net: nn.Module) -> nn.Module:
    """The network as it is used: branches folded into plain convolutions."""
    for owner in list(net.modules()):
        for name, child in list(owner.named_children()):
            if isinstance(child, FoldedSpanConv):
                setattr(owner, name, plain(*child.folded()))
            elif hasattr(child, "rep_params") and hasattr(child, "act_type"):
                conv = plain(*child.rep_params())  # pyright: ignore[reportCallIssue]
                act = getattr(child, "act", None)
                setattr(owner, name, conv if act is None else nn.Sequential(conv, act))
    return net.eval()


def plain(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
    conv.weight.data, bias_data = weight.detach(), bias.detach()
    assert conv.bias is not None
    conv.bias.data = bias_data
    return conv
