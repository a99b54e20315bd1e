"""What the run, the checks and the record ask of a model that schedules its losses: all of ours, none of the host's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ...scheduling.run_record import RunRecord

if TYPE_CHECKING:  # the checks import this before the host is repaired
    from .recipe.recipe import RecipeLoss


@runtime_checkable
class ScheduledModel(Protocol):
    """A model of the host that knows the `losses` list and the `dynamic_loss_scheduling` block.

    Methods alone, so that `isinstance` and `issubclass` both answer.
    """

    @classmethod
    def recipe_of(cls, train: dict[str, Any], manual_weights: Mapping[str, float]) -> list[RecipeLoss]:
        """The losses that the model builds from the options under `train:`."""
        ...

    @classmethod
    def needed_options(cls, options: Mapping[str, Any], /) -> Sequence[str]:
        """Names at the top of the option file that it cannot do without."""
        ...

    @classmethod
    def readers_of_options(cls) -> tuple[type, ...]:
        """Classes whose source names the options that it reads."""
        ...

    def rehearse(self, batch: Mapping[str, Any], /) -> Mapping[str, float]:
        """One real optimizer step of everything on a batch of the training set; the model changes, nothing is written.

        Returns the value of each loss.

        Raises:
            OptionError: Something does not fit.
        """
        ...

    def trouble(self) -> str:
        """What is the matter with the run now, in words; empty where it is healthy."""
        ...

    def set_loop_state(self, state: Mapping[str, Any]) -> None:
        """What the training loop wants to find in every training state from now on."""
        ...

    def progress(self) -> dict[str, str]:
        """Short texts for a progress line, by loss."""
        ...

    def schedule_summary(self) -> list[str]:
        """What the scheduler did over the run, a line per loss."""
        ...

    def run_record(self) -> RunRecord | None:
        """The record of the run; None on ranks that keep none."""
        ...
