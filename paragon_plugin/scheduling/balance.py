"""The loss scheduler in anybody's training loop.

    balance = LossBalance({"l1": 1.0, "vgg": 0.1, "gan": 0.005}, total_iter=100_000, network=net)
    for x, gt in data:
        y = net(x)
        optimizer.zero_grad()
        balance.backward({"l1": l1(y, gt), "vgg": vgg(y, gt), "gan": gan(disc(y))}, y)  # in place of loss.backward()
        optimizer.step()

For a loop that belongs to somebody else, `tap` and `tap_input` see each loss's gradient on its way (see `taps`), and
`ride_with` ties the balance to the optimizer:

    balance.ride_with(trainer.optimizer)
    balance.tap_input("l1", trainer.l1)  # the modules that compute the losses
    balance.tap_input("vgg", trainer.vgg)
    trainer.fit(data)
"""

import contextlib
import logging
import math
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
import torch
from torch import Tensor, nn

from ..errors import OptionError
from .network_size import detect_size, trainable_parameters
from .optimizer_steps import OptimizerSteps
from .options import ROLES, DynamicLossScheduling, LossRole, parse_dynamic_loss_scheduling
from .output_gradients import OutputGradients
from .readings import LossInfo
from .roles import role_of
from .run_record import RunRecord
from .scheduler import Step
from .step_balance import StepBalance, group_exists
from .tapped_loop import TappedLoop
from .weights_block import weights_block

DISABLE = "PARAGON_DISABLE"
"""Environment variable: `1` turns every `LossBalance` into plain training with the base weights."""

STATE = "paragon_loss_balance"
"""Key under which the state rides in an optimizer's own."""

_ridden: WeakKeyDictionary[torch.optim.Optimizer, set[str]] = WeakKeyDictionary()
"""Keys of the balances that ride with an optimizer."""

_logger = logging.getLogger(__name__)


