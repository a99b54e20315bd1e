"""The scheduler's block of an option file: where it is, and the one place where it is read."""

from collections.abc import Mapping
from typing import Any

from ....errors import errors_under
from ....scheduling.options import (
    DynamicLossScheduling,
    dynamic_loss_scheduling_errors,
    parse_dynamic_loss_scheduling,
)
from .problems import Problems

KEY = "dynamic_loss_scheduling"
BLOCK = f"train.{KEY}"
"""Where the block stands."""

PARSED = "parsed_loss_scheduling"
"""Key at the top of prepared options under which the parsed block travels."""


def parse_block(options: dict[str, Any], problems: Problems) -> None:
    """Read the block once, and keep what it says beside the options as written; a refused one counts as off."""
    raw = options["train"].get(KEY)
    errors = list(dynamic_loss_scheduling_errors(raw))
    for error in errors:
        located = error.under(BLOCK)
        problems.error(located.path, located.problem)
    options[PARSED] = parse_dynamic_loss_scheduling(None if errors else raw)


def scheduling_of(options: Mapping[str, Any]) -> DynamicLossScheduling:
    """The parsed block of an option file. If the options have not been prepared, the block is read here.

    Raises:
        OptionError: The block cannot be used.
    """
    if PARSED in options:
        return options[PARSED]
    with errors_under(BLOCK):
        return parse_dynamic_loss_scheduling(options["train"].get(KEY))
