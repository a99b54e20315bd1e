"""The released tiers of ParagonSR2: networks that load the public checkpoints strictly and give the same images."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..ops.magic_kernel import MagicKernelSharp2021Upsample, check_alpha, check_scale
from .layers import sub_pixel
from .option_checks import check_flag, check_gain, check_input, check_whole, near_miss, refuse_unknown_options
from .released_base import ReleasedBase
from .tier_attention import Windows, cyclic_windows
from .tier_blocks import BlockSequence, NanoBlock, PhotoBlock, ProBlock, StreamBlock
from .tiers import TIERS, TierRow

__all__ = ["BASES", "BLOCKS", "TIERS", "ReleasedParagonSR2", "TierRow", "build_released"]

BASES = ("magic_kernel_sharp", "released")
"""Classical upscales that a tier can have as its base."""

MAGIC_KERNEL_ALPHA = 1.2
"""Default sharpening of the base `magic_kernel_sharp`, the same as for the eight sizes."""

BLOCKS: dict[str, Callable[[int, float, int | None], nn.Module]] = {
    "nano": lambda channels, gamma, _: NanoBlock(channels, gamma=gamma),
    "stream": lambda channels, gamma, _: StreamBlock(channels, gamma=gamma),
    "photo": lambda channels, gamma, window: PhotoBlock(channels, gamma=gamma, window=window),
    "pro": lambda channels, gamma, window: ProBlock(channels, gamma=gamma, window=window),
}
"""Builders of the blocks, from channels, initial scale of the residuals, and side of the windows or None."""

ATTENDING = ("photo", "pro")
"""Keys of the blocks with window attention."""


class ReleasedParagonSR2(nn.Module):
    """Dual-path super-resolution of the released tiers: `out = base(x) + detail_gain * detail(x)`.

    (B, in_chans, H, W) in [0, 1] -> (B, in_chans, s H, s W), H and W >= 8. The output is not clamped.

        features = conv_in(x)                                                      (B, F, H, W)
        features = (1 - alpha) * features + alpha * prev_feat                      video, with `prev_feat`
        detail = conv_out(pixel_shuffle(up(conv_mid(body(features)))))

    A network has one of two bases. A new network has Magic Kernel Sharp 2021, which is the better upscale. Its
    checkpoints have no keys `base.*`. A released checkpoint contains its own kernels under `base.*` and was trained
    with them. So loading it replaces the base by `ReleasedBase`, which is part of the state from then on. The same
    option block therefore trains from scratch, fine-tunes, resumes both kinds, and loads every checkpoint strictly. If
    `base` is given, the base never changes, and strict loading refuses a checkpoint with the other base.

    The arguments `tier`, `scale`, `window_size`, `use_checkpointing`, `export_safe` and `in_chans` are kept as
    attributes.

    Args:
        tier: A key of `TIERS`.
        scale: 1, 2, 3, 4 or 8.
        upsampler_alpha: Sharpening of the base, 0 to 2. None takes 1.2 for Magic Kernel Sharp 2021, and the value of
            the tier for the released base. It is not in a checkpoint. A checkpoint that was trained with another value
            needs that value given here.
        detail_gain: Initial value of the learnable factor, in (0, 10]. None takes the default of the tier.
        window_size: Side of the attention windows of photo and pro in pixels, >= 2. It is not in a checkpoint.
        use_checkpointing: Whether each block is computed again in the backward pass. Its features are then not kept.
        export_safe: Whether photo and pro are built without window attention and its parameters.
        base: "magic_kernel_sharp", "released", or None for the rule above.
        in_chans: Channels of input and output, >= 1.

    Raises:
        ValueError: `tier` is unknown, `scale` is not supported, or an option has the wrong type or is out of range. In
            `forward`: the input or `prev_feat` has the wrong rank, type, number of channels or size, or `alpha` is
            outside 0 to 1.
    """

    base: nn.Module
    """The base path alone, a module."""

    def __init__(
        self,
        tier: str,
        *,
        scale: int,
        upsampler_alpha: float | None = None,
        detail_gain: float | None = None,
        window_size: int = 16,
        use_checkpointing: bool = False,
        export_safe: bool = False,
        base: str | None = None,
        in_chans: int = 3,
    ) -> None:
        super().__init__()
        row = _tier_row(tier)
        self.tier = tier
        self.scale = check_scale(scale)
        self.window_size = check_whole("window_size", window_size, 2)
        self.use_checkpointing = check_flag("use_checkpointing", use_checkpointing)
        self.export_safe = check_flag("export_safe", export_safe)
        self.in_chans = check_whole("in_chans", in_chans, 1)
        if base is not None and base not in BASES:
            raise ValueError(f"base must be one of {', '.join(BASES)}, or left out, got {base!r}")
        self._window = None if export_safe or row.block not in ATTENDING else window_size
        self._fixed_base = base
        self._given_alpha = None if upsampler_alpha is None else check_alpha(upsampler_alpha, "upsampler_alpha")

        self.base = self._base(base or "magic_kernel_sharp")
        self.conv_in = nn.Conv2d(in_chans, row.features, 3, padding=1)
        self.body = nn.Sequential(*(self._group(row, index) for index in range(row.groups)))
        self.conv_mid = nn.Conv2d(row.features, row.features, 3, padding=1)
        self.up = nn.Sequential(nn.Conv2d(row.features, row.features * scale**2, 3, padding=1))
        self.conv_out = nn.Conv2d(row.features, in_chans, 3, padding=1)
        self.detail_gain = nn.Parameter(
            torch.tensor(check_gain(row.detail_gain if detail_gain is None else detail_gain))
        )
        """The learnable factor on the detail, a parameter."""

    @property
    def upsampler_alpha(self) -> float:
        """Sharpening of the base in use."""
        assert isinstance(self.base, ReleasedBase | MagicKernelSharp2021Upsample)
        return self.base.alpha

    def _base(self, name: str) -> nn.Module:
        given = self._given_alpha
        if name == "released":
            return ReleasedBase(self.in_chans, self.scale, TIERS[self.tier].upsampler_alpha if given is None else given)
        return MagicKernelSharp2021Upsample(self.scale, MAGIC_KERNEL_ALPHA if given is None else given)

    def _group(self, row: TierRow, group: int) -> BlockSequence:
        # As in the eight sizes, this bounds the growth of the features for any depth.
        gamma = (row.groups * row.blocks) ** -0.5
        blocks = [BLOCKS[row.block](row.features, gamma, self._window) for _ in range(row.blocks)]
        return BlockSequence(blocks, first=group * row.blocks, use_checkpointing=self.use_checkpointing)

    def _windows(self, features_BCHW: Tensor) -> tuple[Windows, Windows] | None:
        """The windows of attention, unshifted and shifted by half a window, for all blocks. None without attention."""
        if self._window is None:
            return None
        cut = partial(cyclic_windows, *features_BCHW.shape[2:], self._window, device=features_BCHW.device)
        return cut(shift=0), cut(shift=self._window // 2)

    @property
    def registered_name(self) -> str:
        """Name under which the host builds it, such as `paragonsr2_photo`."""
        return f"paragonsr2_{self.tier}"

    def forward(
        self, x: Tensor, prev_feat: Tensor | None = None, alpha: float = 0.2, feature_tap: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Upscale a batch of images or, frame by frame, a video.

        Args:
            x: Images (B, in_chans, H, W).
            prev_feat: Features (B, F, H, W) of the previous frame, as returned with `feature_tap`.
            alpha: Weight of `prev_feat` in the blend, 0 (nothing) to 1.
            feature_tap: Whether the features of this frame, after blending, are returned too.

        Returns:
            Images (B, in_chans, s H, s W). With `feature_tap` a pair: these images and features (B, F, H, W).
        """
        check_input(x, self.in_chans)
        # Depthwise convolutions on a CPU are 5 to 15 times faster in channels last. All later layers keep the layout.
        features = self.conv_in(x.contiguous(memory_format=torch.channels_last))
        if prev_feat is not None:
            _check_video(features, prev_feat, alpha)
            features = (1.0 - alpha) * features + alpha * prev_feat
        windows = self._windows(features)
        y = features
        for group in self.body:
            y = group(y, windows)
        detail = self.conv_out(sub_pixel(self.up(self.conv_mid(y)), self.scale))
        base = self.base(x)
        out = torch.addcmul(base, self.detail_gain.to(base.dtype), detail.to(base.dtype))
        return (out, features) if feature_tap else out

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # The child modules are loaded after this call, so the base must already be the one of the checkpoint.
        brings_base = any(key.startswith(f"{prefix}base.") for key in state_dict)
        if brings_base and self._fixed_base is None and not isinstance(self.base, ReleasedBase):
            self.base = self._base("released").to(self.detail_gain).train(self.training)
        super()._load_from_state_dict(  # pyright: ignore[reportUnknownMemberType]
            state_dict, prefix, *args, **kwargs
        )


def build_released(tier: str, *, scale: int, **options: Any) -> ReleasedParagonSR2:
    """Build one of the four released tiers.

    Args:
        tier: One of realtime, stream, photo, pro.
        scale: 1, 2, 3, 4 or 8.
        options: Options of `ReleasedParagonSR2`.

    Raises:
        ValueError: An option does not exist, and the message names all that do. Also the errors of
            `ReleasedParagonSR2`.
    """
    known = [name for name in inspect.signature(ReleasedParagonSR2).parameters if name not in ("tier", "scale")]
    refuse_unknown_options(options, known)
    return ReleasedParagonSR2(tier, scale=scale, **options)


def _tier_row(tier: object) -> TierRow:
    if not isinstance(tier, str) or tier not in TIERS:
        raise ValueError(f"unknown tier {tier!r}{near_miss(tier, list(TIERS))}; valid ones: {', '.join(TIERS)}")
    return TIERS[tier]


def _check_video(features: Tensor, prev_feat: Tensor, alpha: float) -> None:
    if torch.compiler.is_compiling():
        return
    if prev_feat.shape != features.shape:
        raise ValueError(f"prev_feat must have shape {tuple(features.shape)}, got {tuple(prev_feat.shape)}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be from 0 to 1, got {alpha!r}")
