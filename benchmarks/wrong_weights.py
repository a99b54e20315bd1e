"""What wrong weights cost where a discriminator plays along: fourteen settings, our targets and published methods.

    python benchmarks/wrong_weights.py --data DATA --json FILE [--seeds 3] [--methods constant auto ...]
    python benchmarks/wrong_weights.py --data DATA --short          (a minute, to see that it runs)

x4, ParagonSR2 nano, L1 first, then L1 + ST-LPIPS(alex) + GAN (U-Net discriminator) at weights around a tuned triple;
batch 4, 64-pixel targets, BSDS500. PSNR (Y) and ST-LPIPS(vgg), lower is better, on 12 Kodak crops. The same start,
batches and seeds for every method. A run has collapsed where it stopped on NaN or ended at least 2 dB below its start.
Results are written after every run, and a run whose result is there already is not repeated.
"""

import argparse
import copy
import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from balancing_methods import METHODS, Weigher, weigher
from perceptual_distance import STLPIPSLoss, st_lpips
from small_training import (
    Discriminator,
    batches,
    evaluate,
    new_network,
    train,
    training_pairs,
    validation_pairs,
)
from torch.nn import functional as F

import paragon_plugin
from paragon_plugin.resilience.atomic_file import atomic_file
from paragon_plugin.scheduling import NonFiniteLossError

TUNED = {"l1_loss": 1.0, "stlpips_loss": 0.1, "gan_loss": 0.005}
WORDS = {"l1_loss": "pixel", "stlpips_loss": "perceptual", "gan_loss": "GAN"}
SETTINGS: dict[str, dict[str, float]] = {
    "tuned": TUNED,
    **{
        f"{WORDS[name]} {word}": {**TUNED, name: weight * factor}
        for factor, word in ((100, "x 100"), (0.01, "/ 100"), (10, "x 10"), (0.1, "/ 10"))
        for name, weight in TUNED.items()
    },
    "all 1": dict.fromkeys(TUNED, 1.0),
}
KEYS = ("psnr", "st_lpips")


def new_discriminator(seed: int) -> Discriminator:
    from basicsr.archs.discriminator_arch import UNetDiscriminatorSN

    torch.manual_seed(seed)
    net = UNetDiscriminatorSN(num_in_ch=3, num_feat=8).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return Discriminator(net, torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.9, 0.99)))


def one_run(start: dict[str, Any], method: str, setting: str, seed: int, data: Any, args: Any) -> dict[str, Any]:
    pairs, validation, metric, perceptual = data
    net = new_network(seed)
    net.load_state_dict(start["weights"])
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.9, 0.99))
    own = weigher(method, SETTINGS[setting], net, optimizer, args.iterations)
    criteria = {"l1_loss": F.l1_loss, "stlpips_loss": perceptual}
    feed = batches(pairs, 2000 + seed, args.iterations)
    stopped = False
    try:
        train(net, own, optimizer, feed, criteria, args.iterations, new_discriminator(seed))
    except NonFiniteLossError:
        stopped = True
    scores = evaluate(net, validation, metric)
    finite = scores["psnr"] == scores["psnr"]
    collapsed = stopped or not finite or scores["psnr"] < start["scores"]["psnr"] - 2
    return {"seed": seed, "setting": setting, "method": method, "collapsed": collapsed, "shares": own.shares, **scores}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with bsds500_train and kodak24")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--start-iterations", type=int, default=1500, help="L1 training that every run starts from")
    parser.add_argument("--iterations", type=int, default=400)
    parser.add_argument("--short", action="store_true", help="a few iterations, two settings, one seed")
    args = parser.parse_args()
    settings = list(SETTINGS)
    if args.short:
        args.seeds, args.start_iterations, args.iterations, settings = 1, 20, 20, settings[:2]
    paragon_plugin.install()
    perceptual = STLPIPSLoss()
    data = training_pairs(args.data, 200), validation_pairs(args.data), st_lpips("vgg"), perceptual
    runs: list[dict[str, Any]] = []
    if args.json and args.json.exists():
        runs = json.loads(args.json.read_text())["runs"]
    done = {(r["seed"], r["setting"], r["method"]) for r in runs}
    for seed in range(args.seeds):
        first = new_network(seed)
        optimizer = torch.optim.Adam(first.parameters(), lr=1e-3, betas=(0.9, 0.99))
        feed = batches(data[0], 1000 + seed, args.start_iterations)
        train(first, Weigher({"l1_loss": 1.0}), optimizer, feed, {"l1_loss": F.l1_loss}, args.start_iterations)
        start = {"weights": copy.deepcopy(first.state_dict()), "scores": evaluate(first, *data[1:3])}
        print(f"seed {seed}: start {start['scores']}", flush=True)
        for setting in settings:
            for method in args.methods:
                if (seed, setting, method) in done:
                    continue
                run = one_run(start, method, setting, seed, data, args)
                runs.append(run)
                print(
                    f"seed {seed}  {setting:<17} {method:<11} {run['psnr']:.2f} / {run['st_lpips']:.4f}"
                    f"{'  collapsed' if run['collapsed'] else ''}",
                    flush=True,
                )
                if args.json:
                    write(args, runs)
    if args.json:
        write(args, runs)
    print_table(runs)


