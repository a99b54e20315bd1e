"""The optimizers that an option file may name: those of torch.optim that take a step from gradients alone."""

import torch

_UNUSABLE = (torch.optim.Optimizer, torch.optim.LBFGS, torch.optim.SparseAdam)
"""The base class, one that evaluates the loss itself, and one for sparse gradients."""


def optimizers() -> dict[str, type[torch.optim.Optimizer]]:
    """Optimizer classes by name."""
    return {
        name: value
        for name, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer) and value not in _UNUSABLE
    }
