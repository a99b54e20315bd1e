"""What the scheduler is told about the losses, and what it is told about one loss at one step."""

from dataclasses import dataclass

from .options import LossRole


@dataclass(frozen=True)
class LossInfo:
    """One scheduled loss of the recipe."""

    name: str
    role: LossRole
    base_weight: float
    """Configured weight, not 0; a negative weight keeps its sign."""


@dataclass(frozen=True)
class Reading:
    """One loss at one step, with its base weight, averaged over ranks."""

    value: float
    """L_i."""
    gradient_norm: float
    """n_i = mean over samples of the L2 norm of dL_i/dy."""
    ramp: float = 1.0
    """Factor of a rising weight (`ramp_iter`) at this step, beside what the scheduler decides."""
