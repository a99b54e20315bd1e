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

import logging
import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from ..errors import OptionError
from .network_size import detect_size, trainable_parameters
from .options import ROLES, DynamicLossScheduling, Role, parse_dynamic_loss_scheduling
from .output_gradients import OutputGradients
from .readings import LossInfo
from .roles import role_of
from .run_record import RunRecord
from .scheduler import Step
from .step_balance import StepBalance, add_by_name, group_exists
from .taps import Arrivals, TappedOutput
from .weights_block import weights_block

DISABLE = "PARAGON_DISABLE"
"""Environment variable: `1` turns every `LossBalance` into plain training with the base weights."""

STATE = "paragon_loss_balance"
"""Key under which the state rides in an optimizer's own."""

SILENT_STEPS = 100
"""A loss that was evaluated so many times and never sent a gradient back is told of."""

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
        if os.environ.get(DISABLE) == "1":
            options = msgspec.structs.replace(options, enabled=False)
        self.losses = {info.name: info for info in _infos(losses, roles or {}, options)}
        self.options = options
        self.network = network
        self.weights_included = weights_included
        self.scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self.parts = parts
        self.total_iter = total_iter
        self.log_every = log_every or max(1, min(100, total_iter // 200))
        self.logger = logger
        self.iteration = 0
        """Optimizer steps that have begun."""
        self.record = _record(record)
        self.step_balance: StepBalance | None = None
        """The decisions; None where scheduling is off."""
        self._optimizer: torch.optim.Optimizer | None = None
        self._skipped = False
        self._ready = True
        """Whether the latest step was let through; an overflow is, for the scaler to leave out."""
        self._part = 0
        self._scale_before: Tensor | None = None
        """Loss scale of a step whose fate at the optimizer is not known yet."""
        self._values: dict[str, Tensor] = {}
        # With taps. What has no weak reference stands here for one optimizer step.
        self._taps = True
        """Whether gradients are seen by taps; on every rank or on none. Until `backward` says otherwise."""
        self._outputs: Any = WeakIdKeyDictionary()
        """`TappedOutput` by output."""
        self._awaited: weakref.WeakSet[Arrivals] = weakref.WeakSet()
        """Of all outputs that were tapped in this step and can still send something."""
        self._arrived: list[Arrivals] = []
        """Of the outputs that have sent something in this step."""
        self._received = 0
        """Outputs that have sent something, ever."""
        self._latest: dict[str, weakref.ref[Arrivals]] = {}
        self._noted: dict[str, Tensor] = {}
        self._decided: frozenset[str] | None = None
        """What this step was decided on; None before."""
        self._passed = False
        """Whether something of this step went on with the factors of the step before."""
        self._gates = True
        self._in_step = False
        """Whether the optimizer is stepping, and calls the loop back for the gradients."""
        self._evaluated: dict[str, int] = {}
        self._heard: set[str] = set()
        self._told_of_outputs = False
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

    @property
    def skipped(self) -> bool:
        """Whether the latest step is left out, because a loss or a gradient was not finite.

        An overflow inside the network shows once the scaler has updated its scale; asking then reads the device.
        """
        return self._skipped or self._overflowed()

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
                raise ValueError(f"no loss '{name}' in this balance; it has {', '.join(self.losses)}")
            _refuse_non_scalar(name, loss)
        if gt is not None and gt.dim() != 4:
            raise ValueError(f"gt must be images (B, C, H, W), is {tuple(gt.shape)}")
        self._taps = False
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
        factors = balance.weigh(gradients, gt, others)
        if factors is not None:
            # A value that is not finite may have a gradient that is: the scaler must see it.
            watched = [*weighted.values(), *([] if others is None else [others])]
            watched = [] if self.scaler is None or balance.observes else watched
            poison = sum((0 * value.detach().float() for value in watched), torch.zeros((), device=output.device))
            gradients.backward(factors, _divided(others, self.parts), poison=poison if watched else None)
        if not last:
            return True
        self._judge()
        if self._ready and self.scaler is None:
            balance.commit(True)
        elif self._ready:
            self._scale_before = gradients.loss_scale
        self._finish_step()
        return not self._skipped

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
        held. Held is as well what comes after the decision of an optimizer step, and a step whose losses are not all
        back-propagated in one pass: there is one decision a step.

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
        self._expect(name)
        if not _has_graph(output):
            return output
        tapped = self._known(output)
        if tapped is None:
            gated = balance.decides_first and self._gates and not group_exists()
            arrivals = Arrivals(self, gated=gated, after=self._received)
            tapped = self._outputs[output] = TappedOutput(output, arrivals)
            self._awaited.add(arrivals)
        self._latest[name] = weakref.ref(tapped.arrivals)
        return tapped.tap(name, output)

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
        """

        def tapped(argument: Any) -> Tensor | None:
            if not isinstance(argument, Tensor) or not torch.is_grad_enabled():
                return None
            if any(parameter.requires_grad for parameter in module.parameters()) and self._known(argument) is None:
                if _has_graph(argument):
                    self._expect(name)
                return None
            result = self.tap(name, argument)
            return None if result is argument else result

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            for place, argument in enumerate(args):
                if (result := tapped(argument)) is not None:
                    return (*args[:place], result, *args[place + 1 :]), kwargs
            for key, argument in kwargs.items():
                if (result := tapped(argument)) is not None:
                    return args, {**kwargs, key: result}
            return None

        def after(_: nn.Module, __: Any, result: Any) -> None:
            scalars = [value for value in _items(result) if value.dim() == 0 and value.requires_grad]
            if scalars:
                self.note_value(name, sum(scalars[1:], scalars[0]))

        hooks = [module.register_forward_pre_hook(before, with_kwargs=True)]
        if note:
            hooks.append(module.register_forward_hook(after))

        def remove() -> None:
            for hook in hooks:
                hook.remove()

        return remove

    def note_value(self, name: str, value: Tensor) -> None:
        """Say what a tapped loss's value is on the output that it was tapped on last, for logs and what follows values.

        Several values of one loss on one output add up.
        """
        weight = 1.0 if self.weights_included else self.losses[name].base_weight or 1.0
        latest = self._latest.get(name)
        arrivals = latest() if latest is not None else None
        add_by_name(self._noted if arrivals is None else arrivals.values, name, value.detach() * weight)

    # -- state -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """State to save with the network's: plain values that load without running code."""
        self._settle()
        own = self.step_balance.state_dict() if self.step_balance is not None else {}
        return {"iteration": self.iteration, "weights_included": self.weights_included, **own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`; a state of another recipe, or none, starts a fresh calibration."""
        self._close()
        self._scale_before = None
        self._part = 0
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
        values = {name: read[name] if name in read else float(value) for name, value in self._values.items()}
        losses = {f"losses/l_{name}": values[name] for name in self.losses if name in values}
        return losses | (self.step_balance.log() if self.step_balance is not None else {})

    def weights(self) -> dict[str, float]:
        """The weights it has arrived at, base weight times factor: constants to go on with."""
        base = {name: info.base_weight for name, info in self.losses.items()}
        return base | (self.step_balance.weights() if self.step_balance is not None else {})

    def weights_block(self) -> str:
        """`weights()` as lines to paste, four digits each: valid YAML."""
        return weights_block(self.weights())

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
        self._skipped, self._ready = False, True
        self._values = {}
        if self.step_balance is not None:
            self.step_balance.begin(self.iteration, self.parts)

    def _judge(self) -> None:
        """The verdict on a step that was measured."""
        balance = self.step_balance
        assert balance is not None
        self._ready = balance.ready()
        self._skipped = not self._ready or balance.overflowed
        if self._skipped and self.scaler is None:
            self._drop_gradients()

    def _settle(self) -> None:
        """Learn what became of a step under a scaler by now."""
        if self._scale_before is not None:
            stepped = not self._overflowed()
            self._scale_before = None
            if self.step_balance is not None:
                self.step_balance.commit(stepped)
        elif self._arrived and self._overflowed():
            self._leave_out()

    def _overflowed(self) -> bool:
        """Whether the scaler has left the latest step out: it lowers the scale then. Reads the device."""
        before = self._scale_before
        if before is None and self.scaler is not None and self._arrived:
            before = self._arrived[-1].scale
        now = self._scale(before.device) if before is not None else None
        return now is not None and bool(now < cast(Tensor, before))

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

    def _finish_step(self) -> None:
        if self._part % self.parts == 0 and self.record is not None and self.iteration % self.log_every == 0:
            self.record.scalars(self.iteration, self.log())

    def _note_values(self, losses: Mapping[str, Tensor], weighted: Mapping[str, Tensor]) -> None:
        for name, loss in losses.items():
            add_by_name(self._values, name, weighted.get(name, loss).detach() / self.parts)

    def _scale(self, device: torch.device) -> Tensor | None:
        return None if self.scaler is None else self.scaler.scale(torch.ones((), device=device))

    def _drop_gradients(self) -> None:
        for parameter in self._parameters():
            parameter.grad = None

    def _parameters(self) -> list[nn.Parameter]:
        if self._optimizer is not None:
            return [p for group in self._optimizer.param_groups for p in group["params"]]
        return list(self.network.parameters()) if self.network is not None else []

    # -- with taps: what comes on the way back (`taps.Receiver`) ---------------------------------------------------

    def factor(self, name: str) -> float:
        """Factor of a loss in force; 1 for one that is not scheduled."""
        scheduled = self.step_balance is not None and self.losses[name].base_weight != 0
        return cast(StepBalance, self.step_balance).factor(name) if scheduled else 1.0

    def loss_scale(self, device: torch.device) -> Tensor | None:
        """What gradients are multiplied by now, a scalar on a device; None for 1."""
        return self._scale(device)

    def receive(self, arrivals: Arrivals, names: Iterable[str]) -> None:
        """Gradients of these losses have come from an output. With the first of them a new step may begin."""
        self._heard.update(names)
        if any(known is arrivals for known in self._arrived):
            return
        # Where this output is newer than what has come, and nothing is accumulated, that was left out by a scaler or by
        # the loop itself.
        newer = self._arrived and arrivals.after == self._received and not (self._in_step and self._decided is not None)
        if newer and all(p.grad is None for p in self._parameters()):
            self._leave_out()
        self._arrived.append(arrivals)
        self._received += 1

    def decide(self, came: frozenset[str]) -> Mapping[str, float] | None:
        """Factors for what has come to a gate: of this step if all that is awaited has come, else of the one before."""
        if self._decided is None:
            awaited = {name for other in self._awaited for name in other.names}
            if self._passed or not came >= awaited:
                self._passed = True
            else:
                self._decided = came
                self._measure()
                assert self.step_balance is not None
                self.step_balance.decide()
                self._ready = self.step_balance.ready()
                self._skipped = not self._ready
        return None if self._skipped else {name: self.factor(name) for name in came}

    def _leave_out(self) -> None:
        """A step that was measured never came to its end."""
        if self._decided is None:
            self.iteration += 1
        if self.scaler is not None and self.step_balance is not None:
            self.step_balance.commit(False)
        self._arrived = []
        self._decided = None
        self._passed = False

    def _close(self) -> None:
        """The step is over; what its outputs still send counts for another one."""
        self._outputs = WeakIdKeyDictionary()
        self._awaited = weakref.WeakSet()
        self._arrived = []
        self._latest = {}
        self._noted = {}
        self._decided = None
        self._passed = False

    def _measure(self) -> None:
        """Begin the step that taps have measured, its readings in the balance."""
        balance = self.step_balance
        assert balance is not None
        if self.scaler is not None and len(self._arrived) > self.parts:
            now = self._scale(cast(Tensor, self._arrived[-1].scale).device)
            fresh = [arrivals for arrivals in self._arrived if bool(arrivals.scale == now)]
            if len(fresh) < len(self._arrived):
                self._leave_out()
                self._arrived = fresh
        self._begin()
        self._values |= self._noted
        for arrivals in self._arrived:
            for name, value in arrivals.values.items():
                add_by_name(self._values, name, value / self.parts)
            # What the loop divided by the number of parts is measured as it would be on a whole batch.
            balance.measure(arrivals.values, {name: norm * self.parts for name, norm in arrivals.norms.items()})

    # -- with taps: what the loop and its optimizer do ---------------------------------------------------------------

    def _known(self, output: Tensor) -> TappedOutput | None:
        """The taps of an output, where it was tapped in this step and is still what it was."""
        tapped: TappedOutput | None = self._outputs.get(output)
        return tapped if tapped is not None and tapped.still(output) else None

    def _before_step(self, _: torch.optim.Optimizer, args: Any, kwargs: dict[str, Any]) -> Any:
        """The optimizer is about to step, or to call the loop for the gradients first."""
        if self.step_balance is None or not self._taps:
            return None
        self._in_step = True
        closure: Callable[[], Any] | None = args[1] if len(args) > 1 else kwargs.get("closure")
        if closure is None:
            self._judge_taps()
            return None

        def judged() -> Any:
            result = closure()
            self._judge_taps()
            return result

        return ((args[0], judged, *args[2:]), kwargs) if len(args) > 1 else (args, {**kwargs, "closure": judged})

    def _judge_taps(self) -> None:
        """The verdict on what the taps have measured. The scaler has looked at the gradients by now."""
        if self._decided is None and (self._arrived or group_exists()):
            self._warn_of_other_outputs()
            balance = self.step_balance
            assert balance is not None
            self._measure()
            self._decided = frozenset(name for arrivals in self._arrived for name in arrivals.norms)
            if balance.decides_first:
                balance.decide()
            self._judge()
        elif not {name for arrivals in self._arrived for name in arrivals.norms} <= (self._decided or frozenset()):
            self._gates = False  # this loop goes on to back-propagate other losses: at the end of a step all are there
        if self._skipped and self._arrived:
            self._drop_gradients()

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        overflow = getattr(optimizer, "found_inf", None)  # fused optimizers are called on an overflow as well
        stepped = overflow is None or not bool(overflow)
        self._in_step = False
        self._scale_before = None
        self._part = 0
        if self.step_balance is not None:
            if self._ready:
                self.step_balance.commit(stepped)
            self._skipped = self._skipped or not stepped
        if self._arrived and self.record is not None and self.iteration % self.log_every == 0:
            self.record.scalars(self.iteration, self.log())
        self._close()

    def _expect(self, name: str) -> None:
        """A loss is evaluated where its gradient counts; tells of one that never sends any."""
        if name in self._heard or self.step_balance is None or self.losses[name].base_weight == 0:
            return
        self._evaluated[name] = times = self._evaluated.get(name, 0) + 1
        if times == SILENT_STEPS:
            self._heard.add(name)
            self.logger.warning(
                f"{name} was evaluated {times} times and sent no gradient back: it is not balanced. Its input is no "
                "output of the network (a leaf, a detached or checkpointed tensor), nothing is back-propagated, or the "
                "module that was tapped trains itself."
            )

    def _warn_of_other_outputs(self) -> None:
        """The gradient on a tensor derived from the output is another one than that on the output."""
        names = [frozenset(arrivals.norms) for arrivals in self._arrived]
        if self._told_of_outputs or len(names) <= self.parts or len(set(names)) == 1:
            return
        self._told_of_outputs = True
        groups = " | ".join(dict.fromkeys(", ".join(sorted(group)) for group in names))
        self.logger.warning(
            f"Losses are measured on different tensors ({groups}), and their shares compare only roughly. Give each "
            "loss the network's output itself, not edited in place, converted or augmented."
        )

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
    losses: Mapping[str, float] | Sequence[LossInfo], roles: Mapping[str, Role], options: DynamicLossScheduling
) -> list[LossInfo]:
    if not losses:
        raise OptionError("losses", "is empty; give the base weight of each loss by name")
    if not isinstance(losses, Mapping):
        return list(losses)
    for name, role in roles.items():
        if role not in ROLES:
            raise OptionError(f"roles.{name}", f"must be one of {', '.join(ROLES)}, is {role!r}")
    for what, names in (("roles", roles), ("manual_weights", options.manual_weights)):
        for name in names:
            if name not in losses:
                raise OptionError(f"{what}.{name}", f"no such loss; there are {', '.join(losses)}")
    weights = {**losses, **options.manual_weights}
    return [LossInfo(name, roles.get(name, role_of(name)), float(weight)) for name, weight in weights.items()]


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


def _has_graph(output: Tensor) -> bool:
    return output.requires_grad and output.grad_fn is not None and not torch.is_inference(output)


def _items(result: object) -> list[Tensor]:
    """The tensors of a module's result: one, or those of a dict or a sequence."""
    if isinstance(result, Mapping):
        result = list(cast("Mapping[Any, Any]", result).values())
    items = cast("Sequence[Any]", result) if isinstance(result, list | tuple) else [result]
    return [item for item in items if isinstance(item, Tensor)]


def _divided(loss: Tensor | None, parts: int) -> Tensor | None:
    return loss if loss is None or parts == 1 else loss / parts
