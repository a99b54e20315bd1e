"""What wrong loss weights cost, and what automatic weighting makes of them: our wishes and published methods.

    python benchmarks/wrong_weights.py --data DATA --json FILE [--recipes main ...] [--seeds 3]
    python benchmarks/wrong_weights.py --json FILE
    python benchmarks/wrong_weights.py --data DATA --short

The first takes hours and goes on from FILE; the second prints the tables alone; the third takes some minutes and
shows that it runs. Six recipes, each a network after L1 training that goes on with several losses (BSDS500, batch 4,
64-pixel targets):

- `main`: x4, ParagonSR2 nano, L1 + ST-LPIPS(alex) + GAN (U-Net discriminator), 300 iterations;
- `swapped`: the same with BasicSR's MSRResNet 16x4 and ST-LPIPS(vgg);
- `long`: `main` with 2,000 iterations, at three weightings;
- `restoration`: x2, nano, L1 + FFT + SSIM, no GAN;
- `style`: x4, nano, L1 + content + style (features of ST-LPIPS's AlexNet), no GAN;
- `shares`: `main` with exact shares, held by EnCodec's balancer: which are good for what.

Each but the last stands at a grid of weightings: one loss times 100, 10, 1/10, 1/100 around a middle, and two wrong at
once. Measured on crops of Kodak and of Set14: PSNR (Y), ST-LPIPS with the trunk that was not trained on (lower is
better), and NIQE of all crops side by side (lower is better; no reference). The same start, batches and seeds for
every method.

The preferences are stated here, before the runs (`wrong_weights_regret.py`): utility = w PSNR - (1 - w) ST-LPIPS in
units of the range over the grid of constant weights, with w .8 for fidelity, .5 for balanced, .2 for perceptual. The
tuned weighting of an intent is the best of the grid of constant weights.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from balancing_methods import METHODS, RATES, Weigher, gradient_sizes, weigher
from perceptual_distance import FeatureLoss, STLPIPSLoss, gram, st_lpips
from small_training import Criterion, Discriminator, Pairs, Scores, batches, crops, train, training_pairs
from torch import nn
from torch.nn import functional as F
from wrong_weights_regret import chosen_rate, print_tables

import paragon_plugin
from paragon_plugin.nets.paragonsr2 import build_paragonsr2
from paragon_plugin.resilience.atomic_file import atomic_file
from paragon_plugin.scheduling import NonFiniteLossError

Weighting = dict[str, float]

GAN_MIDDLE = {"l1_loss": 1.0, "stlpips_loss": 0.1, "gan_loss": 0.005}
RESTORATION_MIDDLE = {"l1_loss": 1.0, "fft_loss": 0.05, "ssim_loss": 0.1}
STYLE_MIDDLE = {"l1_loss": 1.0, "content_loss": 0.3, "style_loss": 100.0}
WORDS = {
    "l1_loss": "L1",
    "stlpips_loss": "LPIPS",
    "gan_loss": "GAN",
    "fft_loss": "FFT",
    "ssim_loss": "SSIM",
    "content_loss": "content",
    "style_loss": "style",
}


def scaled(middle: Weighting, **factors: float) -> Weighting:
    return {name: weight * factors.get(WORDS[name], 1.0) for name, weight in middle.items()}


def around(middle: Weighting, factors: Mapping[str, float]) -> dict[str, Weighting]:
    """Each weight times each factor, the others left."""
    return {
        f"{word} {text}": scaled(middle, **{word: factor})
        for text, factor in factors.items()
        for word in (WORDS[name] for name in middle)
    }


FAR = {"x 100": 100.0, "/ 100": 0.01}


def small_grid(middle: Weighting) -> dict[str, Weighting]:
    return {"middle": middle} | around(middle, FAR)


NEAR = {"x 10": 10.0, "/ 10": 0.1}
TWO_WRONG = {
    "L1 x 10, LPIPS / 10": {"L1": 10.0, "LPIPS": 0.1},
    "L1 / 10, LPIPS x 10": {"L1": 0.1, "LPIPS": 10.0},
    "L1 x 100, GAN x 100": {"L1": 100.0, "GAN": 100.0},
    "LPIPS x 100, GAN x 100": {"LPIPS": 100.0, "GAN": 100.0},
    "LPIPS / 100, GAN / 100": {"LPIPS": 0.01, "GAN": 0.01},
    "LPIPS x 10, GAN x 10": {"LPIPS": 10.0, "GAN": 10.0},
    "L1 / 100, GAN x 10": {"L1": 0.01, "GAN": 10.0},
}
GRID = (
    small_grid(GAN_MIDDLE)
    | {name: scaled(GAN_MIDDLE, **factors) for name, factors in TWO_WRONG.items()}
    | around(GAN_MIDDLE, NEAR)
)
SMALL_GRID = small_grid(GAN_MIDDLE)

SHARES = {
    " : ".join(f"{share:g}" for share in shares): dict(zip(GAN_MIDDLE, shares, strict=True))
    for shares in (
        *((60, 35, 5), (45, 50, 5), (40, 55, 5), (25, 70, 5), (15, 80, 5), (5, 90, 5), (2, 93, 5)),
        *((45, 45, 10), (40, 50, 10), (25, 65, 10), (2, 88, 10), (15, 70, 15)),
        *((40, 40, 20), (25, 55, 20), (2, 78, 20), (33, 33, 34), (40, 59, 1), (40, 59.8, 0.2)),
    )
}
"""Of L1, LPIPS and GAN."""


@dataclass(frozen=True)
class Recipe:
    """A network, its losses and the weightings that are tried."""

    scale: int
    network: Callable[[], nn.Module]
    trunk: str
    """Of the ST-LPIPS that is a loss; the other one is the measure."""
    weightings: Mapping[str, Weighting]
    methods: tuple[str, ...]
    iterations: int = 300
    start_iterations: int = 1500
    seeds: int = 3


def residual() -> nn.Module:
    from basicsr.archs.srresnet_arch import MSRResNet

    return MSRResNet(num_feat=16, num_block=4, upscale=4)


def nano(scale: int) -> nn.Module:
    return build_paragonsr2("nano", scale=scale)


def without_discriminator(scale: int, middle: Weighting) -> Recipe:
    return Recipe(scale, lambda: nano(scale), "alex", small_grid(middle), ("constant", "balanced"), seeds=2)


OURS_AND_CONSTANT = ("constant", "fidelity", "balanced", "perceptual")
RECIPES = {
    "main": Recipe(4, lambda: nano(4), "alex", GRID, METHODS),
    "restoration": without_discriminator(2, RESTORATION_MIDDLE),
    "style": without_discriminator(4, STYLE_MIDDLE),
    "swapped": Recipe(4, residual, "vgg", SMALL_GRID, OURS_AND_CONSTANT, seeds=2),
    "long": Recipe(
        4,
        lambda: nano(4),
        "alex",
        {name: GRID[name] for name in ("middle", "L1 x 100", "GAN x 100")},
        ("constant", "balanced"),
        iterations=2000,
        seeds=2,
    ),
    "shares": Recipe(4, lambda: nano(4), "alex", SHARES, ("balancer",), seeds=1),
}


def new_discriminator(seed: int, features: int = 8) -> Discriminator:
    from basicsr.archs.discriminator_arch import UNetDiscriminatorSN

    torch.manual_seed(seed)
    net = UNetDiscriminatorSN(num_in_ch=3, num_feat=features).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return Discriminator(net, torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.9, 0.99)))


def criteria(recipe: Recipe) -> dict[str, Criterion]:
    """The losses of output and target, by name."""
    from paragon_plugin.losses import FFTLoss, SSIMLoss

    names = next(iter(recipe.weightings.values()))
    known: dict[str, Callable[[], Criterion]] = {
        "l1_loss": lambda: F.l1_loss,
        "stlpips_loss": lambda: STLPIPSLoss(trunk=recipe.trunk),
        "fft_loss": FFTLoss,
        "ssim_loss": SSIMLoss,
        "content_loss": FeatureLoss,
        "style_loss": lambda: FeatureLoss(of=gram),
    }
    return {name: make() for name, make in known.items() if name in names}


# -- runs --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wanted:
    """What makes a run the one that it is."""

    recipe: str
    setting: str
    method: str
    seed: int
    rate: float | None = None


class Watched(Weigher):
    """A weigher beside which the shares of the losses with their configured weights are measured now and then."""

    def __init__(self, own: Weigher, every: int):
        super().__init__(own.weights)
        self.own, self.every, self.step = own, every, 0
        self.sizes: list[dict[str, float]] = []

    def backward(self, losses: Mapping[str, Any], output: Any, /) -> None:
        self.step += 1
        if self.step % self.every == 0:
            self.sizes.append(gradient_sizes(self.weighted(losses), output))
        self.own.backward(losses, output)

    def after_step(self, losses_again: Callable[[], Mapping[str, Any]]) -> None:
        self.own.after_step(losses_again)

    @property
    def shares(self) -> dict[str, float]:
        """Mean share of each loss with its configured weight over the second half of the run."""
        half = self.sizes[len(self.sizes) // 2 :]
        sums = {name: sum(sizes[name] / sum(sizes.values()) for sizes in half) for name in self.weights}
        return {name: value / len(half) for name, value in sums.items()} if half else {}


class Bench:
    """The data, and what every run of a recipe and a seed starts from."""

    def __init__(self, data: Path, recipe: Recipe, count: int = 200):
        self.recipe = recipe
        self.training: Pairs = training_pairs(data, recipe.scale, count)
        self.tests = {name: crops(data / name, recipe.scale) for name in ("kodak24", "set14")}
        self.criteria = criteria(recipe)
        self.scores = Scores(st_lpips("vgg" if recipe.trunk == "alex" else "alex"))
        self.starts: dict[int, dict[str, Any]] = {}

    def network(self, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return self.recipe.network()

    def start(self, seed: int) -> dict[str, Any]:
        """Weights after L1 training, and their scores."""
        if seed not in self.starts:
            net, total = self.network(seed), self.recipe.start_iterations
            optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.9, 0.99))
            feed = batches(self.training, 1000 + seed, total, self.recipe.scale)
            train(net, Weigher({"l1_loss": 1.0}), optimizer, feed, {"l1_loss": F.l1_loss}, total)
            self.starts[seed] = {"weights": copy.deepcopy(net.state_dict()), "scores": self.scores(net, self.tests)}
        return self.starts[seed]

    def run(self, wanted: Wanted) -> dict[str, Any]:
        recipe, seed = self.recipe, wanted.seed
        start = self.start(seed)
        net = self.network(seed)
        net.load_state_dict(start["weights"])
        net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        optimizer = torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.9, 0.99))
        weights = recipe.weightings[wanted.setting]
        own = Watched(weigher(wanted.method, weights, net, optimizer, recipe.iterations, wanted.rate), 20)
        feed = batches(self.training, 2000 + seed, recipe.iterations, recipe.scale)
        discriminator = new_discriminator(seed) if "gan_loss" in weights else None
        stopped = False
        try:
            train(net, own, optimizer, feed, self.criteria, recipe.iterations, discriminator)
        except NonFiniteLossError:
            stopped = True
        found = self.scores(net, self.tests)
        psnr, before = found["kodak24"]["psnr"], start["scores"]["kodak24"]["psnr"]
        collapsed = stopped or not psnr >= before - 2  # NaN too
        head = {**vars(wanted), "collapsed": collapsed, "incidents": own.own.incidents, "shares": own.shares}
        return {**head, **found, "start": start["scores"]}


def wanted_runs(
    names: list[str], seeds: int | None, runs: list[dict[str, Any]], methods: Sequence[str] | None
) -> Iterator[Wanted]:
    """Seed by seed; the weightings where rates are searched before the others. `methods` instead of a recipe's own."""
    most = max(min(RECIPES[name].seeds, seeds or 99) for name in names)
    for seed in range(most):
        for name in names:
            recipe = RECIPES[name]
            if seed >= min(recipe.seeds, seeds or 99):
                continue
            for setting in sorted(recipe.weightings, key=lambda one: one not in SEARCHED):
                for method in methods or recipe.methods:
                    if method not in RATES:
                        yield Wanted(name, setting, method, seed)
                        continue
                    for rate in RATES[method] if name == "main" and setting in SEARCHED else ():
                        yield Wanted(name, setting, method, 0, rate)
                    yield Wanted(name, setting, method, seed, chosen_rate(runs, "main", method))


