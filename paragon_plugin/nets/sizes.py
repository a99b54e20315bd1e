"""The eight sizes of ParagonSR2 as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SizeRow:
    """One size."""

    features: int
    """Channels of the body."""
    groups: int
    """Number of residual groups."""
    blocks: int
    """Blocks per group."""
    hidden: int
    """Channels between expansion and projection of a block."""
    band: int
    """Length of the long depthwise filters, odd."""
    detail_gain: float
    """Default initial factor of the learnt detail."""
    mixes: int
    """Number of blocks per group, counted from the first, that end in a dense 3x3 convolution."""
    closing: int
    """Dense 3x3 convolutions at the end of a group."""
    modulation: bool
    """Whether every block has squeeze and excite."""
    use_attention: bool
    """Default of the option: window attention in the last block of every group."""
    use_content_aware: bool
    """Default of the option: one factor per image on the detail."""

    @property
    def long_chain(self) -> bool:
        """Whether a group has more than four dense convolutions. They need variance-preserving initial weights."""
        return self.mixes + self.closing > 4


# Up to s, attention and modulation are off by default. They cost a tenth to a half of the time, and convolutions give
# more PSNR for that time (s with attention takes 1.6 times as long). `hidden` is about 1.2 (nano), 1.5 (micro, tiny),
# 1.8 (xs) or 2 times the features. It is rounded to whole vectors of 8 or 16 floats, because a CPU computes whole ones.
# fmt: off
SIZES: dict[str, SizeRow] = {
    # features, groups, blocks, hidden, band, detail_gain, mixes, closing, modulation, attention, content-aware
    "nano": SizeRow(12, 1, 1, 16, 7, 0.05, 1, 1, False, False, True),
    "micro": SizeRow(16, 1, 2, 24, 7, 0.08, 1, 2, False, False, True),
    "tiny": SizeRow(24, 2, 2, 32, 9, 0.1, 1, 1, False, False, True),
    "xs": SizeRow(32, 2, 3, 64, 11, 0.1, 3, 1, False, False, True),
    "s": SizeRow(48, 3, 4, 96, 11, 0.1, 2, 1, False, False, True),
    "m": SizeRow(64, 4, 6, 128, 11, 0.1, 6, 1, True, True, True),
    "l": SizeRow(96, 6, 8, 192, 13, 0.1, 8, 1, True, True, True),
    "xl": SizeRow(128, 8, 10, 256, 15, 0.1, 10, 1, True, True, True),
}
# fmt: on
