"""What a resumed run takes of the saved optimizers and learning-rate schedules, and what of its option file."""

from collections.abc import Mapping, Sequence
from typing import Any

from basicsr.utils import get_root_logger
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ....errors import OptionError

_OPTIONS_OF_A_SCHEDULE = (
    "periods",
    "cumulative_period",
    "eta_min",
    "milestones",
    "gamma",
    "restarts",
    "restart_weights",
)
"""Of the host's two schedules, by the names of their attributes."""

_OPTIMIZERS = ("optim_g", "optim_d")


def resumed_schedule(schedule: LRScheduler, saved: Mapping[str, Any]) -> dict[str, Any]:
    """The saved state with the option file's schedule: where it is comes from the one, where it goes from the other.

    A run can thus be made longer by raising `total_iter` and the last of the `periods`.

    Args:
        schedule: Built from the option file.
        saved: State of the one that was saved.
    """
    own = schedule.state_dict()
    return {**saved, **{name: own[name] for name in _OPTIONS_OF_A_SCHEDULE if name in own}}


def check_resumed_optimizers(optimizers: Sequence[Optimizer], state: Mapping[str, Any]) -> None:
    """Compare the option file's optimizers with the saved ones, whose options stay; a difference is told in the log.

    Raises:
        OptionError: An optimizer is of another type than the saved one.
    """
    for name, own, saved, saved_type in zip(
        _OPTIMIZERS, optimizers, state["optimizers"], state.get("optimizer_types", [None, None]), strict=False
    ):
        if saved_type not in (None, type(own).__name__):
            raise OptionError(
                f"train.{name}.type", f"was {saved_type} when the state to resume was saved, is {type(own).__name__}"
            )
        for own_group, group in zip(own.param_groups, saved["param_groups"], strict=False):
            for key in sorted(own_group.keys() & group.keys() - {"params", "lr"}):
                if _plain(own_group[key]) != _plain(group[key]):
                    option = "lr" if key == "initial_lr" else key
                    get_root_logger().warning(
                        f"train.{name}.{option}: was {group[key]} when the state to resume was saved, which stays; "
                        f"{own_group[key]} in the option file has no effect."
                    )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
