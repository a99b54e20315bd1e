"""Which share of the update each loss of a published recipe has, at the recipe's own weights.

    python benchmarks/published_shares.py --data DATA --json FILE         some ten minutes

x4, ParagonSR2 nano after 1,500 iterations of L1, then the recipe for 300 iterations with a discriminator that trains
(U-Net, 16 features). A share is a loss's part of the summed sizes of the gradients on the output, mean of the last
150 iterations. BSDS500, bicubic; batch 4, 64-pixel targets.

The recipes' VGG19 is not at hand offline. ST-LPIPS's VGG16 stands in, with the layers of the same place before their
activation: `conv5_3` for VGG19's `conv5_4`, `conv4_3` for `conv4_4`, `conv3_3` for `conv3_4`. Its deepest features
are large: the loss is some 37 here. What it is with VGG19 cannot be measured offline, so each row is shown twice: as
measured, and as it would be with a perceptual loss of value 1. The truth of a recipe lies between or near. The
degradations of Real-ESRGAN and BSRGAN are left out. Weights are those of the published option files of BasicSR
(SRGAN, ESRGAN), Real-ESRGAN, BSRGAN, SwinIR, LDL and of the templates of traiNNer-redux (L1 stands in for its HSLuv
loss).
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from balancing_methods import Weigher, gradient_sizes
from perceptual_distance import FeatureLoss
from small_training import batches, train, training_pairs
from torch import Tensor, nn
from torch.nn import functional as F
from wrong_weights import nano, new_discriminator

import paragon_plugin
from paragon_plugin.losses import LDLLoss, MSSSIMLoss
from paragon_plugin.resilience.atomic_file import atomic_file

LAST, ALL = {"5_3": 1.0}, {"1_2": 0.1, "2_2": 0.1, "3_3": 1.0, "4_3": 1.0, "5_3": 1.0}
"""Layers of the perceptual loss and their weights."""
PLACES = {"1_2": 2, "2_2": 8, "3_3": 16, "4_3": 24, "5_3": 32}
"""Of the layers in ST-LPIPS's trunk."""
START, TOTAL, SCALE = 1500, 300, 4
VALUE = 37.0
"""Of the perceptual loss with its last layer at the start, with this trunk."""


@dataclass(frozen=True)
class Published:
    source: str
    weights: dict[str, float]
    layers: dict[str, float]
    relativistic: bool = False


RECIPES = {
    "SRGAN": Published(
        "Ledig et al. 2017, as in BasicSR's train_MSRGAN_x4", {"l1": 1e-2, "perceptual": 1.0, "gan": 5e-3}, LAST
    ),
    "ESRGAN": Published(
        "Wang et al. 2018, BasicSR's train_ESRGAN_x4", {"l1": 1e-2, "perceptual": 1.0, "gan": 5e-3}, LAST, True
    ),
    "Real-ESRGAN, BSRGAN, SwinIR": Published(
        "Wang et al. 2021, Zhang et al. 2021, Liang et al. 2021", {"l1": 1.0, "perceptual": 1.0, "gan": 0.1}, ALL
    ),
    "LDL": Published("Liang et al. 2022", {"l1": 1e-2, "ldl": 1.0, "perceptual": 1.0, "gan": 5e-3}, LAST, True),
    "traiNNer-redux": Published("its GAN templates", {"mssim": 0.5, "perceptual": 0.01, "l1": 1.0, "gan": 0.1}, ALL),
}


class Perceptual(FeatureLoss):
    """`sum_k w_k mean |f_k(y) - f_k(x)|` of features before their activation."""

    def __init__(self, layers: dict[str, float]):
        super().__init__("vgg")
        self.layers = {PLACES[name]: weight for name, weight in layers.items()}

    def features(self, image: Tensor) -> list[Tensor]:
        x, found = self.scaling(2 * image - 1), []
        for stage in self.net.children():
            for name, layer in stage.named_children():
                x = F.relu(x) if isinstance(layer, nn.ReLU) else layer(x)
                if int(name) in self.layers:
                    found.append(self.layers[int(name)] * x)
        return found


def cross_entropy(logits: Tensor, real: bool) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def shares(published: Published, start: dict[str, Tensor], data: Any, averaged: nn.Module) -> dict[str, float]:
    """Mean share of each loss over the last half of a training with the recipe."""
    net = nano(SCALE)
    net.load_state_dict(start)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4, betas=(0.9, 0.99))
    discriminator = new_discriminator(0, 16)
    judge = discriminator.net
    criteria: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "l1": F.l1_loss,
        "mssim": MSSSIMLoss(),
        "perceptual": Perceptual(published.layers),
    }
    sums: list[dict[str, float]] = []
    for lq, gt in batches(data, 2000, TOTAL, SCALE):
        output = net(lq)
        judge.requires_grad_(False)
        losses = {name: criteria[name](output, gt) for name in published.weights if name in criteria}
        if "ldl" in published.weights:
            with torch.no_grad():
                before = averaged(lq)
            losses["ldl"] = LDLLoss()(output, gt, before)
        if published.relativistic:
            real, fake = judge(gt).detach(), judge(output)
            losses["gan"] = (cross_entropy(real - fake.mean(), False) + cross_entropy(fake - real.mean(), True)) / 2
        else:
            losses["gan"] = discriminator.fooled(output)
        weighted = {name: weight * losses[name] for name, weight in published.weights.items()}
        sizes = gradient_sizes(weighted, output)
        sums.append({name: size / sum(sizes.values()) for name, size in sizes.items()})
        optimizer.zero_grad()
        torch.stack(list(weighted.values())).sum().backward()
        optimizer.step()
        if published.relativistic:
            judge.requires_grad_(True)
            discriminator.optimizer.zero_grad()
            fake = judge(output.detach())
            (cross_entropy(judge(gt) - fake.detach().mean(), True) / 2).backward()
            (cross_entropy(fake - judge(gt).detach().mean(), False) / 2).backward()
            discriminator.optimizer.step()
        else:
            discriminator.train(gt, output.detach())
        with torch.no_grad():
            for mean, now in zip(averaged.parameters(), net.parameters(), strict=True):
                mean.lerp_(now, 0.01)
    half = sums[TOTAL // 2 :]
    return {name: statistics.fmean(found[name] for found in half) for name in published.weights}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with bsds500_train")
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    paragon_plugin.install()
    torch.set_num_threads(1)
    data = training_pairs(args.data, SCALE, 200)
    torch.manual_seed(0)
    net = nano(SCALE)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.9, 0.99))
    feed = batches(data, 1000, START, SCALE)
    train(net, Weigher({"l1_loss": 1.0}), optimizer, feed, {"l1_loss": F.l1_loss}, START)
    rows: dict[str, Any] = {}
    for name, published in RECIPES.items():
        averaged = nano(SCALE)
        averaged.load_state_dict(net.state_dict())
        found = shares(published, net.state_dict(), data, averaged.requires_grad_(False))
        rows[name] = {"source": published.source, "weights": published.weights, "shares": found}
        for title, divisor in ((name, 1.0), ("  perceptual loss of 1", VALUE)):
            parts = {loss: share / (divisor if loss == "perceptual" else 1.0) for loss, share in found.items()}
            row = "".join(f"{loss:>12} {part / sum(parts.values()):6.1%}" for loss, part in parts.items())
            print(f"{title:<30}{row}", flush=True)
        with atomic_file(args.json) as out:
            out.write((json.dumps({"torch": torch.__version__, "recipes": rows}, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
