"""The eight sizes of ParagonSR2 as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SizeRow:
    """One size.

    Attributes:
        features: channels of the body.
        groups: residual groups.
        blocks: blocks per group.
        expansion: hidden channels of a block over `features`, before rounding up to a multiple of 8.
        band: length of the long depthwise filters, odd.
        detail_gain: default initial factor of the learnt detail.
        mixes: how many blocks of a group, from the first, end in a dense 3x3 convolution; the group always does.
        modulation: squeeze and excite in every block.
        use_attention: default of the option; window attention in the last block of every group.
    """

    features: int
    groups: int
    blocks: int
    expansion: float
    band: int
    detail_gain: float
    mixes: int
    modulation: bool
    use_attention: bool

    @property
    def hidden(self) -> int:
        """Hidden channels of a block: whole vectors of 8 floats run at the speed of the fewer, odd ones."""
        return -(-round(self.features * self.expansion) // 8) * 8


# Attention and modulation are off up to s: there they take a tenth to a half of the time budget, which buys more PSNR
# when spent on convolutions.
SIZES: dict[str, SizeRow] = {
    "nano": SizeRow(12, 1, 1, 1.2, 7, 0.05, mixes=1, modulation=False, use_attention=False),
    "micro": SizeRow(16, 1, 2, 1.5, 7, 0.08, mixes=1, modulation=False, use_attention=False),
    "tiny": SizeRow(24, 2, 2, 1.5, 9, 0.1, mixes=1, modulation=False, use_attention=False),
    "xs": SizeRow(32, 2, 3, 1.8, 11, 0.1, mixes=2, modulation=False, use_attention=False),
    "s": SizeRow(48, 3, 4, 2.0, 11, 0.1, mixes=3, modulation=False, use_attention=False),
    "m": SizeRow(64, 4, 6, 2.0, 11, 0.1, mixes=5, modulation=True, use_attention=True),
    "l": SizeRow(96, 6, 8, 2.0, 13, 0.1, mixes=7, modulation=True, use_attention=True),
    "xl": SizeRow(128, 8, 10, 2.0, 15, 0.1, mixes=9, modulation=True, use_attention=True),
}
