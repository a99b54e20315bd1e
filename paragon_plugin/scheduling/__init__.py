"""The loss scheduler: what each loss contributes, what it should contribute, and the multipliers between the two.

Torch only: nothing here knows the host. `output_gradients` measures, `scheduler` decides.
"""

from .scheduler import DynamicLossScheduler, ForeignStateError, LossInfo, NonFiniteLossError, Reading, Step

__all__ = ["DynamicLossScheduler", "ForeignStateError", "LossInfo", "NonFiniteLossError", "Reading", "Step"]
