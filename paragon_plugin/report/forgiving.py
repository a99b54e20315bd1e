"""Parts of a report stand or fall alone: one that cannot be read or drawn is left out, and the report says so."""

from collections.abc import Callable
from typing import TypeVar

from ..errors import one_line

T = TypeVar("T")


def part(what: str, make: Callable[[], T], otherwise: T, left_out: list[str]) -> T:
    """What `make` returns; where it raises, something else, and a line about it.

    Whatever it raises: files that a report is made from may be damaged, or somebody else's, and a run that is done must
    not be lost for want of its report.

    Args:
        what: The part, as the first words of the line.
        make: Reads or draws it.
        otherwise: What stands in for it.
        left_out: Takes the line.
    """
    try:
        return make()
    except Exception as error:
        left_out.append(one_line(f"{what}: {type(error).__name__}: {' '.join(str(error).split())}", 300))
        return otherwise
