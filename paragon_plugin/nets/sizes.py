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
        hidden: channels between a block's expansion and projection.
        band: length of the long depthwise filters, odd.
        detail_gain: default initial factor of the learnt detail.
        mixes: how many blocks of a group, from the first, end in a dense 3x3 convolution.
        closing: dense 3x3 convolutions at the end of a group.
        modulation: squeeze and excite in every block.
        use_attention: default of the option; window attention in the last block of every group.
        use_content_aware: default of the option; one factor per image on the detail.
    """

    features: int
    groups: int
    blocks: int
    hidden: int
    band: int
    detail_gain: float
    mixes: int
    closing: int
    modulation: bool
    use_attention: bool
    use_content_aware: bool

    @property
    def long_chain(self) -> bool:
        """Whether a group has more than four dense convolutions, which need variance-preserving weights to start."""
        return self.mixes + self.closing > 4


# Up to s, attention and modulation are off by default: they cost a tenth to a half of the time, which buys more PSNR
# when spent on convolutions (s with attention takes 1.6 times as long). `hidden` is 1.2 (nano), 1.5 (micro, tiny), 1.8
# (xs) or 2 times the features, at a whole number of vectors of 8 or 16 floats near that: a CPU computes whole ones.
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
