"""What the scheduler remembers of one loss."""

from dataclasses import dataclass


@dataclass
class LossState:
    """Window, calibration and multiplier of one loss; plain numbers, saved as they are."""

    observed: int = 0
    """Iterations of the baseline window so far."""
    informative: int = 0
    """Those of them whose readings say something: a vanished gradient does not."""
    calibrated_at: int | None = None
    ease_iterations: int = 1
    calibration: float = 1.0
    multiplier: float = 1.0

    def eased_calibration(self, iteration: int) -> float:
        """u_i on its way from 1 to its value, geometrically, over as many iterations as its window had."""
        if self.calibrated_at is None:
            return 1.0
        part = min(1.0, (iteration - self.calibrated_at) / self.ease_iterations)
        return self.calibration**part

    def easing(self, iteration: int) -> bool:
        """Whether the calibration is still on its way."""
        return self.calibrated_at is not None and iteration < self.calibrated_at + self.ease_iterations

    def factor(self, iteration: int) -> float:
        """u_i m_i."""
        return self.eased_calibration(iteration) * self.multiplier
