"""What the loss scheduler costs: step time with it over the same model with constant weights.

    python benchmarks/scheduling_cost.py [--size xs] [--pairs 300] [--json FILE] [--short]

Both models train from the same seed on the same batches, in turn, step by step; the ratio is the median over pairs of
steps. Constant weights are back-propagated as BasicSR does it, as one weighted sum.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

import paragon_plugin


def build(size: str, enabled: bool) -> Any:
    from basicsr.models import build_model

    torch.manual_seed(0)
    gpus = torch.cuda.device_count()
    return build_model(
        {
            "name": "cost",
            "model_type": "ParagonSRModel",
            "scale": 2,
            "num_gpu": min(gpus, 1),
            "dist": False,
            "rank": 0,
            "world_size": 1,
            "is_train": True,
            "network_g": {"type": f"paragonsr2_{size}", "scale": 2},
            "path": {"experiments_root": "/nonexistent"},
            "train": {
                "total_iter": 1_000_000,
                "optim_g": {"type": "Adam", "lr": 1e-4},
                "scheduler": {"type": "MultiStepLR", "milestones": [10**9]},
                "losses": [{"type": "L1Loss"}, {"type": "FFTLoss", "loss_weight": 0.05}],
                # a short window: the cost of the many iterations after it is what counts
                "dynamic_loss_scheduling": {"enabled": enabled, "auto_calibrate": True, "baseline_iterations": 5},
            },
        }
    )


def step_seconds(model: Any, batch: dict[str, torch.Tensor], iteration: int) -> float:
    model.feed_data(batch)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    model.optimize_parameters(iteration)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="xs")
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--patch", type=int, default=96, help="HR pixels")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--short", action="store_true", help="20 pairs, a few seconds")
    args = parser.parse_args()
    if args.short:
        args.pairs = 20
    paragon_plugin.install()

    constant, scheduled = build(args.size, False), build(args.size, True)
    if scheduled.losses.balance is not None:  # no run folder here
        scheduled.losses.balance.decision_log = scheduled.losses.balance.record = None
    generator = torch.Generator().manual_seed(0)
    ratios: list[float] = []
    times: dict[str, list[float]] = {"constant": [], "scheduled": []}
    for iteration in range(1, args.pairs + 11):
        gt = torch.rand(args.batch, 3, args.patch, args.patch, generator=generator)
        batch = {"gt": gt, "lq": torch.nn.functional.avg_pool2d(gt, 2)}
        order = [("constant", constant), ("scheduled", scheduled)]
        pair = {name: step_seconds(model, batch, iteration) for name, model in order[:: 1 if iteration % 2 else -1]}
        if iteration > 10:  # warm-up
            ratios.append(pair["scheduled"] / pair["constant"])
            for name, seconds in pair.items():
                times[name].append(seconds)
    result = {
        "size": args.size,
        "batch": args.batch,
        "patch": args.patch,
        "pairs": len(ratios),
        "constant_ms": 1e3 * statistics.median(times["constant"]),
        "scheduled_ms": 1e3 * statistics.median(times["scheduled"]),
        "ratio": statistics.median(ratios),
        "device": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
    }
    print(
        "  ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in result.items()
        )
    )
    if args.json:
        args.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
