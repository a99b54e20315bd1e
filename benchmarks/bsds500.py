"""Training patches of BSDS500, and scores on Set5 and Set14: what the benchmarks that train for fidelity share.

The folder given as `--data` holds `bsds500_train` (JPEG), `kodak24`, `set5` and `set14` (PNG). Low-resolution images
are MATLAB's bicubic reductions, rounded to 8 bits as in a PNG file.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

BATCH, PATCH, WARM_UP = 8, 48, 20
"""Of every training; the patch is the side in LR pixels."""

LEAKED = "302003"
"""The photograph that Set5's `woman` is cut from."""


class Pair(NamedTuple):
    """A photograph and its reduction, 8 bit: gt (3, s H, s W), lq (3, H, W)."""

    name: str
    gt: Tensor
    lq: Tensor


def read_pairs(folder: Path, scale: int, count: int | None = None) -> list[Pair]:
    """Every image of a folder, or `count` of them spread over it."""
    from basicsr.data.transforms import mod_crop
    from skimage.io import imread

    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import low_resolution

    files = sorted(f for f in folder.iterdir() if f.suffix in (".png", ".jpg") and f.stem != LEAKED)
    if count is not None:
        files = files[:: max(1, len(files) // count)][:count]
    pairs = []
    for file in files:
        image = np.atleast_3d(imread(file))[..., :3]
        image = mod_crop(np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image, scale)
        reduced = np.round(low_resolution(image.astype(np.float32) / 255, scale) * 255).astype(np.uint8)
        pairs.append(Pair(file.stem, *(torch.from_numpy(x.transpose(2, 0, 1).copy()) for x in (image, reduced))))
    return pairs


def patches(
    pairs: list[Pair], scale: int, *, seed: int, iterations: int, batch: int, side: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches (lq, gt) in [0, 1] with flips and transpositions, the same for the same seed; `side` in LR pixels."""
    generator = np.random.default_rng(seed)
    for _ in range(iterations):
        lqs, gts = [], []
        for _ in range(batch):
            pair = pairs[generator.integers(len(pairs))]
            y, x = (int(generator.integers(size - side + 1)) for size in pair.lq.shape[1:])
            lq = pair.lq[:, y : y + side, x : x + side]
            gt = pair.gt[:, scale * y : scale * (y + side), scale * x : scale * (x + side)]
            flips = [dim for dim in (1, 2) if generator.integers(2)]
            lq, gt = lq.flip(flips), gt.flip(flips)
            if generator.integers(2):
                lq, gt = lq.transpose(1, 2), gt.transpose(1, 2)
            lqs.append(lq)
            gts.append(gt)
        yield torch.stack(lqs).float() / 255, torch.stack(gts).float() / 255


def budget(scale: int, iterations: int) -> dict[str, Any]:
    """What `train` does, learning rate aside, for the results."""
    return {
        "scale": scale,
        "iterations": iterations,
        "batch": BATCH,
        "lr_patch": PATCH,
        "loss": "L1",
        "optimizer": f"Adam, {WARM_UP} iterations of warm-up, cosine to 0",
    }


def train(
    net: nn.Module,
    pairs: list[Pair],
    scale: int,
    *,
    seed: int,
    iterations: int,
    rate: float,
    kernel_factor: float | None = None,
) -> None:
    """L1 and Adam, with a linear warm-up, then a cosine to zero.

    Args:
        net: trained in place.
        rate: learning rate after the warm-up.
        kernel_factor: as the option `learnable_kernel_lr_factor`; None for one learning rate.
    """
    from paragon_plugin.hosts.basicsr.models.learnable_kernel_training import KernelLearningRate

    optimizer = torch.optim.Adam(net.parameters(), rate, betas=(0.9, 0.99))
    kernel = None if kernel_factor is None else KernelLearningRate(optimizer, net, kernel_factor)
    batches = patches(pairs, scale, seed=seed, iterations=iterations, batch=BATCH, side=PATCH)
    for step, (lq, gt) in enumerate(batches):
        factor = min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / iterations))
        optimizer.param_groups[0]["lr"] = rate * factor
        if kernel is not None:
            kernel.follow()
        optimizer.zero_grad()
        F.l1_loss(net(lq), gt).backward()
        optimizer.step()


@torch.no_grad()
def scores(upscale: Callable[[Tensor], Tensor], pairs: list[Pair], scale: int) -> dict[str, float]:
    """Mean PSNR and SSIM on Y with a border of `scale` pixels left out, of outputs rounded to 8 bits."""
    from basicsr.metrics import calculate_psnr, calculate_ssim
    from basicsr.utils import tensor2img

    totals = {"psnr": 0.0, "ssim": 0.0}
    for pair in pairs:
        images = [tensor2img([upscale(pair.lq[None].float() / 255)]), tensor2img([pair.gt[None].float() / 255])]
        totals["psnr"] += calculate_psnr(*images, crop_border=scale, test_y_channel=True) / len(pairs)
        totals["ssim"] += calculate_ssim(*images, crop_border=scale, test_y_channel=True) / len(pairs)
    return {metric: float(total) for metric, total in totals.items()}


def data_folder(text: str) -> Path:
    """Type of the option `--data`."""
    folder = Path(text)
    missing = [name for name in ("bsds500_train", "kodak24", "set5", "set14") if not (folder / name).is_dir()]
    if missing:
        raise argparse.ArgumentTypeError(f"{folder} has no folder {', '.join(missing)}")
    return folder
