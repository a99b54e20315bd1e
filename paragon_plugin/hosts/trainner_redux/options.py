"""The scheduler's block in an option file of redux: read once, when the file is, before anything is written."""

import logging
from typing import Any

from ...errors import OptionError, errors_under
from ...scheduling.balance import LossBalance
from ...scheduling.options import DynamicLossScheduling, LossRole, parse_dynamic_loss_scheduling
from ...scheduling.roles import role_of
from .refusal import refuse

KEY = "dynamic_loss_scheduling"
BLOCK = f"train.{KEY}"
"""Where the block stands."""

ROLES: dict[str, LossRole] = {
    "aesop": "perceptual",
    "ff": "structural",
    "flip": "perceptual",
    "linedistiller": "structural",
    "ncc": "structural",
    "structuretexture": "perceptual",
}
"""Roles of redux's losses whose names do not tell them (`scheduling.roles`), by type in lower case without `loss`."""


def read_block(options: Any) -> None:
    """Replace the block of an option file by what it says; a block that cannot be used ends the process.

    Args:
        options: redux's `ReduxOptions`, whose `train` has the field `KEY`.
    """
    train = options.train
    if train is None or train.dynamic_loss_scheduling is None:
        return
    if isinstance(train.dynamic_loss_scheduling, DynamicLossScheduling):  # a copy
        return
    try:
        with errors_under(BLOCK):
            block = parse_dynamic_loss_scheduling(train.dynamic_loss_scheduling)
            if block.enabled:
                _check(options, block)
    except OptionError as error:
        refuse(error)
    train.dynamic_loss_scheduling = block


def block_of(options: Any) -> DynamicLossScheduling | None:
    """The block of options that were read; None where there is none."""
    return getattr(options.train, KEY, None)


def role(loss_type: str) -> LossRole:
    """Role of one of redux's losses by its type.

    >>> role("FFLoss"), role("MSSIMLoss"), role("ganloss")
    ('structural', 'structural', 'adversarial')
    """
    return ROLES.get(loss_type.lower().replace("loss", ""), role_of(loss_type))


def listed_losses(train: Any) -> list[tuple[str, str, float]]:
    """(label, type, weight) of the losses that redux will build, as far as it can; labels as in its log, `l_g_mssim`.

    Args:
        train: redux's `TrainOptions`.
    """
    from traiNNer.utils.misc import loss_type_to_label  # pyright: ignore[reportMissingImports]

    listed = train.losses
    if listed is None:  # the older form, one block for each loss
        fields = (getattr(train, name) for name in train.__struct_fields__ if name.endswith("_opt"))
        listed = [field for field in fields if isinstance(field, dict)]
    found: list[tuple[str, str, float]] = []
    for loss in listed:
        try:
            kind, weight = str(loss["type"]), float(loss["loss_weight"])
        except (KeyError, TypeError, ValueError):  # redux itself refuses it
            continue
        if weight != 0:
            found.append((loss_type_to_label(kind), kind, weight))
    return found


def _check(options: Any, block: DynamicLossScheduling) -> None:
    """Refuse a block that would not work with this file.

    Raises:
        OptionError: It names a loss that is not there, or nothing trains that it could schedule.
    """
    train = options.train
    if options.network_g is None:
        raise OptionError("", "schedules the losses of network_g, and this file has none")
    if train.optim_g is None:
        raise OptionError("", "needs train.optim_g: without it network_g is not trained")
    losses = listed_losses(train)
    if losses:
        LossBalance(
            {label: abs(weight) for label, _, weight in losses},
            block,
            total_iter=max(1, train.total_iter),
            size="s",
            roles={label: role(kind) for label, kind, _ in losses},
            logger=logging.Logger("unheard", logging.CRITICAL),
        )
