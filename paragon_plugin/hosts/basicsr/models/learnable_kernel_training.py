"""Trains the learnable kernel of a network's base with a learning rate of its own, and logs the kernel's values.

The kernel has five numbers among thousands of parameters. It starts at a good upscale and cannot leave its bounds. So
it can take larger steps than the convolutions. `train: learnable_kernel_lr_factor: 2.0` gives it twice their learning
rate, at every iteration of any schedule and warm-up. It brings little; docs/networks.md has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ....errors import OptionError
from ....ops.learnable_kernel import ALPHA_BOUND, LearnableMagicKernelSharp2021Upsample, within

OPTION = "learnable_kernel_lr_factor"
_PATH = f"train.{OPTION}"


def learnable_kernel(net: nn.Module) -> LearnableMagicKernelSharp2021Upsample | None:
    """The learnable kernel of a network, through any wrapper; None where it has none."""
    kernels = (module for module in net.modules() if isinstance(module, LearnableMagicKernelSharp2021Upsample))
    return next(kernels, None)


def parse_lr_factor(train: Mapping[str, Any]) -> float | None:
    """The option as a factor above 0 and at most 1000; None where it is left out.

    Raises:
        OptionError: It is anything else.
    """
    value = train.get(OPTION)
    if value is None:
        return None
    try:
        factor = math.nan if isinstance(value, bool) else float(value)  # 1e1 is text to YAML
    except (TypeError, ValueError):
        factor = math.nan
    if not 0 < factor <= 1000:
        raise OptionError(_PATH, f"must be a number above 0 and at most 1000, is {value!r}")
    return factor


class KernelLearningRate:
    """Keeps the learnable kernel's learning rate at a factor of the learning rate of the other parameters.

    The kernel's parameters become the last parameter group of the optimizer. A schedule that ends at a fixed smallest
    rate would bring both groups to that rate and lose the factor. So the rate of the kernel's group is computed from
    the first group's after every change. The factor is not part of the training state. A changed factor holds from a
    resume on.

    Args:
        optimizer: Of `net`, before its first step. The kernel's parameters are taken out of their group.
        net: With a learnable kernel.
        factor: Above 0.

    Raises:
        OptionError: `net` has no learnable kernel, or none that trains.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, net: nn.Module, factor: float) -> None:
        kernel = learnable_kernel(net)
        own = [] if kernel is None else [p for p in kernel.parameters() if p.requires_grad]
        if not own:
            raise OptionError(
                _PATH, "this network has no learnable kernel; write 'use_learnable_magic_kernel: true' in network_g"
            )
        self.optimizer = optimizer
        self.factor = factor
        taken = {id(parameter) for parameter in own}
        for group in optimizer.param_groups:
            group["params"] = [parameter for parameter in group["params"] if id(parameter) not in taken]
        optimizer.add_param_group({"params": own, "lr": factor * optimizer.param_groups[0]["lr"]})

    def follow(self) -> None:
        """Set the kernel's rate from the others'; to be called after every change of learning rates."""
        groups = self.optimizer.param_groups
        groups[-1]["lr"] = self.factor * groups[0]["lr"]


def check_resumed_groups(optimizer: torch.optim.Optimizer, states: Sequence[Mapping[str, Any]]) -> None:
    """Compare an optimizer with the first of the saved ones it will be given.

    Raises:
        OptionError: One has a group for the learnable kernel and the other has not.
    """
    saved = len(states[0].get("param_groups", ())) if states else 0
    if saved and saved != len(optimizer.param_groups):
        problem = "was not set" if saved < len(optimizer.param_groups) else "was set"
        raise OptionError(
            _PATH, f"{problem} when the run to resume began; its value may change, but it cannot be added or removed"
        )


@torch.no_grad()
def kernel_log(net: nn.Module) -> dict[str, float]:
    """The kernel's values as they are in effect, for the host's logger; empty for a network without one.

    `learnable_kernel/alpha` (strength of sharpening), `learnable_kernel/bias` (weight of the diagonal curvature) and
    `learnable_kernel/tap_0` (outermost) to `tap_3` (centre; the other three mirror them). One read of the device.
    """
    kernel = learnable_kernel(net)
    if kernel is None:
        return {}
    alpha = within(kernel.sharp_alpha, kernel.init_alpha, ALPHA_BOUND)
    values: Tensor = torch.cat((alpha[None], kernel.diagonal()[None].to(alpha), kernel.taps()[:4].to(alpha)))
    names = ("alpha", "bias", *(f"tap_{i}" for i in range(4)))
    return {f"learnable_kernel/{name}": value for name, value in zip(names, values.tolist(), strict=True)}
