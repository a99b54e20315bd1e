"""What wrong loss weights cost, with constant weights and under the scheduler.

    python benchmarks/wrong_weights.py --data ../shared/data [--seeds 3] [--iterations 500] [--json FILE]

x4, ParagonSR2 nano, trained with L1 first, then with L1 + ST-LPIPS(alex) at weights around a tuned pair, each
mis-scaled by 0.01 and 100; batch 4, 64-pixel targets, BSDS500. PSNR (Y) and ST-LPIPS(vgg), lower is better, on 12 Kodak
crops. The
same start, batches and seeds for every method.
"""

import argparse
import copy
import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from perceptual_distance import STLPIPSLoss, st_lpips
from torch import Tensor

import paragon_plugin

SCALE = 4
TUNED = {"l1_loss": 1.0, "stlpips_loss": 0.1}
SETTINGS: dict[str, dict[str, float]] = {
    "tuned": {},
    "perceptual x 100": {"stlpips_loss": 100.0},
    "perceptual / 100": {"stlpips_loss": 0.01},
    "pixel x 100": {"l1_loss": 100.0},
    "pixel / 100": {"l1_loss": 0.01},
}
METHODS: dict[str, dict[str, Any]] = {
    "constant": {"enabled": False},
    "auto": {"enabled": True, "auto_calibrate": True},
    "baseline": {"enabled": True, "auto_calibrate": True, "target": "baseline"},
    "weights": {"enabled": True, "auto_calibrate": True, "target": "weights"},
}


def read(path: Path) -> np.ndarray:
    from skimage.io import imread

    return imread(path)[..., :3]


def pair(hr: np.ndarray) -> tuple[Tensor, Tensor]:
    from basicsr.data.transforms import mod_crop

    from paragon_plugin.data.sample_photos_dataset import low_resolution

    image = mod_crop(hr, SCALE).astype(np.float32) / 255
    lr = low_resolution(image, SCALE)
    return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(lr).permute(2, 0, 1)


