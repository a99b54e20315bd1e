"""Networks registered with the host: `paragonsr2_nano` ... `paragonsr2_xl`."""

from .paragonsr2_arch import ENTRY_POINTS

__all__ = ["ENTRY_POINTS"]
