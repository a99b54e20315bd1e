"""ParagonSR2 in eight sizes: a classical upscale plus a learnt residual."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.learnable_kernel import LearnableMagicKernelSharp2021Upsample
from ..ops.magic_kernel import MagicKernelSharp2021Upsample, check_alpha, check_scale
from .attention import WindowAttention
from .content_gain import ContentGain
from .layers import ResidualGroup, activate, sub_pixel
from .option_checks import check_flag, check_gain, check_input, check_whole, near_miss, refuse_unknown_options
from .sizes import SIZES, SizeRow

__all__ = ["SIZES", "ParagonSR2", "SizeRow", "build_paragonsr2"]


class ParagonSR2(nn.Module):
    """Dual-path super-resolution: `out = base(x) + gain * content_gain(x) * detail(x)`.

    (B, in_chans, H, W) in [0, 1] -> (B, in_chans, s H, s W), H and W >= 8. The output is not clamped.

    `base` is Magic Kernel Sharp 2021 (at s = 1 the input itself). `detail` is a chain of residual groups of dense 3x3
    convolutions on the low-resolution grid. A CPU, like a GPU, runs these closest to its peak speed. The last
    convolution has s^2 in_chans output channels, which a pixel shuffle turns into pixels. It starts at zero, so
    training starts exactly from the base. A zero start also leaves no checkerboard pattern, so ICNR (Aitken et al.,
    2017) is not needed. The body gets a gradient from the second step on.

    In evaluation mode the base is computed as `s^2 in_chans` channels too, with two small convolutions, and both paths
    share one pixel shuffle. The numbers are the same but for rounding. It is a little faster, and has few ONNX nodes.

    The arguments are kept as attributes, with defaults resolved.

    Args:
        variant: A key of `SIZES`.
        scale: 1, 2, 3, 4 or 8.
        upsampler_alpha: Sharpening of the base path, 0 (spline) to 2. 1 is Magic Kernel Sharp 2021. The default gives
            0.1 to 0.35 dB more than 1 on bicubic low-resolution images.
        detail_gain: Initial value of the learnable factor `gain`, in (0, 10]. None is 0.1.
        use_content_aware: Whether the detail of each image is scaled by a factor in (1/2, 3/2) that follows from its
            content.
        use_attention: Whether every group ends in window attention.
        use_learnable_magic_kernel: Whether the sharpening of the base path is learnt, within narrow bounds.
        in_chans: Channels of input and output, >= 1.

    Raises:
        ValueError: `variant` is unknown, `scale` is not supported, or an option has the wrong type or is out of range.
            In `forward`: the input has the wrong rank, type, number of channels or size. In `load_state_dict`: the
            weights are of a network of version 0.1.
    """

    def __init__(
        self,
        variant: str,
        *,
        scale: int,
        upsampler_alpha: float = 1.2,
        detail_gain: float | None = None,
        use_content_aware: bool = False,
        use_attention: bool = False,
        use_learnable_magic_kernel: bool = False,
        in_chans: int = 3,
    ) -> None:
        super().__init__()
        row = _size_row(variant)
        self.variant = variant
        self.scale = check_scale(scale)
        self.upsampler_alpha = check_alpha(upsampler_alpha, "upsampler_alpha")
        self.detail_gain = check_gain(0.1 if detail_gain is None else detail_gain)
        self.use_content_aware = check_flag("use_content_aware", use_content_aware)
        self.use_attention = check_flag("use_attention", use_attention)
        self.use_learnable_magic_kernel = check_flag("use_learnable_magic_kernel", use_learnable_magic_kernel)
        self.in_chans = check_whole("in_chans", in_chans, 1)

        upsampler = (
            LearnableMagicKernelSharp2021Upsample if use_learnable_magic_kernel else MagicKernelSharp2021Upsample
        )
        self.base = upsampler(scale, upsampler_alpha)
        """The base path alone, a module."""
        self.conv_in = nn.Conv2d(in_chans, row.features, 3, padding=1)
        self.body = nn.Sequential(*(self._group(row, index) for index in range(row.groups)))
        self.conv_out = nn.Conv2d(row.features, in_chans * scale**2, 3, padding=1)
        for parameter in self.conv_out.parameters():
            nn.init.zeros_(parameter)
        self.gain = nn.Parameter(torch.tensor(self.detail_gain))
        self.content_gain = ContentGain() if self.use_content_aware else None

    def _group(self, row: SizeRow, index: int) -> ResidualGroup:
        attention = None
        if self.use_attention:
            heads = max(1, row.features // 16)
            attention = WindowAttention(row.features, heads, shifted=index % 2 == 1, gamma=row.groups**-0.5)
        return ResidualGroup(row.features, row.convs, attention)

    @property
    def registered_name(self) -> str:
        """Name under which the host builds it, such as `paragonsr2_tiny`."""
        return f"paragonsr2_{self.variant}"

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) -> (B, in_chans, s H, s W)."""
        check_input(x, self.in_chans)
        # In channels last a CPU needs no reordering around a convolution. All later layers keep the layout.
        features = activate(self.body(self.conv_in(x.contiguous(memory_format=torch.channels_last))))
        # The gain multiplies the weights: a pass over the image costs more.
        weight, bias = self.conv_out.weight * self.gain, self.conv_out.bias
        assert bias is not None
        detail = F.conv2d(features, weight, bias * self.gain, padding=1)
        if self.content_gain is not None:
            detail = detail * self.content_gain(x)
        if self.training:
            return self.base(x) + sub_pixel(detail, self.scale).to(x.dtype)
        return sub_pixel((self.base.phases(x) + detail).to(x.dtype), self.scale)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        refuse_version_0_1(state_dict, prefix)
        super()._load_from_state_dict(  # pyright: ignore[reportUnknownMemberType]
            state_dict, prefix, *args, **kwargs
        )


def build_paragonsr2(variant: str, *, scale: int, **options: Any) -> ParagonSR2:
    """Build one of the eight sizes.

    Args:
        variant: One of nano, micro, tiny, xs, s, m, l, xl.
        scale: 1, 2, 3, 4 or 8.
        options: Options of `ParagonSR2`.

    Raises:
        ValueError: An option does not exist, and the message names all that do. Also the errors of `ParagonSR2`.
    """
    known = [name for name in inspect.signature(ParagonSR2).parameters if name not in ("variant", "scale")]
    refuse_unknown_options(options, known)
    return ParagonSR2(variant, scale=scale, **options)


def _size_row(variant: object) -> SizeRow:
    if not isinstance(variant, str) or variant not in SIZES:
        raise ValueError(f"unknown size {variant!r}{near_miss(variant, list(SIZES))}; valid ones: {', '.join(SIZES)}")
    return SIZES[variant]


def refuse_version_0_1(keys: Iterable[str], prefix: str = "") -> None:
    """Check that tensors are not of one of the eight sizes as version 0.1 had them.

    Args:
        keys: Names of the tensors.
        prefix: What stands before the names of the network.

    Raises:
        ValueError: They are.
    """
    if f"{prefix}body.0.blocks.0.context.row.gamma" in set(keys):
        raise ValueError(
            "these weights are of a ParagonSR2 size of version 0.1; that name is another network now: "
            "train anew, or use the weights with version 0.1"
        )
