"""ParagonSR2 in eight sizes: a classical upscale plus a learnt residual."""

from __future__ import annotations

import inspect
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.learnable_kernel import LearnableMagicKernelSharp2021Upsample
from ..ops.magic_kernel import MagicKernelSharp2021Upsample, check_alpha, check_scale
from .blocks import SLOPE, ParagonBlock, ResidualGroup
from .content_gain import ContentGain
from .layers import sub_pixel
from .option_checks import check_flag, check_gain, check_input, check_whole, near_miss, refuse_unknown_options
from .sizes import SIZES, SizeRow

__all__ = ["SIZES", "ParagonSR2", "SizeRow", "build_paragonsr2"]


class ParagonSR2(nn.Module):
    """Dual-path super-resolution: `out = base(x) + gain * content_gain(x) * detail(x)`.

    (B, in_chans, H, W) in [0, 1] -> (B, in_chans, s H, s W), H and W >= 8. The output is not clamped.

    `base` is Magic Kernel Sharp 2021 (at s = 1 the input itself). `detail` is a residual body on the low-resolution
    grid. Its last convolution has s^2 in_chans output channels, which a pixel shuffle turns into pixels. This
    convolution starts at zero, so training starts exactly from the base. A zero start also leaves no checkerboard
    pattern, so ICNR (Aitken et al., 2017) is not needed. The body gets a gradient from the second step on.

    Groups are residual, so the features of `conv_in` reach the last convolution through a chain of skips. One more skip
    around the body would only double them. All residuals start with the scale 1 / sqrt(number of all blocks). This
    bounds the growth of the features for any depth.

    The arguments are kept as attributes, with defaults resolved.

    Args:
        variant: A key of `SIZES`.
        scale: 1, 2, 3, 4 or 8.
        upsampler_alpha: Sharpening of the base path, 0 (spline) to 2. 1 is Magic Kernel Sharp 2021. The default gives
            0.1 to 0.3 dB more than 1 on bicubic low-resolution images.
        detail_gain: Initial value of the learnable factor `gain`, in (0, 10]. None takes the default of the size.
        use_content_aware: Whether the detail of each image is scaled by a factor in (1/2, 3/2) that follows from its
            content. None takes the default of the size.
        use_attention: Whether the last block of every group has window attention. None takes the default of the size.
        use_learnable_magic_kernel: Whether the sharpening of the base path is learnt, within narrow bounds.
        in_chans: Channels of input and output, >= 1.

    Raises:
        ValueError: `variant` is unknown, `scale` is not supported, or an option has the wrong type or is out of range.
            In `forward`: the input has the wrong rank, type, number of channels or size.
    """

    def __init__(
        self,
        variant: str,
        *,
        scale: int,
        upsampler_alpha: float = 1.2,
        detail_gain: float | None = None,
        use_content_aware: bool | None = None,
        use_attention: bool | None = None,
        use_learnable_magic_kernel: bool = False,
        in_chans: int = 3,
    ) -> None:
        super().__init__()
        row = _size_row(variant)
        self.variant = variant
        self.scale = check_scale(scale)
        self.upsampler_alpha = check_alpha(upsampler_alpha, "upsampler_alpha")
        self.detail_gain = check_gain(row.detail_gain if detail_gain is None else detail_gain)
        self.use_content_aware = check_flag(
            "use_content_aware", row.use_content_aware if use_content_aware is None else use_content_aware
        )
        self.use_attention = check_flag("use_attention", row.use_attention if use_attention is None else use_attention)
        self.use_learnable_magic_kernel = check_flag("use_learnable_magic_kernel", use_learnable_magic_kernel)
        self.in_chans = check_whole("in_chans", in_chans, 1)

        upsampler = (
            LearnableMagicKernelSharp2021Upsample if use_learnable_magic_kernel else MagicKernelSharp2021Upsample
        )
        self.base = upsampler(scale, upsampler_alpha)
        """The base path alone, a module."""
        self.conv_in = nn.Conv2d(in_chans, row.features, 3, padding=1)
        self.body = nn.Sequential(*(self._group(row, shift=index % 2 == 1) for index in range(row.groups)))
        self.conv_out = nn.Conv2d(row.features, in_chans * scale**2, 3, padding=1)
        for parameter in self.conv_out.parameters():
            nn.init.zeros_(parameter)
        self.gain = nn.Parameter(torch.tensor(self.detail_gain))
        self.content_gain = ContentGain() if self.use_content_aware else None

    def _group(self, row: SizeRow, shift: bool) -> ResidualGroup:
        gamma = (row.groups * row.blocks) ** -0.5
        blocks = [
            ParagonBlock(
                row.features,
                row.hidden,
                row.band,
                gamma=gamma,
                mix=index < row.mixes,
                keep_variance=row.long_chain,
                modulation=row.modulation,
                shift=shift if self.use_attention and index == row.blocks - 1 else None,
            )
            for index in range(row.blocks)
        ]
        return ResidualGroup(blocks, row.features, row.closing, gamma=gamma, keep_variance=row.long_chain)

    @property
    def registered_name(self) -> str:
        """Name under which the host builds it, such as `paragonsr2_tiny`."""
        return f"paragonsr2_{self.variant}"

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) -> (B, in_chans, s H, s W)."""
        check_input(x, self.in_chans)
        base = self.base(x)
        # Depthwise convolutions on a CPU are 5 to 15 times faster in channels last. All later layers keep the layout.
        features = self.body(self.conv_in(x.contiguous(memory_format=torch.channels_last)))
        detail = self.conv_out(F.leaky_relu(features, SLOPE, inplace=True))
        gain = self.gain if self.content_gain is None else self.gain * self.content_gain(x)
        return torch.addcmul(base, gain.to(base.dtype), sub_pixel(detail, self.scale).to(base.dtype))


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