def training_pairs(data: Path, count: int) -> list[tuple[Tensor, Tensor]]:
    files = [f for f in sorted((data / "bsds500_train").glob("*.jpg")) if f.stem != "302003"]  # cut from Set5's woman
    return [pair(read(f)) for f in files[:: max(1, len(files) // count)]]


def validation_pairs(data: Path) -> list[tuple[Tensor, Tensor]]:
    files = sorted((data / "kodak24").glob("*.png"))[::2]
    return [pair(read(f)[128:384, 128:384]) for f in files]


def batches(pairs: list[tuple[Tensor, Tensor]], seed: int, count: int, size: int = 16) -> Iterator[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)

    def draw(limit: int) -> int:
        return int(torch.randint(0, limit, (1,), generator=generator))

    for _ in range(count):
        gts, lqs = [], []
        for _ in range(4):
            gt, lq = pairs[draw(len(pairs))]
            y, x = draw(lq.shape[1] - size), draw(lq.shape[2] - size)
            patch_lq = lq[:, y : y + size, x : x + size]
            patch_gt = gt[:, SCALE * y : SCALE * (y + size), SCALE * x : SCALE * (x + size)]
            if draw(2):
                patch_lq, patch_gt = patch_lq.flip(2), patch_gt.flip(2)
            gts.append(patch_gt)
            lqs.append(patch_lq)
        yield {"gt": torch.stack(gts), "lq": torch.stack(lqs)}


def build(
    losses: list[dict[str, Any]],
    block: dict[str, Any],
    total: int,
    lr: float,
    seed: int,
    extra: dict[str, Any] | None = None,
    extra_train: dict[str, Any] | None = None,
) -> Any:
    from basicsr.models import build_model

    torch.manual_seed(seed)
    model = build_model(
        {
            "name": "wrong_weights",
            "model_type": "ParagonSRModel",
            "scale": SCALE,
            "num_gpu": min(torch.cuda.device_count(), 1),
            "dist": False,
            "rank": 0,
            "world_size": 1,
            "is_train": True,
            "network_g": {"type": "paragonsr2_nano", "scale": SCALE},
            "path": {"experiments_root": "/nonexistent"},
            "train": {
                "total_iter": total,
                "optim_g": {"type": "Adam", "lr": lr, "betas": [0.9, 0.99]},
                "scheduler": {"type": "MultiStepLR", "milestones": [int(total * 0.8)], "gamma": 0.5},
                "losses": losses,
                "dynamic_loss_scheduling": block,
                **(extra_train or {}),
            },
            **(extra or {}),
        }
    )
    model.losses.decisions = None  # no run folder here
    return model


def train(model: Any, data: Iterator[dict[str, Tensor]], after: Callable[[int], None] = lambda _: None) -> None:
    for iteration, batch in enumerate(data, start=1):
        model.update_learning_rate(iteration)
        model.feed_data(batch)
        model.optimize_parameters(iteration)
        after(iteration)


@torch.no_grad()
def evaluate(net: torch.nn.Module, pairs: list[tuple[Tensor, Tensor]], metric: torch.nn.Module) -> dict[str, float]:
    device = next(net.parameters()).device
    net.eval()
    psnr, distance = [], []
    luma = torch.tensor([65.481, 128.553, 24.966])[:, None, None] / 255
    for gt, lq in pairs:
        sr = net(lq[None].to(device))[0].clamp(0, 1).cpu()
        difference = ((sr * 255).round() - (gt * 255).round()) * luma
        inner = difference.sum(0)[SCALE:-SCALE, SCALE:-SCALE]
        psnr.append(float(10 * torch.log10(255**2 / inner.pow(2).mean())))
        distance.append(float(metric(sr[None], gt[None], normalize=True)))
    net.train()
    return {"psnr": statistics.mean(psnr), "st_lpips": statistics.mean(distance)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with bsds500_train and kodak24")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--start-iterations", type=int, default=2000, help="L1 training that every run starts from")
    parser.add_argument("--iterations", type=int, default=500)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    paragon_plugin.install()
    from basicsr.utils.registry import LOSS_REGISTRY

    LOSS_REGISTRY.register(STLPIPSLoss)
    metric = st_lpips("vgg")
    pairs, validation = training_pairs(args.data, 200), validation_pairs(args.data)
    results = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        start = build([{"type": "L1Loss"}], {"enabled": False}, args.start_iterations, 1e-3, seed)
        train(start, batches(pairs, 1000 + seed, args.start_iterations))
        weights = copy.deepcopy(start.net_g.state_dict())
        print(f"seed {seed}: start", evaluate(start.net_g, validation, metric), flush=True)
        for setting, scales in SETTINGS.items():
            values = {name: weight * scales.get(name, 1.0) for name, weight in TUNED.items()}
            losses = [
                {"type": "L1Loss", "loss_weight": values["l1_loss"]},
                {"type": "STLPIPSLoss", "name": "stlpips_loss", "loss_weight": values["stlpips_loss"]},
            ]
            for method, block in METHODS.items():
                model = build(losses, block, args.iterations, 2e-4, seed)
                model.net_g.load_state_dict(weights)
                train(model, batches(pairs, 2000 + seed, args.iterations))
                scores = evaluate(model.net_g, validation, metric)
                shares = dict(model.losses.last_step.shares) if model.losses.last_step else {}
                results.append({"seed": seed, "setting": setting, "method": method, "shares": shares, **scores})
                print(
                    f"seed {seed}  {setting:<17} {method:<9} {scores['psnr']:.2f} / {scores['st_lpips']:.4f}",
                    flush=True,
                )
    if args.json:
        args.json.write_text(
            json.dumps({"arguments": {k: str(v) for k, v in vars(args).items()}, "runs": results}, indent=1)
        )
    print_table(results)


def print_table(results: list[dict[str, Any]]) -> None:
    """Mean over seeds of PSNR / ST-LPIPS(vgg) by setting and method, then each method's range over the settings."""
    print(f"\n{'setting':<18}" + "".join(f"{method:>18}" for method in METHODS))
    means: dict[str, list[tuple[float, float]]] = {method: [] for method in METHODS}
    for setting in SETTINGS:
        row = f"{setting:<18}"
        for method in METHODS:
            runs = [r for r in results if r["setting"] == setting and r["method"] == method]
            mean = (statistics.mean(r["psnr"] for r in runs), statistics.mean(r["st_lpips"] for r in runs))
            means[method].append(mean)
            row += f"{mean[0]:>10.2f} / {mean[1]:.3f}"
        print(row)
    row = f"{'range':<18}"
    for method in METHODS:
        psnr, distance = zip(*means[method], strict=True)
        row += f"{max(psnr) - min(psnr):>10.2f} / {max(distance) - min(distance):.3f}"
    print(row)


if __name__ == "__main__":
    main()