SEARCHED = ("L1 x 100", "LPIPS x 100")
"""Weightings of `main` at which the rate of a method that has one is searched, seed 0."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with bsds500_train, kodak24 and set14")
    parser.add_argument("--json", type=Path, help="the results, written after every run")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, help="these, instead of a recipe's own")
    parser.add_argument("--settings", nargs="+", help="weightings, these alone")
    parser.add_argument("--seeds", type=int, help="at most so many")
    parser.add_argument("--short", action="store_true", help="a run of each method, a few iterations")
    args = parser.parse_args()
    runs: list[dict[str, Any]] = json.loads(args.json.read_text())["runs"] if args.json and args.json.exists() else []
    if args.data:
        paragon_plugin.install()
        torch.set_num_threads(1)
        work(args, runs)
    print_tables(runs)


def work(args: argparse.Namespace, runs: list[dict[str, Any]]) -> None:
    benches: dict[str, Bench] = {}
    fields = list(Wanted.__dataclass_fields__)
    done = {tuple(run[field] for field in fields) for run in runs}
    for wanted in wanted_runs(args.recipes, 1 if args.short else args.seeds, runs, args.methods):
        key = tuple(vars(wanted)[field] for field in fields)
        if key in done:
            continue
        if wanted.setting not in (args.settings or [wanted.setting]) or (args.short and wanted.setting != "middle"):
            continue
        if wanted.recipe not in benches:
            recipe = RECIPES[wanted.recipe]
            if args.short:
                recipe = Recipe(**{**vars(recipe), "iterations": 20, "start_iterations": 20})
            benches[wanted.recipe] = Bench(args.data, recipe, 10 if args.short else 200)
        runs.append(run := benches[wanted.recipe].run(wanted))
        done.add(key)
        kodak = run["kodak24"]
        print(*key, f"{kodak['psnr']:.2f} / {kodak['st_lpips']:.4f}{'  collapsed' * run['collapsed']}", flush=True)
        if args.json:
            with atomic_file(args.json) as out:
                out.write((json.dumps({"torch": torch.__version__, "runs": runs}, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