def write(args: argparse.Namespace, runs: list[dict[str, Any]]) -> None:
    budget = {"start_iterations": args.start_iterations, "iterations": args.iterations, "torch": torch.__version__}
    with atomic_file(args.json) as out:
        out.write((json.dumps({"budget": budget, "summary": summarise(runs), "runs": runs}, indent=1) + "\n").encode())


# -- results -----------------------------------------------------------------------------------------------------------


def differences(runs: list[dict[str, Any]], method: str, setting: str) -> list[tuple[float, float]]:
    """For each seed: PSNR and ST-LPIPS minus those of constant weights at the tuned setting with the same seed."""
    tuned = {r["seed"]: r for r in runs if (r["method"], r["setting"]) == ("constant", "tuned")}
    own = [r for r in runs if (r["method"], r["setting"]) == (method, setting)]
    return [tuple(r[key] - tuned[r["seed"]][key] for key in KEYS) for r in own if r["seed"] in tuned]  # pyright: ignore[reportReturnType]


def summarise(runs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By method: means by setting, ranges over the settings, what it does where weights are right, collapses.

    A run's distance from what the weights were tuned for is that of its point (PSNR, ST-LPIPS) from the one of constant
    weights at the tuned setting with the same seed, each in units of the range that constant weights have over the
    settings. A method is level with another in a setting where its mean distance is at most 0.05 larger.
    """
    methods = [method for method in METHODS if differences(runs, method, "tuned")]
    if "constant" not in methods:
        return {}
    means = {
        m: {
            s: [statistics.mean(d[i] for d in found) for i in (0, 1)]
            for s in SETTINGS
            if (found := differences(runs, m, s))
        }
        for m in methods
    }
    ranges = {
        m: [max(d[i] for d in means[m].values()) - min(d[i] for d in means[m].values()) for i in (0, 1)]
        for m in methods
    }
    unit = ranges["constant"]
    away = {
        m: {
            s: statistics.mean(math.hypot(d[0] / unit[0], d[1] / unit[1]) for d in differences(runs, m, s))
            for s in means[m]
        }
        for m in methods
    }
    return {
        m: {
            "seeds": len({r["seed"] for r in runs if r["method"] == m}),
            "range": dict(zip(KEYS, ranges[m], strict=True)),
            "range_over_constant": dict(
                zip(KEYS, (own / whole for own, whole in zip(ranges[m], unit, strict=True)), strict=True)
            ),
            "tuned": [dict(zip(KEYS, d, strict=True)) for d in differences(runs, m, "tuned")],
            "away": away[m],
            "mean_away": statistics.mean(away[m].values()),
            "auto_ahead_or_level": sum(
                away["auto"][s] <= away[m][s] + 0.05 for s in away[m] if s in away.get("auto", {})
            ),
            "collapsed": sum(r["collapsed"] for r in runs if r["method"] == m),
            "runs": sum(r["method"] == m for r in runs),
        }
        for m in methods
    }


def print_table(runs: list[dict[str, Any]]) -> None:
    """Mean over seeds of PSNR / ST-LPIPS(vgg) by setting and method, and what follows from them."""
    summary = summarise(runs)
    print(f"\n{'setting':<22}" + "".join(f"{method:>15}" for method in summary))
    for setting in SETTINGS:
        row = f"{setting:<22}"
        for method in summary:
            own = [r for r in runs if r["setting"] == setting and r["method"] == method]
            means = [statistics.mean(r[key] for r in own) for key in KEYS] if own else None
            row += f"{means[0]:>8.2f} /{means[1]:>5.3f}" if means else f"{'':>15}"
        print(row)
    lines: dict[str, Callable[[dict[str, Any]], str]] = {
        "seeds": lambda m: str(m["seeds"]),
        "range": lambda m: f"{m['range']['psnr']:.2f} / {m['range']['st_lpips']:.3f}",
        "  over constant": lambda m: (
            f"{m['range_over_constant']['psnr']:.2f} / {m['range_over_constant']['st_lpips']:.2f}"
        ),
        "mean distance": lambda m: f"{m['mean_away']:.2f}",
        "auto ahead or level": lambda m: f"{m['auto_ahead_or_level']} of {len(m['away'])}",
        "collapsed": lambda m: f"{m['collapsed']} of {m['runs']}",
    }
    for what, form in lines.items():
        print(f"{what:<22}" + "".join(f"{form(m):>15}" for m in summary.values()))


if __name__ == "__main__":
    main()
