"""A decision of the scheduler, as it is logged: what was done, to which losses, from what to what, and why."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["calibrated", "dataset", "guard_rail", "raised", "phase", "corrected", "recovered", "nonfinite"]


@dataclass(frozen=True)
class Decision:
    """One line of the decision log."""

    iteration: int
    kind: Kind
    reason: str
    losses: tuple[str, ...] = ()
    before: Mapping[str, float] = field(default_factory=dict[str, float])
    after: Mapping[str, float] = field(default_factory=dict[str, float])

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def number_text(value: object) -> str:
    """A number with all the digits that it was given, none that rounding added; anything else as text.

    >>> number_text(12345), number_text(12345.0), number_text(0.85 * 0.9), number_text(1e-06)
    ('12345', '12345', '0.765', '1e-06')
    """
    return f"{value:.10g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def percent(share: float) -> str:
    """A share for people: `0.61 %`, `22 %`.

    >>> percent(0.0061), percent(0.22), percent(0.0000012)
    ('0.61 %', '22 %', '0.00012 %')
    """
    return f"{100 * share:.2g} %" if share < 0.995 else "100 %"
