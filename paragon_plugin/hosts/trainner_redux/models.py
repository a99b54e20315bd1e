"""The losses of redux's models under the scheduler."""

import functools
import logging
from typing import Any

import msgspec

from ...errors import OptionError
from ...scheduling import LossBalance
from ...scheduling.options import DynamicLossScheduling
from ...scheduling.run_record import RunRecord
from .options import BLOCK, block_of, listed_losses, role
from .record_keeping import Run
from .refusal import refuse
from .taps import tap_criterion, tap_discriminator

ADVERSARIAL = "l_g_gan"
"""Label under which redux runs the discriminator."""

logger = logging.getLogger("paragon_plugin.hosts.trainner_redux")


def take_over_models() -> None:
    """Have each `SRModel` that is built from now on schedule its losses, if its options have the block."""
    from traiNNer.models.sr_model import SRModel  # pyright: ignore[reportMissingImports]

    original = SRModel.init_training_settings
    if getattr(original, "_paragon", False):
        return

    @functools.wraps(original)
    def init_training_settings(self: Any) -> None:
        original(self)
        take_over(self)

    init_training_settings._paragon = True  # type: ignore[attr-defined]
    SRModel.init_training_settings = init_training_settings


def take_over(model: Any) -> None:
    """Keep the record of a model's run, and schedule its losses where the block says so.

    Args:
        model: redux's `SRModel`, its losses and optimizers made.
    """
    block = block_of(model.opt)
    if block is None:
        return
    _log_where_redux_logs()
    folder = model.opt.path.experiments_root
    record = RunRecord(folder) if folder and not model.opt.rank else None
    run = Run(model, record)
    try:
        run.balance = model.loss_balance = balance_of(model, block, run) if block.enabled else None
    except OptionError as error:
        refuse(error.under(BLOCK))
    run.describe(block)
    run.keep()


def balance_of(model: Any, block: DynamicLossScheduling, run: Run) -> LossBalance:
    """A balance that sees and weighs each loss of the model's training step.

    Raises:
        OptionError: The block names a loss that the model has not.
    """
    _tell_of_doubles(model)
    total_iter = model.opt.train.total_iter
    losses = model.losses
    balance = LossBalance(
        {label: abs(float(loss.loss_weight)) for label, loss in losses.items()},
        # The sign of a weight says which target a loss has; redux trains with the size.
        msgspec.structs.replace(block, manual_weights={k: abs(v) for k, v in block.manual_weights.items()}),
        total_iter=total_iter,
        network=model.net_g,
        roles={label: role(type(loss).__name__) for label, loss in losses.items()},
        scaler=model.scaler_g,
        parts=model.accum_iters,
        record=run.record,
        log_every=total_iter + 1,  # never: redux's own rhythm is the record's as well
        logger=logger,
    )
    for label, weight in block.manual_weights.items():
        losses[label].loss_weight = weight
    if balance.step_balance is not None and not balance.step_balance.decides_first:
        # A step begins with its optimizer's step then; what an overflow has counted is put right before.
        model.optimizer_g.register_step_pre_hook(run.count)
    balance.ride_with(model.optimizer_g)
    for label, loss in losses.items():
        if label == ADVERSARIAL and model.net_d is not None:
            tap_discriminator(balance, label, model.net_d, loss)
        else:
            tap_criterion(balance, label, loss)
    return balance


def _tell_of_doubles(model: Any) -> None:
    """redux keeps losses by type: the second of one type takes the place of the first."""
    labels = [label for label, _, _ in listed_losses(model.opt.train)]
    for label in dict.fromkeys(label for label in labels if labels.count(label) > 1):
        logger.warning(f"train.losses lists {labels.count(label)} losses {label}; redux trains with the last of them.")


def _log_where_redux_logs() -> None:
    """What the parts without a host say goes into redux's log; its console would take [brackets] for markup."""
    logging.getLogger("paragon_plugin").parent = logging.getLogger("traiNNer")
    if not logger.filters:
        logger.addFilter(_plain)


def _plain(record: logging.LogRecord) -> bool:
    record.markup = False
    return True
