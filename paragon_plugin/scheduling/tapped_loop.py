"""Taps in a loop that belongs to somebody else: from gradients that come by to one decision per optimizer step.

    a loss is evaluated -> tap on the output -> the loop's backward pass -> arrivals -> the optimizer is about to step

`taps` measures and weights; this says which step a gradient belongs to, and when the step is decided on: at the gate,
where all that is awaited has come and nothing needs holding, else when the optimizer steps.
"""

import logging
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from .optimizer_steps import OptimizerSteps
from .step_balance import StepBalance, add_by_name, group_exists
from .taps import Arrivals, TappedOutput

SILENT_STEPS = 100
"""A loss that was evaluated so many times and never sent a gradient back is told of."""


class TappedLoop:
    """What the taps of one loop have seen (a `taps.Receiver`); see `LossBalance.tap` and `tap_input` for its use.

    Args:
        balance: The decisions.
        steps: Of the optimizer.
        weights: By loss: the factor that brings a value that is noted to L_i.
        logger: Takes warnings.
    """

    def __init__(
        self, balance: StepBalance, steps: OptimizerSteps, weights: Mapping[str, float], logger: logging.Logger
    ):
        self.balance = balance
        self.steps = steps
        self.weights = dict(weights)
        self.scheduled = frozenset(balance.scheduler.losses)
        self.logger = logger
        self.watching = True
        """Whether gradients are seen by taps; on every rank or on none."""
        # What has no weak reference stands here for one optimizer step.
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

    # -- on the way to the losses ---------------------------------------------------------------------------------

    def tap(self, name: str, output: Tensor) -> Tensor:
        """The output for one loss; see `LossBalance.tap`."""
        if name not in self.scheduled or not torch.is_grad_enabled():
            return output
        self._expect(name)
        if not _has_graph(output):
            return output
        tapped = self._known(output)
        if tapped is None:
            gated = self.balance.decides_first and self._gates and not group_exists()
            arrivals = Arrivals(self, gated=gated, after=self._received)
            tapped = self._outputs[output] = TappedOutput(output, arrivals)
            self._awaited.add(arrivals)
        self._latest[name] = weakref.ref(tapped.arrivals)
        return tapped.tap(name, output)

    def tap_input(self, name: str, module: nn.Module, *, note: bool = True) -> Callable[[], None]:
        """Tap a module from outside, and return what removes the tap; see `LossBalance.tap_input`."""

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
        """Take in a tapped loss's value; see `LossBalance.note_value`."""
        latest = self._latest.get(name)
        arrivals = latest() if latest is not None else None
        add_by_name(self._noted if arrivals is None else arrivals.values, name, value.detach() * self.weights[name])

    # -- with taps: what comes on the way back (`taps.Receiver`) ---------------------------------------------------

    def factor(self, name: str) -> float:
        """Factor of a loss in force; 1 for one that is not scheduled."""
        return self.balance.factor(name) if name in self.scheduled else 1.0

    def loss_scale(self, device: torch.device) -> Tensor | None:
        """What gradients are multiplied by now, a scalar on a device; None for 1."""
        return self.steps.scale(device)

    def receive(self, arrivals: Arrivals, names: Iterable[str]) -> None:
        """Gradients of these losses have come from an output. With the first of them a new step may begin."""
        self._heard.update(names)
        if any(known is arrivals for known in self._arrived):
            return
        # Where this output is newer than what has come, and nothing is accumulated, that was left out by a scaler or by
        # the loop itself.
        newer = self._arrived and arrivals.after == self._received and not (self._in_step and self._decided is not None)
        if newer and all(p.grad is None for p in self.steps.parameters()):
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
                self.balance.decide()
                self.steps.ready = self.balance.ready()
                self.steps.left_out = not self.steps.ready
        return None if self.steps.left_out else {name: self.factor(name) for name in came}

    def settle(self) -> None:
        """Learn whether a step that was measured has been left out by a scaler. Reads the device where that is open."""
        if self.overflowed():
            self._leave_out()

    def overflowed(self) -> bool:
        """Whether the scaler has left out what has come: it lowers the scale then. Reads the device."""
        return bool(self._arrived) and self.steps.lowered_since(self._arrived[-1].scale)

    def _leave_out(self) -> None:
        """A step that was measured never came to its end."""
        if self._decided is None:
            self.steps.iteration += 1
        if self.steps.scaler is not None:
            self.balance.commit(False)
        self._arrived = []
        self._decided = None
        self._passed = False

    def close(self) -> None:
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
        steps, parts = self.steps, self.steps.parts
        if steps.scaler is not None and len(self._arrived) > parts:
            now = steps.scale(cast(Tensor, self._arrived[-1].scale).device)
            fresh = [arrivals for arrivals in self._arrived if bool(arrivals.scale == now)]
            if len(fresh) < len(self._arrived):
                self._leave_out()
                self._arrived = fresh
        steps.begin()
        steps.values |= self._noted
        for arrivals in self._arrived:
            for name, value in arrivals.values.items():
                add_by_name(steps.values, name, value / parts)
            # What the loop divided by the number of parts is measured as it would be on a whole batch.
            self.balance.measure(arrivals.values, {name: norm * parts for name, norm in arrivals.norms.items()})

    # -- with taps: what the loop and its optimizer do ---------------------------------------------------------------

    def _known(self, output: Tensor) -> TappedOutput | None:
        """The taps of an output, where it was tapped in this step and is still what it was."""
        tapped: TappedOutput | None = self._outputs.get(output)
        return tapped if tapped is not None and tapped.still(output) else None

    def before_step(self, _: torch.optim.Optimizer, args: Any, kwargs: dict[str, Any]) -> Any:
        """The optimizer is about to step, or to call the loop for the gradients first (a step pre-hook)."""
        if not self.watching:
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
            self._measure()
            self._decided = frozenset(name for arrivals in self._arrived for name in arrivals.norms)
            if self.balance.decides_first:
                self.balance.decide()
            self.steps.judge()
        elif not {name for arrivals in self._arrived for name in arrivals.norms} <= (self._decided or frozenset()):
            self._gates = False  # this loop goes on to back-propagate other losses: at the end of a step all are there
        if self.steps.left_out and self._arrived:
            self.steps.drop_gradients()

    def after_step(self) -> None:
        """The optimizer has stepped, or would have (a step post-hook)."""
        self._in_step = False
        if self._arrived:
            self.steps.record_numbers()
        self.close()

    def _expect(self, name: str) -> None:
        """A loss is evaluated where its gradient counts; tells of one that never sends any."""
        if name in self._heard or name not in self.scheduled:
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
        if self._told_of_outputs or len(names) <= self.steps.parts or len(set(names)) == 1:
            return
        self._told_of_outputs = True
        groups = " | ".join(dict.fromkeys(", ".join(sorted(group)) for group in names))
        self.logger.warning(
            f"Losses are measured on different tensors ({groups}), and their shares compare only roughly. Give each "
            "loss the network's output itself, not edited in place, converted or augmented."
        )


def _has_graph(output: Tensor) -> bool:
    return output.requires_grad and output.grad_fn is not None and not torch.is_inference(output)


def _items(result: object) -> list[Tensor]:
    """The tensors of a module's result: one, or those of a dict or a sequence."""
    if isinstance(result, Mapping):
        result = list(cast("Mapping[Any, Any]", result).values())
    items = cast("Sequence[Any]", result) if isinstance(result, list | tuple) else [result]
    return [item for item in items if isinstance(item, Tensor)]
