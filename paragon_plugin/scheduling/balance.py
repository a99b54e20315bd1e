"""The loss scheduler in anybody's training loop.

    balance = LossBalance({"l1": 1.0, "vgg": 0.1, "gan": 0.005}, total_iter=100_000, network=net)
    for x, gt in data:
        y = net(x)
        optimizer.zero_grad()
        balance.backward({"l1": l1(y, gt), "vgg": vgg(y, gt), "gan": gan(disc(y))}, y)  # in place of loss.backward()
        optimizer.step()

For a loop that belongs to somebody else, `tap` and `tap_input` see each loss's gradient on its way (see `taps`), and
`ride_with` ties the balance to the optimizer.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from ..errors import OptionError
from .network_size import detect_size
from .options import DynamicLossScheduling, Role, parse_dynamic_loss_scheduling
from .output_gradients import OutputGradients
from .readings import LossInfo
from .roles import role_of
from .run_record import RunRecord
from .scheduler import Step
from .step_balance import StepBalance
from .taps import TappedOutput

DISABLE = "PARAGON_DISABLE"
"""Environment variable: `1` turns every `LossBalance` into plain training with the base weights."""

STATE = "paragon_loss_balance"
"""Key under which the state rides in an optimizer's own."""

SILENT_STEPS = 100
"""A loss that was tapped at so many steps and never sent a gradient back is told of."""

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
            left out.
        size: In place of `network`: a ParagonSR2 size, or a number of trainable parameters.
        roles: Role by name, where the name does not say it (`roles.role_of`): pixel, structural, perceptual,
            adversarial or regularization.
        weights_included: The losses come with their base weights multiplied in.
        scaler: The gradient scaler of the loop. `backward` then scales, in place of `scaler.scale(loss)`.
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
        roles: Mapping[str, Role] | None = None,
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
        self.losses = {info.name: info for info in _infos(losses, roles or {}, options)}
        self.options = options
        self.network = network
        self.weights_included = weights_included
        self.scaler = scaler
        self.parts = parts
        self.total_iter = total_iter
        self.log_every = log_every or max(1, min(100, total_iter // 200))
        self.logger = logger
        self.iteration = 0
        """Optimizer steps that have begun."""
        self.skipped = False
        """Whether the latest step is left out because a loss or a gradient was not finite."""
        self.record = _record(record)
        self.step_balance: StepBalance | None = None
        """The decisions; None where scheduling is off."""
        self._optimizer: torch.optim.Optimizer | None = None
        self._part = 0
        self._unsettled_scale: Tensor | None = None
        """Loss scale of a step whose fate at the optimizer is not known yet."""
        self._outputs: Any = WeakIdKeyDictionary()
        self._tapped_outputs: list[TappedOutput] = []
        self._values: dict[str, Tensor] = {}
        self._decided = False
        self._tapped: dict[str, int] = {}
        self._heard: set[str] = set()
        self._taps = False
        """Whether the loop is tapped; on every rank or on none."""
        scheduled = [info for info in self.losses.values() if info.base_weight != 0]
        if self.record is not None:
            self._describe(options, total_iter)
        if options.enabled and os.environ.get(DISABLE) != "1":
            size, reason = _size(network, size)
            self.step_balance = StepBalance(
                scheduled,
                options,
                total_iter=total_iter,
                size=size,
                size_reason=reason,
                folder=self.record.folder if self.record is not None else None,
                record=self.record,
                decides_first=parts == 1 and scaler is None,
                scaled=scaler is not None,
                logger=logger,
            )

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
                auxiliary head. It is added as it is. Without it such a part of a loss would be dropped silently.

        Returns:
            Whether the step counts; False where it is left out, see `skipped`.

        Raises:
            ValueError: A loss has no name here, or does not depend on the output.
            NonFiniteLossError: Losses were not finite for too many steps in a row.
        """
        for name in losses:
            if name not in self.losses:
                raise ValueError(f"no loss '{name}' in this balance; it has {', '.join(self.losses)}")
        if self._part % self.parts == 0:
            self._begin()
        self._part += 1
        weighted = {
            name: loss if self.weights_included else loss * self.losses[name].base_weight
            for name, loss in losses.items()
            if self.losses[name].base_weight != 0
        }
        self._note_values(losses, weighted)
        balance, last = self.step_balance, self._part % self.parts == 0
        if balance is None:
            self._backward_sum([*weighted.values(), *([] if others is None else [others])])
            self._finish_step()
            return True
        gradients = OutputGradients(output, self._scale(output.device))
        gradients.take(weighted)
        factors = balance.weigh(gradients, gt)
        if factors is not None and not self.skipped:
            gradients.backward(factors, _divided(others, self.parts))
        if not last:
            return True
        self.skipped = not balance.ready()
        if self.skipped and self.scaler is None:
            self._drop_gradients()
        if not self.skipped:
            if self.scaler is None:
                balance.commit(True)
            else:
                self._unsettled_scale = gradients.loss_scale
        self._finish_step()
        return not self.skipped

    # -- a loop that belongs to somebody else ----------------------------------------------------------------------

    def ride_with(self, optimizer: torch.optim.Optimizer) -> None:
        """Tie the balance to the network's optimizer.

        Its step is then this one's step, a step that is left out changes no weight, and the state travels inside the
        optimizer's own: saving and loading need no new line. (FSDP, ZeRO and distributed checkpoints drop keys that
        they do not know; use `state_dict` there.) A plain optimizer that loads such a state ignores the key.
        """
        self._optimizer = optimizer

        def save(_: torch.optim.Optimizer, state: dict[str, Any]) -> None:
            state[STATE] = self.state_dict()

        def load(_: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
            self.load_state_dict(state.get(STATE, {}))
            return {key: value for key, value in state.items() if key != STATE}

        optimizer.register_state_dict_post_hook(save)
        optimizer.register_load_state_dict_pre_hook(load)
        optimizer.register_step_pre_hook(self._before_step)
        optimizer.register_step_post_hook(self._after_step)

    def tap(self, name: str, output: Tensor) -> Tensor:
        """The network's output for one loss: `criterion(balance.tap("l1", y), gt)`. `ride_with` comes before.

        The form is the gate where a step has one part and no gradient scaler and one process trains; else the taps are
        held. A second output within one optimizer step is held as well.

        Raises:
            ValueError: There is no loss of that name.
            RuntimeError: The balance does not ride with an optimizer.
        """
        if name not in self.losses:
            raise ValueError(f"no loss '{name}' in this balance; it has {', '.join(self.losses)}")
        balance = self.step_balance
        if balance is None or self.losses[name].base_weight == 0 or not torch.is_grad_enabled():
            return output
        if self._optimizer is None:
            raise RuntimeError("call ride_with(optimizer) before the first tap")
        self._taps = True
        self._tapped[name] = self._tapped.get(name, 0) + 1
        if not output.requires_grad or output.grad_fn is None or torch.is_inference(output):
            return output  # nothing comes back here; told of after some steps
        entry: TappedOutput | None = self._outputs.get(output)
        if entry is None:
            if len(self._tapped_outputs) >= self.parts and any(e.norms for e in self._tapped_outputs):
                self._forget()  # that step never came to its end: a scaler left it out
            self._drop_dead_outputs()
            gate = balance.decides_first and not self._tapped_outputs and not _distributed()
            entry = TappedOutput(
                output, factor=self._factor, scale=self._scale, decide=self._decide_at_the_gate if gate else None
            )
            self._outputs[output] = entry
            self._tapped_outputs.append(entry)
        return entry.tap(name)

    def tap_input(self, name: str, module: nn.Module, *, note: bool = True) -> Callable[[], None]:
        """Tap a module from outside: its first argument is the network's output.

        The module is the criterion; for an adversarial loss it is the discriminator, which is tapped only while its
        parameters are frozen: that is the generator's turn. What it sees must be the output itself: the gradient on
        `augmented(y)` or on `y.float()` is another one.

        Args:
            name: Of the loss.
            module: Criterion or discriminator.
            note: The module's result is the loss; see `note_value` for one whose result is not.

        Returns:
            Removes the tap.
        """

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if any(parameter.requires_grad for parameter in module.parameters()):
                return None
            if args and isinstance(args[0], Tensor):
                return (self.tap(name, args[0]), *args[1:]), kwargs
            first = next(iter(kwargs), None)
            if first is not None and isinstance(kwargs[first], Tensor):
                return args, {**kwargs, first: self.tap(name, kwargs[first])}
            return None

        def after(_: nn.Module, __: Any, result: Any) -> None:
            total = sum(cast("dict[str, Tensor]", result).values()) if isinstance(result, dict) else result
            if isinstance(total, Tensor) and total.requires_grad and total.dim() == 0:
                self.note_value(name, total)

        hooks = [module.register_forward_pre_hook(before, with_kwargs=True)]
        if note:
            hooks.append(module.register_forward_hook(after))

        def remove() -> None:
            for hook in hooks:
                hook.remove()

        return remove

    def note_value(self, name: str, value: Tensor) -> None:
        """Say what a tapped loss's value is at this step, for logs and for what follows values."""
        weight = 1.0 if self.weights_included else self.losses[name].base_weight
        self._values[name] = value.detach() * weight

    # -- state -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """State to save with the network's: plain values that load without running code."""
        self._settle()
        own = self.step_balance.state_dict() if self.step_balance is not None else {}
        return {"iteration": self.iteration, "weights_included": self.weights_included, **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`; a state of another recipe, or none, starts a fresh calibration."""
        self._forget()
        self._unsettled_scale = None
        self.iteration = int(state.get("iteration", 0))
        if self.step_balance is not None:
            kept = {key: state[key] for key in ("scheduler", "first_shares", "held") if key in state}
            self.step_balance.load_state_dict(kept, self.iteration)

    # -- numbers and words -----------------------------------------------------------------------------------------

    @property
    def last_step(self) -> Step | None:
        """The latest decision; None before the first, and with scheduling off."""
        return self.step_balance.last_step if self.step_balance is not None else None

    def log(self) -> dict[str, float]:
        """Numbers for any logger: `losses/l_<name>`, `loss_weights/<name>`, `loss_shares/<name>`.

        Reads the device for losses that are not scheduled alone.
        """
        read = self.step_balance.values if self.step_balance is not None else {}
        values = {name: float(value) for name, value in self._values.items() if name not in read} | read
        losses = {f"losses/l_{name}": values[name] for name in self.losses if name in values}
        return losses | (self.step_balance.log() if self.step_balance is not None else {})

    def weights(self) -> dict[str, float]:
        """The weights it has arrived at, base weight times factor: constants to go on with."""
        base = {name: info.base_weight for name, info in self.losses.items()}
        return base | (self.step_balance.weights() if self.step_balance is not None else {})

    def weights_block(self) -> str:
        """`weights()` as lines to paste, four digits each: valid YAML."""
        return "\n".join(f"{name}: {weight:.4g}" for name, weight in self.weights().items())

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

    # -- one optimizer step ----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._settle()
        if self.record is not None and not self.record.started:
            self.record.start(self.iteration)
        self.iteration += 1
        self.skipped = False
        self._values = {}
        if self.step_balance is not None:
            self.step_balance.begin(self.iteration, self.parts)

    def _settle(self) -> None:
        """Decide on a scaled step whose optimizer has stepped by now; the scaler lowers the scale where it has not."""
        before, self._unsettled_scale = self._unsettled_scale, None
        if before is not None and self.step_balance is not None:
            now = self._scale(before.device)
            self.step_balance.commit(now is None or bool(now >= before))

    def _backward_sum(self, losses: Sequence[Tensor]) -> None:
        """Plain training: the sum as it is."""
        total = losses[0]
        for loss in losses[1:]:
            total = total + loss
        total = total if self.parts == 1 else total / self.parts
        total = total if self.scaler is None else self.scaler.scale(total)
        torch.autograd.backward(total)

    def _finish_step(self) -> None:
        if self._part % self.parts == 0 and self.record is not None and self.iteration % self.log_every == 0:
            self.record.scalars(self.iteration, self.log())

    def _note_values(self, losses: Mapping[str, Tensor], weighted: Mapping[str, Tensor]) -> None:
        for name, loss in losses.items():
            value = weighted.get(name, loss).detach() / self.parts
            self._values[name] = self._values[name] + value if name in self._values else value

    def _scale(self, device: torch.device) -> Tensor | None:
        return None if self.scaler is None else self.scaler.scale(torch.ones((), device=device))

    def _factor(self, name: str) -> float:
        return self.step_balance.factor(name) if self.step_balance is not None else 1.0

    def _drop_gradients(self) -> None:
        for parameter in self._parameters():
            parameter.grad = None

    def _parameters(self) -> list[nn.Parameter]:
        if self._optimizer is not None:
            return [p for group in self._optimizer.param_groups for p in group["params"]]
        return list(self.network.parameters()) if self.network is not None else []

    # -- with taps -------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        for entry in self._tapped_outputs:
            entry.release()
        self._tapped_outputs = []
        self._outputs = WeakIdKeyDictionary()
        self._decided = False
        self._values = {}

    def _drop_dead_outputs(self) -> None:
        """Outputs that are gone and were never back-propagated must not keep their graphs alive."""
        for entry in self._tapped_outputs:
            if not entry.norms and entry.alive() is None:
                entry.release()
        self._tapped_outputs = [entry for entry in self._tapped_outputs if entry.norms or entry.alive() is not None]

    def _open_step(self) -> StepBalance:
        """The step that taps have measured, its readings in the balance."""
        balance = self.step_balance
        assert balance is not None
        values = self._values
        self._begin()
        self._values = values  # noted on the way forward
        for entry in self._tapped_outputs:
            if entry.norms:
                self._heard.update(entry.norms)
                # What the loop divided by the number of parts is measured as it would be on a whole batch.
                norms = {name: norm * self.parts for name, norm in entry.norms.items()}
                balance.measure({name: value for name, value in self._values.items() if name in norms}, norms)
        return balance

    def _decide_at_the_gate(self, _: TappedOutput) -> Mapping[str, float] | None:
        if not self._decided:
            self._decided = True
            self.skipped = not self._open_step().decide()
        return None if self.skipped else {name: self._factor(name) for name in self.losses}

    def _before_step(self, *_: Any) -> None:
        """The optimizer is about to step: the verdict on what the taps have measured."""
        if self.step_balance is None or not (self._tapped_outputs or (self._taps and _distributed())):
            return
        if not self._decided:
            balance = self._open_step()
            if balance.measured or _distributed():
                self._decided = True
                self.skipped = not (balance.decide() if balance.decides_first else balance.ready())
        if self.skipped and self.scaler is None:
            self._drop_gradients()

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        overflow = getattr(optimizer, "found_inf", None)  # fused optimizers are called on an overflow as well
        stepped = overflow is None or not bool(overflow)
        self._unsettled_scale = None
        if self.step_balance is not None:
            if not self.skipped:
                self.step_balance.commit(stepped)
            self._warn_of_silent_losses()
        if self._tapped_outputs and self.record is not None and self.iteration % self.log_every == 0:
            self.record.scalars(self.iteration, self.log())
        self._forget()

    def _warn_of_silent_losses(self) -> None:
        for name, times in list(self._tapped.items()):
            if name in self._heard:
                del self._tapped[name]
            elif times >= SILENT_STEPS:
                del self._tapped[name]
                self._heard.add(name)
                self.logger.warning(
                    f"{name} was tapped {times} times and sent no gradient back: it is not balanced. Its input is no "
                    "output of the network (a leaf, a detached or checkpointed tensor), or nothing is back-propagated."
                )

    # -- what the run is -------------------------------------------------------------------------------------------

    def _describe(self, options: DynamicLossScheduling, total_iter: int) -> None:
        assert self.record is not None
        name = type(self.network).__name__ if self.network is not None else None
        self.record.describe(
            name=self.record.folder.name,
            host="own loop",
            total_iter=total_iter,
            scheduling=options,
            target=options.target_rule,
            losses=[{"name": i.name, "role": i.role, "weight": i.base_weight} for i in self.losses.values()],
            network={"type": name, "parameters": _parameters(self.network)},
        )


def _infos(
    losses: Mapping[str, float] | Sequence[LossInfo], roles: Mapping[str, Role], options: DynamicLossScheduling
) -> list[LossInfo]:
    if not isinstance(losses, Mapping):
        return list(losses)
    for what, names in (("roles", roles), ("manual_weights", options.manual_weights)):
        for name in names:
            if name not in losses:
                raise OptionError(f"{what}.{name}", f"no such loss; there are {', '.join(losses)}")
    weights = {**losses, **options.manual_weights}
    return [LossInfo(name, roles.get(name, role_of(name)), float(weight)) for name, weight in weights.items()]


def _size(network: nn.Module | None, size: str | int | None) -> tuple[str | int, str]:
    if size is not None:
        return size, f"size {size}" if isinstance(size, str) else f"{size:,} trainable parameters"
    if network is None:
        raise OptionError("network", "is missing; give the network that trains, or its size")
    return detect_size(network)


def _record(record: str | Path | RunRecord | None) -> RunRecord | None:
    if _distributed() and torch.distributed.get_rank() != 0:
        return None
    return RunRecord(record) if isinstance(record, str | Path) else record


def _parameters(network: nn.Module | None) -> int | None:
    return None if network is None else sum(p.numel() for p in network.parameters() if p.requires_grad)


def _divided(loss: Tensor | None, parts: int) -> Tensor | None:
    return loss if loss is None or parts == 1 else loss / parts


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
