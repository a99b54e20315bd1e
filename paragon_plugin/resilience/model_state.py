"""Tries out a model and puts it back afterwards, bit for bit."""

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


@contextlib.contextmanager
def model_state_kept(model: object) -> Iterator[None]:
    """At the end of the block the model is as before, also after training and validation.

    It restores attributes, and removes new ones. It restores networks, optimizers and their schedulers among the
    attributes, or in lists and dictionaries there: weights, buffers, gradients, modes. The copies are on the CPU, so a
    GPU holds nothing twice. Objects that the model shares with others, such as its options, are not restored.

    Args:
        model: Any object that holds networks and optimizers as attributes.
    """
    attributes = dict(vars(model))
    plain = {name: _copied(value) for name, value in attributes.items() if isinstance(value, dict) and name != "opt"}
    parts = [part for value in attributes.values() for part in _parts(value)]
    networks = [_Network(part) for part in parts if isinstance(part, nn.Module)]
    optimizers = [(part, _on_cpu(part.state_dict())) for part in parts if isinstance(part, Optimizer)]
    schedulers = [(part, copy.deepcopy(part.state_dict())) for part in parts if isinstance(part, LRScheduler)]
    try:
        yield
    finally:
        vars(model).clear()
        vars(model).update(attributes | {name: value for name, value in plain.items() if value is not None})
        for network in networks:
            network.restore()
        for part, state in [*optimizers, *schedulers]:
            part.load_state_dict(state)


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else [value]


def _copied(value: dict[Any, Any]) -> dict[Any, Any] | None:
    """A copy of a dictionary of plain values; None where it holds parts of the model, which are kept themselves."""
    if any(isinstance(part, nn.Module | Optimizer | LRScheduler) for part in value.values()):
        return None
    return copy.deepcopy({key: item.detach() if isinstance(item, Tensor) else item for key, item in value.items()})


def _on_cpu(value: Any) -> Any:
    """A copy with its tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _on_cpu(item) for key, item in value.items()}
    return type(value)(map(_on_cpu, value)) if type(value) in (list, tuple) else copy.deepcopy(value)


class _Network:
    """The state of a network."""

    def __init__(self, network: nn.Module):
        self.modules = [
            (module, module.training, dict(module._parameters), dict(module._buffers)) for module in network.modules()
        ]
        self.gradients = [(weight, weight.grad, weight.requires_grad) for weight in network.parameters()]
        tensors = {id(t): t for t in [*network.parameters(), *network.buffers()]}
        self.values = [(tensor, tensor.detach().to("cpu", copy=True)) for tensor in tensors.values()]

    @torch.no_grad()
    def restore(self) -> None:
        for module, training, parameters, buffers in self.modules:
            module.training = training
            module._parameters.update(parameters)
            module._buffers.update(buffers)
        for tensor, value in self.values:
            tensor.copy_(value)
        for weight, gradient, trains in self.gradients:
            weight.grad = gradient
            weight.requires_grad_(trains)
