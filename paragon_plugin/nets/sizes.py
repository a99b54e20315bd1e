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
    convs: int
    """3x3 convolutions in a group."""
    detail_gain: float
    """Default initial factor of the learnt detail."""


# Features are multiples of 16: CPUs and GPUs compute whole vectors, so 24 features take almost the time of 32. The three
# smallest differ in depth alone: 16 features nine deep are better than 32 features three deep, and faster.
SIZES: dict[str, SizeRow] = {
    # features, groups, convs, detail_gain
    "nano": SizeRow(16, 1, 3, 0.1),
    "micro": SizeRow(16, 2, 3, 0.1),
    "tiny": SizeRow(16, 3, 3, 0.1),
    "xs": SizeRow(32, 4, 3, 0.1),
    "s": SizeRow(48, 6, 3, 0.1),
    "m": SizeRow(64, 12, 3, 0.1),
    "l": SizeRow(96, 24, 3, 0.1),
    "xl": SizeRow(128, 40, 3, 0.1),
}
