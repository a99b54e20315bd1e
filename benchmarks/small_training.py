"""A small x4 training on BSDS500 with any losses, and its scores on Kodak crops: PSNR and ST-LPIPS."""

import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

SCALE = 4


def read(path: Path) -> np.ndarray:
    from skimage.io import imread

    return imread(path)[..., :3]


def pair(hr: np.ndarray) -> tuple[Tensor, Tensor]:
    from basicsr.data.transforms import mod_crop

    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import low_resolution

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
            "name": "small_training",
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
    if model.losses.balance is not None:  # no run folder here
        model.losses.balance.decision_log = model.losses.balance.record = None
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
