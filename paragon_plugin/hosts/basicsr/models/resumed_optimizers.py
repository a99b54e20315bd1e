"""What a resumed run takes from the saved optimizers, and what from its option file."""

from collections.abc import Mapping, Sequence
from typing import Any

from basicsr.utils import get_root_logger
from torch.optim import Optimizer

from ....errors import OptionError

_OPTIMIZERS = ("optim_g", "optim_d")


def check_resumed_optimizers(optimizers: Sequence[Optimizer], state: Mapping[str, Any]) -> None:
    """Compare the option file's optimizers with the saved ones, and log each difference.

    The learning rate is that of the option file, see `options.learning_rate`. The other options stay as they were
    saved.

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
            for key in sorted(own_group.keys() & group.keys() - {"params", "lr", "initial_lr"}):
                if _plain(own_group[key]) != _plain(group[key]):
                    get_root_logger().warning(
                        f"train.{name}.{key}: was {group[key]} when the state to resume was saved, and stays so; "
                        f"{own_group[key]} in the option file has no effect."
                    )
        rate, was = own.param_groups[0].get("initial_lr"), saved["param_groups"][0].get("initial_lr")
        if rate != was:
            get_root_logger().info(
                f"train.{name}.lr: was {was} when the state to resume was saved, is {rate} from here on."
            )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
