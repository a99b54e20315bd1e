"""Small trainings for the tests of `LossBalance`: networks, losses, batches, and the forms of a step."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from paragon_plugin.scheduling.balance import LossBalance

Form = Literal["backward", "taps"]
FORMS: tuple[Form, ...] = ("backward", "taps")

OPTIONS: dict[str, Any] = {"enabled": True, "auto_calibrate": True, "baseline_iterations": 4}
Criterion = Callable[[Tensor, Tensor], Tensor]

CRITERIA: dict[str, Criterion] = {
    "l1": functional.l1_loss,
    "mse": functional.mse_loss,
    "huber": functional.huber_loss,
    "edge_x": lambda y, t: (y.diff(dim=-1) - t.diff(dim=-1)).abs().mean(),
    "edge_y": lambda y, t: (y.diff(dim=-2) - t.diff(dim=-2)).square().mean(),
    "fft": lambda y, t: (torch.fft.rfft2(y.float()) - torch.fft.rfft2(t.float())).abs().mean(),
    "vgg": lambda y, t: (functional.avg_pool2d(y, 2) - functional.avg_pool2d(t, 2)).abs().mean(),
    "style": lambda y, t: (y.mean((2, 3)) - t.mean((2, 3))).square().mean(),
    "color": lambda y, t: (y.mean(1) - t.mean(1)).abs().mean(),
    "cosh": lambda y, t: (y - t).cosh().log().mean(),
    "var": lambda y, t: (y.var() - t.var()).abs(),
    "top": lambda y, t: (y.amax((2, 3)) - t.amax((2, 3))).square().mean(),
}


def network(seed: int = 0, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Two convolutions; values of the order of images."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.SiLU(), nn.Conv2d(6, 3, 3, padding=1))
    return net.to(dtype)


def batch(number: int, samples: int = 4, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Input and target of a step."""
    generator = torch.Generator().manual_seed(number)
    x, gt = torch.rand(2, samples, 3, 8, 8, generator=generator, dtype=torch.float64)
    return x.to(dtype), gt.to(dtype)


def gradients(net: nn.Module) -> list[Tensor]:
    """Copies of the gradients on a network's parameters."""
    grads = [parameter.grad for parameter in net.parameters()]
    return [torch.zeros(()) if grad is None else grad.clone() for grad in grads]


def weights(net: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in net.parameters()]


def same(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    """Bit for bit."""
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    """Relative difference of two lists of tensors."""
    pairs = list(zip(first, second, strict=True))
    size = sum(float(b.double().square().sum()) for _, b in pairs) ** 0.5
    return sum(float((a.double() - b.double()).square().sum()) for a, b in pairs) ** 0.5 / size


class Run:
    """A training of one form.

    Args:
        form: `backward`, or taps: at the gate for one part and no scaler, else held.
        losses: Base weight by name.
        parts: Of each optimizer step.
        scaler: Its gradient scaler.
        optimizer: Makes the optimizer.
        criteria: By name; those of `CRITERIA`.
        ride: Tie the balance to the optimizer where it is not tapped.
        autocast: Precision of the forward passes.
        settings: Of the `LossBalance`.
    """

    def __init__(
        self,
        form: Form,
        losses: Mapping[str, float],
        *,
        parts: int = 1,
        scaler: Any = None,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
        criteria: Mapping[str, Criterion] = CRITERIA,
        options: Mapping[str, Any] | None = None,
        net: nn.Module | None = None,
        ride: bool = False,
        autocast: torch.dtype | None = None,
        **settings: Any,
    ):
        self.form, self.parts, self.scaler, self.criteria, self.autocast = form, parts, scaler, criteria, autocast
        self.net = network() if net is None else net
        self.optimizer = optimizer(self.net.parameters(), lr=1e-2)
        self.balance = LossBalance(
            losses,
            OPTIONS if options is None else options,
            total_iter=1000,
            network=self.net,
            parts=parts,
            scaler=scaler,
            **settings,
        )
        if form != "backward" or ride:
            self.balance.ride_with(self.optimizer)
        self.seen: list[Tensor] = []
        """Gradients on the parameters at the latest step."""

    def losses(self, y: Tensor, gt: Tensor, names: Sequence[str], *, tapped: bool) -> dict[str, Tensor]:
        """Values of the losses by name, on the output or on its taps."""
        values: dict[str, Tensor] = {}
        for name in names:
            values[name] = self.criteria[name](self.balance.tap(name, y) if tapped else y, gt)
        return values

    def step(
        self, number: int, names: Sequence[str] | None = None, spoil: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        """One optimizer step on a batch; `spoil` changes the first loss."""
        names = list(self.balance.losses) if names is None else names
        self.optimizer.zero_grad()
        x, gt = batch(number, dtype=next(self.net.parameters()).dtype)
        for xs, gts in zip(x.chunk(self.parts), gt.chunk(self.parts), strict=True):
            with torch.autocast("cpu", self.autocast or torch.bfloat16, enabled=self.autocast is not None):
                y = self.net(xs)
                values = self.losses(y, gts, names, tapped=self.form != "backward")
            if spoil is not None:
                values[names[0]] = spoil(values[names[0]])
            if self.form == "backward":
                self.balance.backward(values, y)
            else:
                for name, value in values.items():
                    self.balance.note_value(name, value)
                base = {name: info.base_weight for name, info in self.balance.losses.items()}
                total = sum((base[name] * value for name, value in values.items()), torch.zeros(())) / self.parts
                (total if self.scaler is None else self.scaler.scale(total)).backward()
        self.seen = gradients(self.net)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()

    def run(self, first: int, last: int) -> "Run":
        for number in range(first, last + 1):
            self.step(number)
        return self

    def gradient_of_the_sum(self, number: int, factors: Mapping[str, float], scale: float = 1.0) -> list[Tensor]:
        """By autograd: of `sum_i f_i w_i L_i` on a batch, as the network is now."""
        self.optimizer.zero_grad()
        x, gt = batch(number, dtype=next(self.net.parameters()).dtype)
        base = {name: info.base_weight for name, info in self.balance.losses.items()}
        for xs, gts in zip(x.chunk(self.parts), gt.chunk(self.parts), strict=True):
            with torch.autocast("cpu", self.autocast or torch.bfloat16, enabled=self.autocast is not None):
                values = self.losses(self.net(xs), gts, list(factors), tapped=False)
            terms = [factors[name] * base[name] * value / self.parts for name, value in values.items()]
            (sum(terms, torch.zeros(())) * scale).backward()
        found = gradients(self.net)
        self.optimizer.zero_grad()
        return found
