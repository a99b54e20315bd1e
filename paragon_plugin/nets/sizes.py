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


# Features are multiples of 16: CPUs and GPUs compute whole vectors, so 24 features take almost the time of 32.
# Up to xs they differ in depth alone: 16 features nine deep are better than 32 three deep, and faster, and so are 16
# features 24 deep beside 32 twelve deep.
SIZES: dict[str, SizeRow] = {
    # features, groups, convs
    "nano": SizeRow(16, 1, 3),
    "micro": SizeRow(16, 2, 3),
    "tiny": SizeRow(16, 3, 3),
    "xs": SizeRow(16, 8, 3),
    "s": SizeRow(48, 6, 3),
    "m": SizeRow(64, 12, 3),
    "l": SizeRow(96, 24, 3),
    "xl": SizeRow(128, 40, 3),
}
