"""When losses or gradients are not finite for so long that training cannot go on."""

from collections.abc import Sequence

from ..errors import RunError

MAX_OVERFLOWS = 40
"""Float16 steps in a row that may overflow: each halves the loss scale, which starts at 2^16."""


class NonFiniteLossError(RunError):
    """Losses stayed NaN or infinite for too many steps in a row."""

    def __init__(self, names: Sequence[str], steps: int, where: str = ""):
        super().__init__(
            f"{', '.join(names)} gave NaN or infinity for {steps} steps in a row; training cannot go on. "
            f"Lower the learning rate or the loss's weight, or look at its inputs.{' ' if where else ''}{where}"
        )
        self.names = tuple(names)
        self.steps = steps


class Overflows:
    """Counts the optimizer steps in a row that a gradient scaler left out."""

    def __init__(self) -> None:
        self.in_a_row = 0

    @property
    def hopeless(self) -> bool:
        """Whether no loss scale can be expected to help any more."""
        return self.in_a_row >= MAX_OVERFLOWS

    def note(self, stepped: bool) -> None:
        """Take note of whether the optimizer stepped.

        Raises:
            NonFiniteLossError: Too many steps in a row were left out.
        """
        self.in_a_row = 0 if stepped else self.in_a_row + 1
        if self.in_a_row > MAX_OVERFLOWS:
            raise NonFiniteLossError(["the gradient of the network"], self.in_a_row)
