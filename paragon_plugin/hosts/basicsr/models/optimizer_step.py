"""One network's optimizer step under the step's options: autocast, loss scale, clipping."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..options.step import StepOptions

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class OptimizerStep:
    """Precision and optimizer step of one network.

    Args:
        options: How a step is computed.
        optimizer: The network's optimizer.
        device: Where it trains.
    """

    def __init__(self, options: StepOptions, optimizer: torch.optim.Optimizer, device: torch.device):
        self.options = options
        self.optimizer = optimizer
        self.device = device
        self.scaler = torch.GradScaler(device.type) if options.precision == "fp16" else None
        self._stepped = False
        optimizer.register_step_post_hook(self._note)  # says without a read whether the scaler let the step through

    def _note(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        overflow = getattr(optimizer, "found_inf", None)  # of a fused optimizer, which leaves the step out by itself
        self._stepped = overflow is None or not bool(overflow)

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Forward passes and losses belong inside."""
        if self.options.precision == "float32":
            yield
            return
        with torch.autocast(self.device.type, dtype=_TYPES[self.options.precision]):
            yield

    def loss_scale(self) -> Tensor | None:
        """Factor on what is back-propagated, a scalar on the device; None for 1."""
        return None if self.scaler is None else self.scaler.scale(torch.ones((), device=self.device))

    def zero_grad(self) -> None:
        self.optimizer.zero_grad()

    def step(self, parameters: Iterator[nn.Parameter]) -> bool:
        """Unscale, clip and step. Returns False where the scaled gradients overflowed and the step was left out."""
        self._stepped = False
        if self.options.grad_clip is not None:
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(parameters, self.options.grad_clip)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return self._stepped

    def state_dict(self) -> dict[str, Any]:
        """The scaler's state; empty without one."""
        return {} if self.scaler is None else self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.scaler is not None and state:
            self.scaler.load_state_dict(state)