class LossBalance:
    """Balances the losses of one network output; see the module for its use.

    A loss's base weight and its value give `L_i = weight_i * loss_i`. The gradient on the network's parameters is that
    of `sum_i f_i L_i`, with the factors f_i of the scheduler. One output balances; a loop with several generators has
    one `LossBalance` for each.

    A step whose losses or gradients are NaN or infinite is left out: the scheduler learns nothing from it, and the
    network's gradients are dropped (`grad = None`), so that the optimizer changes nothing. `skipped` says so, for
    averages that the loop itself keeps.

    Args:
        losses: Base weight by name, or complete descriptions. A weight of 0: the loss is logged and never trains.
        options: Of the scheduler, as a mapping or a parsed block. None: enabled and auto-calibrated.
        total_iter: Length of the run in optimizer steps.
        network: The network that trains. Its size chooses the preset, and its gradients are dropped where a step is
            left out; with `ride_with`, those of the optimizer's parameters are.
        size: In place of `network`: a ParagonSR2 size, or a number of trainable parameters. Without `ride_with` there
            is nothing to drop then: the loop looks at `skipped`, or at what `backward` returns.
        roles: Role by name, where the name does not say it (`roles.role_of`): pixel, structural, perceptual,
            adversarial or regularization.
        weights_included: The losses come with their base weights multiplied in.
        scaler: The gradient scaler of the loop. `backward` then scales, in place of `scaler.scale(loss)`. One that is
            not enabled counts as none.
        parts: Backward passes for one optimizer step (gradient accumulation). The loop does not divide its losses:
            `backward` does. A loop that is tapped divides them itself, as it always did.
        record: Folder for the run's record and decision log, or a record; None to keep none.
        log_every: Steps between two lines of numbers in the record.
        logger: Takes decisions in words.

    Raises:
        OptionError: An option, a role or a name that cannot be used.
    """

    def __init__(
        self,
        losses: Mapping[str, float] | Sequence[LossInfo],
        options: DynamicLossScheduling | Mapping[str, Any] | None = None,
        *,
        total_iter: int,
        network: nn.Module | None = None,
        size: str | int | None = None,
        roles: Mapping[str, LossRole] | None = None,
        weights_included: bool = False,
        scaler: Any = None,
        parts: int = 1,
        record: str | Path | RunRecord | None = None,
        log_every: int | None = None,
        logger: logging.Logger = _logger,
    ):
        if options is None:
            options = {"enabled": True, "auto_calibrate": True}
        if not isinstance(options, DynamicLossScheduling):
            options = parse_dynamic_loss_scheduling(options)
        if os.environ.get(DISABLE) == "1":
            options = msgspec.structs.replace(options, enabled=False)
        parts, total_iter = _count("parts", parts), _count("total_iter", total_iter)
        self.losses = {info.name: info for info in _infos(losses, roles or {}, options)}
        self.options = options
        self.network = network
        self.weights_included = weights_included
        self.scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self.parts = parts
        self.total_iter = total_iter
        self.log_every = log_every or max(1, min(100, total_iter // 200))
        self.logger = logger
        self.record = _record(record)
        self.step_balance: StepBalance | None = None
        """The decisions; None where scheduling is off."""
        scheduled = [info for info in self.losses.values() if info.base_weight != 0]
        if self.record is not None:
            self._describe(options, total_iter)
        if options.enabled:
            size, reason = _size(network, size)
            self.step_balance = StepBalance(
                scheduled,
                options,
                total_iter=total_iter,
                size=size,
                size_reason=reason,
                folder=self.record.folder if self.record is not None else None,
                record=self.record,
                decides_first=parts == 1 and self.scaler is None,
                scaled=self.scaler is not None,
                logger=logger,
            )

        self._steps = OptimizerSteps(
            list(self.losses),
            self.step_balance,
            parts=parts,
            scaler=self.scaler,
            network=network,
            record=self.record,
            log_every=self.log_every,
        )
        self._tapped: TappedLoop | None = None
        if self.step_balance is not None:
            to_weighted = {i.name: 1.0 if weights_included else i.base_weight or 1.0 for i in self.losses.values()}
            self._tapped = TappedLoop(self.step_balance, self._steps, to_weighted, logger)

    @property
    def iteration(self) -> int:
        """Optimizer steps that have begun. A loop that counts them differently sets it before each step."""
        return self._steps.iteration

    @iteration.setter
    def iteration(self, steps: int) -> None:
        self._steps.iteration = steps

    @property
    def skipped(self) -> bool:
        """Whether the latest step is left out, because a loss or a gradient was not finite.

        An overflow inside the network shows once the scaler has updated its scale; asking then reads the device.
        """
        steps, tapped = self._steps, self._tapped
        if steps.left_out or steps.lowered_since(steps.scale_before):
            return True
        return tapped is not None and tapped.overflowed()

    # -- a loop of one's own ---------------------------------------------------------------------------------------

    def backward(
        self,
        losses: Mapping[str, Tensor],
        output: Tensor,
        *,
        gt: Tensor | None = None,
        others: Tensor | None = None,
    ) -> bool:
        """Back-propagate the losses through the network, balanced: in place of `sum(losses).backward()`.

        Each loss is back-propagated to the output first, which costs a pass through the loss alone; then their
        weighted sum goes through the network once.

        Args:
            losses: Scalars by name, computed from `output`; those that are active at this step.
            output: The network's output y (B, ...) with its graph.
            gt: Target images (B, C, H, W) in [0, 1]: adds what the images are like to the calibration.
            others: A scalar of everything that does not pass through the output: penalties on weights, a KL term, an
                auxiliary head. It is added as it is, and a step where it is not finite is left out. Without it such a
                part of a loss would be dropped silently.

        Returns:
            Whether the step counts; False where it is left out, see `skipped`.

        Raises:
            ValueError: A loss has no name here, or does not depend on the output.
            NonFiniteLossError: Losses were not finite for too many steps in a row.
        """
        for name, loss in losses.items():
            if name not in self.losses:
                raise _no_such_loss(name, self.losses)
            _refuse_non_scalar(name, loss)
        if gt is not None and gt.dim() != 4:
            raise ValueError(f"gt must be images (B, C, H, W), is {tuple(gt.shape)}")
        steps = self._steps
        if self._tapped is not None:
            self._tapped.watching = False
        if steps.part % self.parts == 0:
            steps.begin()
        steps.part += 1
        weighted = {
            name: loss if self.weights_included else loss * self.losses[name].base_weight
            for name, loss in losses.items()
            if self.losses[name].base_weight != 0
        }
        steps.note_values({**losses, **weighted})
        balance, last = self.step_balance, steps.part % self.parts == 0
        everything = [*weighted.values(), *([] if others is None else [others])]
        if balance is None:
            self._backward_sum(everything)
            if last:
                steps.record_numbers()
            return True
        gradients = OutputGradients(output, steps.scale(output.device))
        gradients.take(weighted)
        factors = balance.weigh(gradients, gt, others)
        if factors is not None:
            # A value that is not finite may have a gradient that is: the scaler must see it.
            watched = [] if self.scaler is None or balance.observes else everything
            poison = sum((0 * value.detach().float() for value in watched), torch.zeros((), device=output.device))
            gradients.backward(factors, _divided(others, self.parts), poison=poison if watched else None)
        if not last:
            return True
        steps.judge()
        if steps.ready and self.scaler is None:
            balance.commit(True)
        elif steps.ready:
            steps.scale_before = gradients.loss_scale
        steps.record_numbers()
        return not steps.left_out

    def _backward_sum(self, losses: Sequence[Tensor]) -> None:
        """Plain training: the sum as it is."""
        if not losses:
            return
        total = losses[0]
        for loss in losses[1:]:
            total = total + loss
        total = total if self.parts == 1 else total / self.parts
        total = total if self.scaler is None else self.scaler.scale(total)
        torch.autograd.backward(total)

    # -- a loop that belongs to somebody else ----------------------------------------------------------------------

    def ride_with(self, optimizer: torch.optim.Optimizer, *, key: str = STATE) -> None:
        """Tie the balance to the network's optimizer.

        Its step is then this one's step, a step that is left out changes no weight, and the state travels inside the
        optimizer's own: saving and loading need no new line. (FSDP, ZeRO and distributed checkpoints drop keys that
        they do not know; use `state_dict` there.) A plain optimizer that loads such a state ignores the key.

        Args:
            optimizer: Steps the network that the output comes from.
            key: Of the state. Two balances on one optimizer, for two networks, need two keys.

        Raises:
            ValueError: A balance rides with this optimizer under this key already.
        """
        if key in (taken := _ridden.setdefault(optimizer, set())):
            raise ValueError(f"a LossBalance rides with this optimizer as '{key}' already; a second one needs key=")
        taken.add(key)
        self._steps.optimizer = optimizer

        def save(_: torch.optim.Optimizer, state: dict[str, Any]) -> None:
            state[key] = self.state_dict()

        def load(_: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
            self.load_state_dict(state.get(key, {}))
            return {name: value for name, value in state.items() if name != key}

        def after(stepper: torch.optim.Optimizer, *_: Any) -> None:
            self._steps.stepped(stepper)
            if self._tapped is not None:
                self._tapped.after_step()

        optimizer.register_state_dict_post_hook(save)
        optimizer.register_load_state_dict_pre_hook(load)
        if self._tapped is not None:
            optimizer.register_step_pre_hook(self._tapped.before_step)
        optimizer.register_step_post_hook(after)

    def tap(self, name: str, output: Tensor) -> Tensor:
        """The network's output for one loss: `criterion(balance.tap("l1", y), gt)`. `ride_with` comes before.

        The form is the gate where a step has one part and no gradient scaler and one process trains; else the taps are
        held. Held is as well what comes after the decision of an optimizer step, and a step whose losses are not all
        back-propagated in one pass: there is one decision a step.

        Raises:
            ValueError: There is no loss of that name.
            RuntimeError: The balance does not ride with an optimizer.
        """
        tapped = self._taps_of(name)
        return output if tapped is None else tapped.tap(name, output)

    def tap_input(self, name: str, module: nn.Module, *, note: bool = True) -> Callable[[], None]:
        """Tap a module from outside: the first of its arguments that has a graph is the network's output.

        The module is the criterion; for an adversarial loss it is the discriminator, which is tapped while its
        parameters are frozen, as it is the generator's turn then. Where they are not, it is tapped if it is given a
        tensor that another loss was tapped on. What it sees must be the output itself: the gradient on `augmented(y)`
        or on `y.float()` is another one, and is measured there.

        Args:
            name: Of the loss.
            module: Criterion or discriminator.
            note: The module's result is the loss; see `note_value` for one whose result is not.

        Returns:
            Removes the tap.

        Raises:
            ValueError: There is no loss of that name.
            RuntimeError: The balance does not ride with an optimizer.
        """
        tapped = self._taps_of(name)
        return (lambda: None) if tapped is None else tapped.tap_input(name, module, note=note)

    def note_value(self, name: str, value: Tensor) -> None:
        """Say what a tapped loss's value is on the output that it was tapped on last, for logs and what follows values.

        Several values of one loss on one output add up.

        Raises:
            ValueError: There is no loss of that name.
            RuntimeError: The balance does not ride with an optimizer.
        """
        tapped = self._taps_of(name)
        if tapped is not None:
            tapped.note_value(name, value)

    def _taps_of(self, name: str) -> TappedLoop | None:
        if name not in self.losses:
            raise _no_such_loss(name, self.losses)
        if self._tapped is not None and self._steps.optimizer is None:
            raise RuntimeError("call ride_with(optimizer) before the first tap")
        return self._tapped

    # -- state -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """State to save with the network's: plain values that load without running code."""
        self._settle()
        own = self.step_balance.state_dict() if self.step_balance is not None else {}
        return {"iteration": self.iteration, "weights_included": self.weights_included, **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`; a state of another recipe, or none, starts a fresh calibration."""
        if self._tapped is not None:
            self._tapped.close()
        self._steps.go_on_from(int(state.get("iteration", 0)))
        if self.step_balance is not None:
            kept = {key: state[key] for key in ("scheduler", "first_shares", "held") if key in state}
            self.step_balance.load_state_dict(kept, self.iteration)

    def _settle(self) -> None:
        if self._tapped is not None:
            self._tapped.settle()
        self._steps.settle()

    # -- numbers and words -----------------------------------------------------------------------------------------

    @property
    def last_step(self) -> Step | None:
        """The latest decision; None before the first, and with scheduling off."""
        return self.step_balance.last_step if self.step_balance is not None else None

    def log(self) -> dict[str, float]:
        """Numbers for any logger: `losses/l_<name>`, `loss_weights/<name>`, `loss_shares/<name>`.

        Reads the device for losses that are not scheduled alone.
        """
        return self._steps.log()

    def factor(self, name: str) -> float:
        """What a loss's base weight is multiplied by now; 1 for one that is not scheduled."""
        if name not in self.losses:
            raise _no_such_loss(name, self.losses)
        return self._tapped.factor(name) if self._tapped is not None else 1.0

    def weights(self) -> dict[str, float]:
        """The weights it has arrived at, base weight times factor: constants to go on with."""
        base = {name: info.base_weight for name, info in self.losses.items()}
        return base | (self.step_balance.weights() if self.step_balance is not None else {})

    def weights_block(self) -> str:
        """`weights()` as lines to paste, four digits each: valid YAML."""
        return weights_block(self.weights())

    def record_validation(self, dataset: str, metrics: Mapping[str, float]) -> None:
        """Mean metrics of a validation set, for the record; does nothing where this process keeps none."""
        if self.record is not None:
            self.record.validation(self.iteration, dataset, metrics)

    def summary(self) -> list[str]:
        """What it did over the run, a line per loss; empty where it never ran."""
        return self.step_balance.summary() if self.step_balance is not None else []

    def finish(self) -> None:
        """The run is done: says what was arrived at, and closes the record."""
        self._settle()
        for line in self.summary():
            self.logger.info(line)
        if self.summary():
            self.logger.info(f"The weights it arrived at, as constants:\n{self.weights_block()}")
        if self.record is not None and self.record.started:
            self.record.scalars(self.iteration, self.log())
            self.record.end(self.iteration, "finished")

    # -- what the run is -------------------------------------------------------------------------------------------

    def _describe(self, options: DynamicLossScheduling, total_iter: int) -> None:
        assert self.record is not None
        net = self.network
        self.record.describe(
            name=self.record.folder.name,
            host="own loop",
            total_iter=total_iter,
            scheduling=options,
            target=options.target_rule,
            losses=[{"name": i.name, "role": i.role, "weight": i.base_weight} for i in self.losses.values()],
            network={
                "type": None if net is None else type(net).__name__,
                "parameters": None if net is None else trainable_parameters(net),
            },
        )


def _infos(
    losses: Mapping[str, float] | Sequence[LossInfo], roles: Mapping[str, LossRole], options: DynamicLossScheduling
) -> list[LossInfo]:
    if not losses:
        raise OptionError("losses", "is empty; give the base weight of each loss by name")
    if not isinstance(losses, Mapping):
        roles = {**{info.name: info.role for info in losses}, **roles}
        losses = {info.name: info.base_weight for info in losses}
    for name, role in roles.items():
        if role not in ROLES and role != "unknown":
            raise OptionError(f"roles.{name}", f"must be one of {', '.join(ROLES)}, is {role!r}")
    for what, names in (("roles", roles), ("manual_weights", options.manual_weights)):
        for name in names:
            if name not in losses:
                raise OptionError(f"{what}.{name}", f"no such loss; there are {', '.join(losses)}")
    weights = {name: _weight(name, weight) for name, weight in {**losses, **options.manual_weights}.items()}
    return [LossInfo(name, roles.get(name, role_of(name)), weight) for name, weight in weights.items()]


def _weight(name: str, weight: Any) -> float:
    with contextlib.suppress(TypeError, ValueError):
        if math.isfinite(number := float(weight)):
            return number
    raise OptionError(f"losses.{name}", f"its weight must be a finite number, is {weight!r}")


def _count(name: str, number: Any) -> int:
    with contextlib.suppress(TypeError):
        if (count := operator.index(number)) >= 1:
            return count
    raise OptionError(name, f"must be a whole number of at least 1, is {number!r}")


def _refuse_non_scalar(name: str, loss: object) -> None:
    if not isinstance(loss, Tensor):
        raise ValueError(f"{name} must be a tensor of one number with its graph, is {type(loss).__name__}")
    if loss.numel() != 1:
        raise ValueError(f"{name} must be one number, is a tensor of shape {tuple(loss.shape)}; take its mean")


def _size(network: nn.Module | None, size: str | int | None) -> tuple[str | int, str]:
    if size is not None:
        return size, f"size {size}" if isinstance(size, str) else f"{size:,} trainable parameters"
    if network is None:
        raise OptionError("network", "is missing; give the network that trains, or its size")
    return detect_size(network)


def _record(record: str | Path | RunRecord | None) -> RunRecord | None:
    if group_exists() and torch.distributed.get_rank() != 0:
        return None
    return RunRecord(record) if isinstance(record, str | Path) else record


def _no_such_loss(name: str, losses: Mapping[str, LossInfo]) -> ValueError:
    return ValueError(f"no loss '{name}' in this balance; it has {', '.join(losses)}")


def _divided(loss: Tensor | None, parts: int) -> Tensor | None:
    return loss if loss is None or parts == 1 else loss / parts
