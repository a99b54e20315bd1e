"""What wrong weights cost where a discriminator plays along: fourteen settings, our targets and published methods.

    python benchmarks/wrong_weights_gan.py --data ../shared/data --json FILE [--seeds 3] [--methods constant auto ...]
    python benchmarks/wrong_weights_gan.py --data ../shared/data --short          (a minute, to see that it runs)

x4, ParagonSR2 nano, L1 first, then L1 + ST-LPIPS(alex) + GAN (U-Net discriminator) at weights around a tuned triple;
batch 4, 64-pixel targets, BSDS500. PSNR (Y) and ST-LPIPS(vgg), lower is better, on 12 Kodak crops. The same start,
batches and seeds for every method. A run has collapsed where it stopped on NaN or ended at least 2 dB below its start.
Results are written after every run, and a run whose result is there already is not repeated.
"""

import argparse
import copy
import json
import statistics
from pathlib import Path
from typing import Any

from balancing_methods import METHODS, block_of, plug_in
from perceptual_distance import STLPIPSLoss, st_lpips
from wrong_weights import SCALE, batches, build, evaluate, train, training_pairs, validation_pairs

import paragon_plugin
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


def recipe(weights: dict[str, float]) -> list[dict[str, Any]]:
    return [
        {"type": "L1Loss", "loss_weight": weights["l1_loss"]},
        {"type": "STLPIPSLoss", "name": "stlpips_loss", "loss_weight": weights["stlpips_loss"]},
        {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": weights["gan_loss"]},
    ]


def adversarial(weights: dict[str, float], method: str, iterations: int, seed: int) -> Any:
    extra = {
        "model_type": "ParagonGANModel",
        "use_channels_last": True,
        "network_d": {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 8},
    }
    optim_d = {"optim_d": {"type": "Adam", "lr": 2e-4, "betas": [0.9, 0.99]}}
    return build(recipe(weights), block_of(method), iterations, 2e-4, seed, extra, optim_d)


def one_run(start: dict[str, Any], method: str, setting: str, seed: int, data: Any, args: Any) -> dict[str, Any]:
    pairs, validation, metric = data
    model = adversarial(SETTINGS[setting], method, args.iterations, seed)
    model.net_g.load_state_dict(start["weights"])
    after = plug_in(method, model)
    stopped = False
    try:
        train(model, batches(pairs, 2000 + seed, args.iterations), after)
    except NonFiniteLossError:
        stopped = True
    scores = evaluate(model.net_g, validation, metric)
    finite = scores["psnr"] == scores["psnr"]
    collapsed = stopped or not finite or scores["psnr"] < start["scores"]["psnr"] - 2
    shares = dict(model.losses.last_step.shares) if model.losses.last_step else {}
    return {"seed": seed, "setting": setting, "method": method, "collapsed": collapsed, "shares": shares, **scores}


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
    from basicsr.utils.registry import LOSS_REGISTRY

    LOSS_REGISTRY.register(STLPIPSLoss)
    data = training_pairs(args.data, 200), validation_pairs(args.data), st_lpips("vgg")
    runs: list[dict[str, Any]] = []
    if args.json and args.json.exists():
        runs = json.loads(args.json.read_text())["runs"]
    done = {(r["seed"], r["setting"], r["method"]) for r in runs}
    for seed in range(args.seeds):
        first = build([{"type": "L1Loss"}], {"enabled": False}, args.start_iterations, 1e-3, seed)
        train(first, batches(data[0], 1000 + seed, args.start_iterations))
        start = {"weights": copy.deepcopy(first.net_g.state_dict()), "scores": evaluate(first.net_g, *data[1:])}
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
                    kept = {"arguments": {k: str(v) for k, v in vars(args).items() if k != "json"}, "runs": runs}
                    args.json.write_text(json.dumps(kept, indent=1))
    print_table(runs)


def print_table(runs: list[dict[str, Any]]) -> None:
    """Mean over seeds of PSNR / ST-LPIPS(vgg) by setting and method, the range over the settings, and collapses."""
    methods = [method for method in METHODS if any(r["method"] == method for r in runs)]
    print(f"\n{'setting':<18}" + "".join(f"{method:>16}" for method in methods))
    means: dict[str, list[tuple[float, float]]] = {method: [] for method in methods}
    for setting in SETTINGS:
        row = f"{setting:<18}"
        for method in methods:
            own = [r for r in runs if r["setting"] == setting and r["method"] == method]
            if not own:
                row += f"{'':>16}"
                continue
            mean = statistics.mean(r["psnr"] for r in own), statistics.mean(r["st_lpips"] for r in own)
            means[method].append(mean)
            row += f"{mean[0]:>9.2f} /{mean[1]:.3f}"
        print(row)
    for what, index in (("range of PSNR", 0), ("range of ST-LPIPS", 1)):
        ranges = [[m[index] for m in means[method]] for method in methods]
        print(f"{what:<18}" + "".join(f"{max(r) - min(r):>16.3f}" for r in ranges))
    counts = [sum(r["collapsed"] for r in runs if r["method"] == method) for method in methods]
    print(f"{'collapsed':<18}" + "".join(f"{count:>16}" for count in counts))


if __name__ == "__main__":
    assert SCALE == 4
    main()
