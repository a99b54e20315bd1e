"""What a training or a test ends with, as plain data."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class ValidationResult:
    """Final metrics of one validation set."""

    dataset: str
    images: int
    metrics: dict[str, float]
    reference: dict[str, dict[str, float]] = field(default_factory=dict)
    """The same metrics of classical upscalers."""
    before: dict[str, float] = field(default_factory=dict)
    """The same metrics of the network that training began with; empty where they are not known."""


@dataclass
class TrainingResult:
    """What a run ended with."""

    name: str
    folder: Path
    """The run's folder."""
    root: Path
    """The folder in which it was started; paths are told relative to it."""
    first_rank: bool
    """Whether this process speaks for the run."""
    iteration: int
    seconds: float = 0.0
    validation: list[ValidationResult] = field(default_factory=list)
    schedule: list[str] = field(default_factory=list)
    """What the loss scheduler did, a line per loss."""
    stopped_by: int | None = None
    """Number of the signal that ended the run early."""
    already_finished: bool = False
    """The run was done before it was started; nothing has been written."""
    waiting: str | None = None
    """What to do about the time that went into waiting for images; None where it was little."""
