"""The loss scheduler: what each loss contributes, what it should contribute, and the multipliers between the two.

Nothing here knows a host. `output_gradients` and `taps` measure, `scheduler` decides, `balance` is for anybody's loop,
and `run_record` keeps what a run leaves for its report.
"""

from .balance import LossBalance
from .scheduler import DynamicLossScheduler, ForeignStateError, LossInfo, NonFiniteLossError, Reading, Step

__all__ = [
    "DynamicLossScheduler",
    "ForeignStateError",
    "LossBalance",
    "LossInfo",
    "NonFiniteLossError",
    "Reading",
    "Step",
]
