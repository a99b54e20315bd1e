"""What the loss scheduler costs: the time of a training step with it over that of the plain loop.

    python benchmarks/scheduling_cost.py [--size xs] [--losses 2 4 8] [--pairs 300] [--json FILE] [--short]

The same network trains from the same seed on the same batches in four loops: the plain weighted sum, `backward`, the
gate and held taps. They take turns step by step, in an order that rotates. The ratio of a form is the median over its
steps of its time over the plain loop's at the same step, with the interval that holds the median of 95 % of samples.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paragon_plugin.losses import FFTLoss, SSIMLoss
from paragon_plugin.nets.paragonsr2 import build_paragonsr2
from paragon_plugin.scheduling import LossBalance

Criterion = Callable[[Tensor, Tensor], Tensor]


def charbonnier(x: Tensor, y: Tensor) -> Tensor:
    return ((x - y).square() + 1e-6).sqrt().mean()


def edges(x: Tensor, y: Tensor) -> Tensor:
    difference = x - y
    return difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()


def coarse(x: Tensor, y: Tensor) -> Tensor:
    return F.l1_loss(F.avg_pool2d(x, 4), F.avg_pool2d(y, 4))


CRITERIA: dict[str, tuple[float, Criterion]] = {
    "l1": (1.0, F.l1_loss),
    "fft": (0.05, FFTLoss()),
    "ssim": (0.1, SSIMLoss()),
    "mse": (1.0, F.mse_loss),
    "charbonnier": (1.0, charbonnier),
    "edge": (0.5, edges),
    "coarse": (0.5, coarse),
    "smooth_l1": (1.0, F.smooth_l1_loss),
}
"""Weight and criterion by name; a recipe of K losses has the first K."""

FORMS = ("plain", "backward", "gate", "held")


class Loop:
    """A training loop in one of the forms."""

    def __init__(self, form: str, size: str, count: int, device: torch.device):
        torch.manual_seed(0)
        self.form = form
        self.net: nn.Module = build_paragonsr2(size, scale=2).to(device)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-4)
        self.recipe = dict(list(CRITERIA.items())[:count])
        # A short window: what counts is the cost of the many iterations after it.
        options = {"enabled": form != "plain", "auto_calibrate": True, "baseline_iterations": 5}
        self.balance = LossBalance(
            {name: weight for name, (weight, _) in self.recipe.items()},
            options,
            total_iter=1_000_000,
            network=self.net,
            # Two parts, of which this loop has one only, are what makes taps held.
            parts=2 if form == "held" else 1,
        )
        if form in ("gate", "held"):
            self.balance.ride_with(self.optimizer)

    def step(self, lq: Tensor, gt: Tensor) -> None:
        self.optimizer.zero_grad()
        output = self.net(lq)
        if self.form == "backward":
            self.balance.backward({name: loss(output, gt) for name, (_, loss) in self.recipe.items()}, output)
        else:
            tap = (lambda name: self.balance.tap(name, output)) if self.form != "plain" else lambda _: output
            total = torch.zeros((), device=output.device)
            for name, (weight, loss) in self.recipe.items():
                total = total + weight * loss(tap(name), gt)
            total.backward()
        self.optimizer.step()


def seconds(loop: Loop, lq: Tensor, gt: Tensor) -> float:
    if lq.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    loop.step(lq, gt)
    if lq.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def median_interval(values: list[float]) -> tuple[float, float, float]:
    """Median, and the two order statistics between which the true one lies with 95 %."""
    ordered, half = sorted(values), 0.98 * math.sqrt(len(values))
    low = max(0, math.floor(len(values) / 2 - half))
    high = min(len(values) - 1, math.ceil(len(values) / 2 + half))
    return statistics.median(ordered), ordered[low], ordered[high]


def measure(count: int, args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    loops = [Loop(form, args.size, count, device) for form in FORMS]
    generator = torch.Generator().manual_seed(0)
    times: dict[str, list[float]] = {form: [] for form in FORMS}
    for iteration in range(args.pairs + 10):
        gt = torch.rand(args.batch, 3, args.patch, args.patch, generator=generator).to(device)
        lq = F.avg_pool2d(gt, 2)
        first = iteration % len(loops)
        taken = {loop.form: seconds(loop, lq, gt) for loop in [*loops[first:], *loops[:first]]}
        if iteration >= 10:  # warm-up
            for form, value in taken.items():
                times[form].append(value)
    result: dict[str, Any] = {"losses": count, "pairs": args.pairs, "plain_ms": 1e3 * statistics.median(times["plain"])}
    for form in FORMS[1:]:
        ratios = [own / plain for own, plain in zip(times[form], times["plain"], strict=True)]
        median, low, high = median_interval(ratios)
        result[form] = {"ratio": median, "low": low, "high": high}
        print(f"{count} losses  {form:<9} {median:.3f}  ({low:.3f} to {high:.3f})", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="xs")
    parser.add_argument("--losses", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--patch", type=int, default=96, help="HR pixels")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--short", action="store_true", help="20 pairs, a few seconds")
    args = parser.parse_args()
    if args.short:
        args.pairs = 20
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = [measure(count, args, device) for count in args.losses]
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    head = {"size": args.size, "batch": args.batch, "patch": args.patch, "device": where, "torch": torch.__version__}
    if args.json:
        args.json.write_text(json.dumps(head | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
