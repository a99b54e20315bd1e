"""The four released tiers of ParagonSR2 as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TierRow:
    """One tier.

    Attributes:
        features: channels of the body.
        groups: groups of blocks; a group has no skip of its own.
        blocks: blocks per group.
        block: kind of block, a key of `released.BLOCKS`.
        detail_gain: default initial factor of the learnt detail.
        upsampler_alpha: default sharpening of the released base; a checkpoint does not carry it.
    """

    features: int
    groups: int
    blocks: int
    block: str
    detail_gain: float
    upsampler_alpha: float


TIERS: dict[str, TierRow] = {
    "realtime": TierRow(16, 1, 3, "nano", 0.05, 0.3),
    "stream": TierRow(32, 2, 3, "stream", 0.1, 0.0),
    "photo": TierRow(64, 4, 4, "photo", 0.1, 0.4),
    "pro": TierRow(64, 6, 6, "pro", 0.1, 0.4),
}
