"""redux's typed options with one more field: the scheduler's block. redux still refuses other unknown options.

Import it only where redux can be imported.
"""

from typing import Any

from traiNNer.utils import redux_options  # pyright: ignore[reportMissingImports]

from .models import take_over_models
from .networks import register_networks
from .options import block_of, read_block


class TrainOptions(redux_options.TrainOptions):
    """redux's `train:` with the block."""

    dynamic_loss_scheduling: Any = None


class ReduxOptions(redux_options.ReduxOptions):
    """redux's option file whose `train:` takes the block."""

    train: TrainOptions | None = None

    def __post_init__(self) -> None:
        # All of redux is imported by the time that a file is read: networks of the checkout have their names by now.
        register_networks()
        read_block(self)
        if block_of(self) is not None:
            take_over_models()
