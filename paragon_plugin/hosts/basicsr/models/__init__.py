"""Models that are registered with the host: thin, for the loss arithmetic is shared."""

from .paragon_gan_model import ParagonESRGANModel, ParagonGANModel
from .paragon_realesrgan_models import ParagonRealESRGANModel, ParagonRealESRNetModel
from .paragon_sr_model import ParagonSRModel

__all__ = [
    "ParagonESRGANModel",
    "ParagonGANModel",
    "ParagonRealESRGANModel",
    "ParagonRealESRNetModel",
    "ParagonSRModel",
]
