"""How each kind of criterion is called: what it looks at beside the network's output."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from ....errors import OptionError
from ....scheduling.options import LossRole
from .step_inputs import StepInputs

Result = Tensor | tuple[Tensor | None, ...]


@dataclass(frozen=True)
class Call:
    """A way to call a criterion, and what it needs of a step."""

    run: Callable[[nn.Module, Tensor, StepInputs, LossRole], Result]
    """(criterion, output, inputs, role) to what the criterion returns."""
    uses_discriminator: bool = False
    """Shares the discriminator's pass with others of its kind."""
    uses_features: bool = False
    """Wants the discriminator's features kept."""
    uses_ema: bool = False
    """Wants the averaged network's output."""
    relativistic: bool = False
    """Compares each side with the mean of the other."""


def call_for(criterion: nn.Module) -> Call:
    """The way a criterion is called, by what it says of itself or by its arguments."""
    if hasattr(criterion, "gan_type"):
        return Call(_adversarial, uses_discriminator=True)
    if getattr(criterion, "looks_at_features", False):
        return Call(_features, uses_discriminator=True, uses_features=True)
    if getattr(criterion, "looks_at_ema", False):
        return Call(_with_ema, uses_ema=True)
    # A total-variation loss looks at the output alone: its second argument is no target.
    parameters = list(inspect.signature(criterion.forward).parameters)
    return Call(_pair if len(parameters) > 1 and parameters[1] != "weight" else _alone)


def relativistic_call(path: str, criterion: nn.Module) -> Call:
    """The relativistic average form of an adversarial criterion, as the host's ESRGANModel has it.

    Raises:
        OptionError: The criterion's type has no such form.
    """
    if criterion.gan_type == "hinge":
        # The host's hinge ignores the label for the generator: its two halves cancel and nothing would train.
        raise OptionError(
            path, "gan_type hinge has no relativistic form here; use vanilla, lsgan or 'relativistic: false'"
        )
    if type(criterion).__name__ == "MultiScaleGANLoss":
        raise OptionError(path, "MultiScaleGANLoss has no relativistic form; use GANLoss or 'relativistic: false'")
    return Call(_relativistic, uses_discriminator=True, relativistic=True)


def _pair(criterion: nn.Module, output: Tensor, inputs: StepInputs, role: LossRole) -> Result:
    return criterion(output, inputs.target(role))


def _alone(criterion: nn.Module, output: Tensor, _: StepInputs, __: LossRole) -> Result:
    return criterion(output)


def _with_ema(criterion: nn.Module, output: Tensor, inputs: StepInputs, _: LossRole) -> Result:
    assert inputs.ema_output is not None
    return criterion(output, inputs.gt, inputs.ema_output)


def _adversarial(criterion: nn.Module, output: Tensor, inputs: StepInputs, _: LossRole) -> Result:
    assert inputs.discriminator is not None
    return criterion(inputs.discriminator.fake(output).logits, True, is_disc=False)


def _relativistic(criterion: nn.Module, output: Tensor, inputs: StepInputs, _: LossRole) -> Result:
    """Half of each: reals below the mean fake, fakes above the mean real."""
    assert inputs.discriminator is not None
    real = inputs.discriminator.real().logits
    fake = inputs.discriminator.fake(output).logits
    reals_fail = criterion(real - fake.mean(), False, is_disc=False)
    fakes_pass = criterion(fake - real.mean(), True, is_disc=False)
    return (reals_fail + fakes_pass) / 2


def _features(criterion: nn.Module, output: Tensor, inputs: StepInputs, _: LossRole) -> Result:
    assert inputs.discriminator is not None
    real = inputs.discriminator.real().features
    return criterion(inputs.discriminator.fake(output).features, real)
