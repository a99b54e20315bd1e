"""Models that are registered with the host. They are small, because the arithmetic of the losses is shared."""

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
