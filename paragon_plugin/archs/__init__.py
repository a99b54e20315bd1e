"""Networks registered with the host: `paragonsr2_<size>` in eight sizes and `paragonsr2_<tier>` in four tiers."""

from .paragonsr2_arch import ENTRY_POINTS

__all__ = ["ENTRY_POINTS"]
