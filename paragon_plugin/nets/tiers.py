"""The four released tiers of ParagonSR2 as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TierRow:
    """One tier."""

    features: int
    """Channels of the body."""
    groups: int
    """Number of groups of blocks. A group has no skip of its own."""
    blocks: int
    """Blocks per group."""
    block: str
    """Kind of block, a key of `released.BLOCKS`."""
    detail_gain: float
    """Default initial factor of the learnt detail."""
    upsampler_alpha: float
    """Default sharpening of the released base. It is not in a checkpoint."""


TIERS: dict[str, TierRow] = {
    "realtime": TierRow(16, 1, 3, "nano", 0.05, 0.3),
    "stream": TierRow(32, 2, 3, "stream", 0.1, 0.0),
    "photo": TierRow(64, 4, 4, "photo", 0.1, 0.4),
    "pro": TierRow(64, 6, 6, "pro", 0.1, 0.4),
}
