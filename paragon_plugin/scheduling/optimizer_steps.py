"""The optimizer steps of somebody's loop: which one is under way, whether it counts, and what is learnt of it.

Both forms of `balance.LossBalance` stand on it: `backward`, which does the steps' work itself, and the taps, which
watch it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .run_record import RunRecord
from .step_balance import StepBalance, add_by_name


class OptimizerSteps:
    """The steps of one loop, one after the other.

    Args:
        names: Of all losses, in the recipe's order.
        balance: The decisions; None where scheduling is off.
        parts: Backward passes for one optimizer step.
        scaler: The gradient scaler that is in use, or None.
        network: Its gradients are dropped where a step is left out; those of `optimizer` are, where that is known.
        record: Takes a line of numbers every `log_every` steps; None to keep none.
        log_every: Steps between two such lines.
    """

    def __init__(
        self,
        names: Sequence[str],
        balance: StepBalance | None,
        *,
        parts: int,
        scaler: Any,
        network: nn.Module | None,
        record: RunRecord | None,
        log_every: int,
    ):
        self.names = tuple(names)
        self.balance = balance
        self.parts = parts
        self.scaler = scaler
        self.network = network
        self.record = record
        self.log_every = log_every
        self.optimizer: torch.optim.Optimizer | None = None
        """The network's, where the balance rides with it."""
        self.iteration = 0
        """Steps that have begun."""
        self.part = 0
        """Backward passes of the step under way that `LossBalance.backward` has done."""
        self.left_out = False
        """Whether the latest step is left out, as far as that is known without reading the device."""
        self.ready = True
        """Whether the latest step was let through; an overflow is, for the scaler to leave out."""
        self.scale_before: Tensor | None = None
        """Loss scale of a step whose fate at the optimizer is not known yet."""
        self.values: dict[str, Tensor] = {}
        """L_i of each loss of the latest step, on the device."""

    def begin(self) -> None:
        """A step begins."""
        self.settle()
        if self.record is not None and not self.record.started:
            self.record.start(self.iteration)
        self.iteration += 1
        self.left_out, self.ready = False, True
        self.values = {}
        if self.balance is not None:
            self.balance.begin(self.iteration, self.parts)

    def judge(self) -> None:
        """The verdict on a step that was measured.

        Raises:
            NonFiniteLossError: Losses were not finite for too many steps in a row.
        """
        assert self.balance is not None
        self.ready = self.balance.ready()
        self.left_out = not self.ready or self.balance.overflowed
        if self.left_out and self.scaler is None:
            self.drop_gradients()

    def settle(self) -> None:
        """Learn what became of a step under a scaler by now. Reads the device where that is open."""
        if self.scale_before is not None:
            stepped = not self.lowered_since(self.scale_before)
            self.scale_before = None
            if self.balance is not None:
                self.balance.commit(stepped)

    def stepped(self, optimizer: torch.optim.Optimizer) -> None:
        """The optimizer that the balance rides with has stepped, or would have."""
        overflow = getattr(optimizer, "found_inf", None)  # fused optimizers are called on an overflow as well
        stepped = overflow is None or not bool(overflow)
        self.scale_before = None
        self.part = 0
        if self.balance is not None:
            if self.ready:
                self.balance.commit(stepped)
            self.left_out = self.left_out or not stepped

    def go_on_from(self, iteration: int) -> None:
        """Forget the step under way; `iteration` steps have begun."""
        self.scale_before = None
        self.part = 0
        self.iteration = iteration

    def lowered_since(self, scale: Tensor | None) -> bool:
        """Whether the loss scale is lower by now: the scaler has left a step out. Reads the device."""
        now = self.scale(scale.device) if scale is not None else None
        return scale is not None and now is not None and bool(now < scale)

    def scale(self, device: torch.device) -> Tensor | None:
        """What gradients are multiplied by now, a scalar on a device; None for 1."""
        return None if self.scaler is None else self.scaler.scale(torch.ones((), device=device))

    def note_values(self, values: Mapping[str, Tensor]) -> None:
        """Take in L_i of one part of the batch."""
        for name, value in values.items():
            add_by_name(self.values, name, value.detach() / self.parts)

    def drop_gradients(self) -> None:
        """`grad = None`: an optimizer changes nothing, momentum and weight decay included."""
        for parameter in self.parameters():
            parameter.grad = None

    def parameters(self) -> list[nn.Parameter]:
        """Of the optimizer, where it is known; else of the network."""
        if self.optimizer is not None:
            return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        return list(self.network.parameters()) if self.network is not None else []

    def record_numbers(self) -> None:
        """A line of numbers for the record, where one is due."""
        if self.record is not None and self.iteration % self.log_every == 0:
            self.record.scalars(self.iteration, self.log())

    def log(self) -> dict[str, float]:
        """See `LossBalance.log`."""
        read = self.balance.values if self.balance is not None else {}
        values = {name: read[name] if name in read else float(value) for name, value in self.values.items()}
        losses = {f"losses/l_{name}": values[name] for name in self.names if name in values}
        return losses | (self.balance.log() if self.balance is not None else {})
