"""Models registered with the host: thin, the loss arithmetic is shared."""

from .paragon_sr_model import ParagonSRModel

__all__ = ["ParagonSRModel"]
