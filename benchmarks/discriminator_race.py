"""Whether a limit on the adversarial share drives the discriminator: constant weights beside the default wish.

    python benchmarks/discriminator_race.py --data DATA --json FILE [--iterations 2000] [--seeds 1]

x4, ParagonSR2 nano after L1 training, then L1 + ST-LPIPS(alex) + GAN with a U-Net discriminator that trains. Told
every 100 iterations: the size of the adversarial gradient on the output with weight 1, its share, and the
discriminator's lead (mean logit of real images minus that of made ones). A lowered weight that left the discriminator
stronger, and was lowered again for it, would show as a lead and a gradient that grow beside those of constant
weights. Results are written after every run, and a run whose result is there is not repeated.
"""

import argparse
import copy
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from balancing_methods import Weigher, gradient_sizes, weigher
from perceptual_distance import STLPIPSLoss, st_lpips
from small_training import Discriminator, Scores, batches, crops, train, training_pairs
from torch import Tensor
from torch.nn import functional as F
from wrong_weights import GRID, nano, new_discriminator

import paragon_plugin
from paragon_plugin.resilience.atomic_file import atomic_file

SETTINGS = {name: GRID[name] for name in ("middle", "GAN x 100")}
EVERY, SCALE = 100, 4


class Watched(Weigher):
    """A method whose adversarial gradients and shares are noted, the shares of the gradients with their weights."""

    def __init__(self, own: Weigher):
        super().__init__(own.weights)
        self.own = own
        self.sizes: list[dict[str, float]] = []

    def backward(self, losses: Mapping[str, Tensor], output: Tensor, /) -> None:
        sizes = gradient_sizes(losses, output)
        self.own.backward(losses, output)
        balance = getattr(self.own, "balance", None)
        factors = {name: balance.factor(name) if balance is not None else 1.0 for name in sizes}
        parts = {name: factors[name] * self.weights[name] * size for name, size in sizes.items()}
        share = parts["gan_loss"] / sum(parts.values())
        self.sizes.append({"gradient": sizes["gan_loss"], "share": share})


class WatchedDiscriminator(Discriminator):
    """A discriminator whose lead is noted."""

    leads: list[float]

    def train(self, real: Tensor, fake: Tensor) -> None:
        super().train(real, fake)
        with torch.no_grad():
            self.leads.append(float(self.net(real).mean() - self.net(fake).mean()))


def one_run(start: dict[str, Any], method: str, setting: str, seed: int, data: Any, iterations: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    net = nano(SCALE)
    net.load_state_dict(start)
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.9, 0.99))
    own = Watched(weigher(method, SETTINGS[setting], net, optimizer, iterations))
    plain = new_discriminator(seed)
    discriminator = WatchedDiscriminator(plain.net, plain.optimizer)
    discriminator.leads = []
    criteria = {"l1_loss": F.l1_loss, "stlpips_loss": data[2]}
    train(net, own, optimizer, batches(data[0], 2000 + seed, iterations, SCALE), criteria, iterations, discriminator)
    rows = [
        {
            "iteration": at + EVERY,
            "gradient": statistics.fmean(size["gradient"] for size in own.sizes[at : at + EVERY]),
            "share": statistics.fmean(size["share"] for size in own.sizes[at + 1 : at + EVERY]),
            "lead": statistics.fmean(discriminator.leads[at : at + EVERY]),
        }
        for at in range(0, iterations, EVERY)
    ]
    scores = Scores(data[3])(net, {"kodak24": data[1]})["kodak24"]
    return {"method": method, "setting": setting, "seed": seed, "iterations": iterations, "rows": rows, **scores}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with bsds500_train and kodak24")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--start-iterations", type=int, default=1500)
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--methods", nargs="+", default=["balanced", "constant"])
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    args = parser.parse_args()
    paragon_plugin.install()
    test = crops(args.data / "kodak24", SCALE)
    data = training_pairs(args.data, SCALE, 200), test, STLPIPSLoss(), st_lpips("vgg")
    runs: list[dict[str, Any]] = json.loads(args.json.read_text())["runs"] if args.json.exists() else []
    done = {(r["method"], r["setting"], r["seed"], r["iterations"]) for r in runs}
    for seed in range(args.seeds):
        torch.manual_seed(seed)
        first = nano(SCALE)
        optimizer = torch.optim.Adam(first.parameters(), lr=1e-3, betas=(0.9, 0.99))
        feed = batches(data[0], 1000 + seed, args.start_iterations, SCALE)
        train(first, Weigher({"l1_loss": 1.0}), optimizer, feed, {"l1_loss": F.l1_loss}, args.start_iterations)
        start = copy.deepcopy(first.state_dict())
        for setting in args.settings:
            for method in args.methods:
                if (method, setting, seed, args.iterations) in done:
                    continue
                runs.append(run := one_run(start, method, setting, seed, data, args.iterations))
                with atomic_file(args.json) as out:
                    out.write((json.dumps({"torch": torch.__version__, "runs": runs}, indent=1) + "\n").encode())
                for row in run["rows"][1::3]:
                    print(
                        f"{setting:<10} {method:<9} {seed}", {k: float(f"{v:.3g}") for k, v in row.items()}, flush=True
                    )
                print(f"{setting:<10} {method:<9} {seed}  {run['psnr']:.2f} / {run['st_lpips']:.4f}", flush=True)


if __name__ == "__main__":
    main()
