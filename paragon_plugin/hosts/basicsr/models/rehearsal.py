"""One optimizer step of everything in a model, before a run begins: every loss, active or late, and its networks."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ....errors import OptionError
from ....scheduling.output_gradients import OutputGradients
from ..recipe.recipe import RecipeLoss
from .scheduled_losses import sharing_a_pass


def rehearse_step(model: Any, batch: Mapping[str, Any]) -> dict[str, float]:
    """One real optimizer step of the network on a batch, with each loss by itself: its value and its gradient finite.

    The model changes; `resilience.model_state` keeps it. The scheduler is not asked, and nothing is written.

    Args:
        model: A ParagonSRModel.
        batch: Of the training set, as its loader gives it.

    Returns:
        The value of each loss, of the last part where the batch is taken in parts.

    Raises:
        OptionError: The batch, the network, a loss or the optimizer does not fit the others.
    """
    try:
        with refused_as("datasets.train"):
            model.feed_data(batch)
    except OptionError as error:
        if isinstance(error.__cause__, KeyError):
            problem = f"gives no {error.__cause__}, which {type(model).__name__} needs"
            raise OptionError("datasets.train", problem) from error
        raise
    if not hasattr(model, "gt"):
        raise OptionError("datasets.train", "gives no HR images (gt) to train on; take a paired data set")
    require_finite("datasets.train", {"its first LR images": model.lq, "its first HR images": model.gt})
    step, parts = model.step_g, model._parts()
    step.zero_grad()
    outputs: list[Tensor] = []
    values: dict[str, Tensor] = {}
    for number, part in enumerate(parts, start=1):
        with model._reduce_gradients(model.net_g, number == len(parts)):
            with refused_as("network_g"), step.autocast():
                output = model.net_g(model._laid_out(model.lq[part]))
            if output.shape != model.gt[part].shape:
                raise OptionError(
                    "network_g", f"gives {tuple(output.shape)} where images are {tuple(model.gt[part].shape)}"
                )
            require_finite("network_g", {"its output": output})
            gradients = _of_each_loss(model, output, part)
            with refused_as("network_g"):
                gradients.backward(dict.fromkeys(gradients.values, 1 / len(parts)))
        outputs.append(output.detach())
        values = gradients.values
    model.output = torch.cat(outputs)
    take_step("network_g", "train.optim_g", model.net_g, step)
    if model.ema_decay > 0:
        model.model_ema(decay=model.ema_decay)
    return {name: value.item() for name, value in values.items()}


def _of_each_loss(model: Any, output: Tensor, part: slice) -> OutputGradients:
    losses: Sequence[RecipeLoss] = model.losses.recipe
    with refused_as("datasets.train"):
        inputs, again = model.loss_inputs(part), model.loss_inputs(part)
    gradients = OutputGradients(output)
    for group in sharing_a_pass([loss for loss in losses if loss.trains]):
        with _refused_as_loss(group):
            gradients.add(lambda y, group=group: _checked(model.losses.evaluate(group, y, inputs)))
    for loss in losses:
        if not loss.trains:
            with _refused_as_loss([loss]), torch.no_grad():
                _checked(model.losses.evaluate([loss], output.detach(), again))
    for name, norm in gradients.norms().items():
        if not bool(torch.isfinite(norm)):
            raise OptionError(
                "train", f"{name}: its gradient is {norm.item():g} on the first images; look at its weight"
            )
    return gradients


def _checked(values: dict[str, Tensor]) -> dict[str, Tensor]:
    for name, value in values.items():
        if value.dim() != 0:
            raise OptionError("train", f"{name} must be one number, is {tuple(value.shape)}; use reduction: mean")
        if not bool(torch.isfinite(value)):
            raise OptionError(
                "train", f"{name} is {value.item():g} on the first images; look at its options and weight"
            )
    return values


@contextlib.contextmanager
def _refused_as_loss(losses: Sequence[RecipeLoss]) -> Iterator[None]:
    where = "network_d" if losses[0].call.uses_discriminator else "train"
    with refused_as(where, ", ".join(term.name for loss in losses for term in loss.terms)):
        yield


@contextlib.contextmanager
def refused_as(where: str, what: str = "") -> Iterator[None]:
    """Networks, losses and optimizers raise nearly anything: one line that names the part."""
    try:
        yield
    except OptionError:
        raise
    except torch.OutOfMemoryError as error:
        raise OptionError(
            "datasets.train.batch_size_per_gpu", "one step of it does not fit into the GPU's memory (accum_iter helps)"
        ) from error
    except Exception as error:
        text = str(error).strip()
        if not isinstance(error, ValueError | AssertionError | RuntimeError | OSError):  # a word without a sentence
            text = f"{text} ({type(error).__name__}; --debug shows where)".strip()
        raise OptionError(where, f"{what}: {text}" if what else text or type(error).__name__) from error


def take_step(where: str, optimizer: str, net: nn.Module, step: Any) -> None:
    """Step the optimizer on the gradients that are there; gradients and weights must be finite.

    Args:
        where: Block of the network.
        optimizer: Block of its optimizer.
        net: The network.
        step: Its `OptimizerStep`.
    """
    gradients = {f"the gradient of {n}": p.grad for n, p in net.named_parameters() if p.grad is not None}
    require_finite(where, gradients)
    with refused_as(optimizer):
        step.step(net.parameters())
    require_finite(optimizer, {f"after one step {name}": weight for name, weight in net.named_parameters()})


def require_finite(where: str, tensors: Mapping[str, Tensor]) -> None:
    """Raise OptionError for the first tensor with NaN or infinity."""
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise OptionError(where, f"{name}: holds NaN or infinity")


@contextlib.contextmanager
def without_loss_scale(steps: Iterable[Any]) -> Iterator[None]:
    """Float16's first steps overflow by design until the scale fits; what is looked at is the gradient itself."""
    scalers = [(step, step.scaler) for step in steps]
    for step, _ in scalers:
        step.scaler = None
    try:
        yield
    finally:
        for step, scaler in scalers:
            step.scaler = scaler
