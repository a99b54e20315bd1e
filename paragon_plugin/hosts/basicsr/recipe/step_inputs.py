"""What the losses of one batch compare the network's output with."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ....scheduling.options import LossRole
from .discriminator_pass import DiscriminatorPass


@dataclass(frozen=True)
class StepInputs:
    """Everything beside the output that a loss may look at. All images are RGB in [0, 1]."""

    gt: Tensor
    """Ground truth (B, 3, sH, sW)."""
    targets: Mapping[LossRole, Tensor] = field(default_factory=dict)
    """Ground truth in another form for some roles: Real-ESRGAN sharpens it."""
    ema_output: Tensor | None = None
    """Output of the averaged network, for losses that compare with it."""
    discriminator: DiscriminatorPass | None = None
    """The discriminator's pass over this batch, shared by the adversarial losses."""

    def target(self, role: LossRole) -> Tensor:
        """What a loss of this role compares with."""
        return self.targets.get(role, self.gt)
