"""A small x4 training on BSDS500 with any losses, in a loop of its own, and its scores on Kodak crops."""

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from balancing_methods import Weigher
from torch import Tensor, nn
from torch.nn import functional as F

from paragon_plugin.nets.paragonsr2 import build_paragonsr2

SCALE = 4
Criterion = Callable[[Tensor, Tensor], Tensor]


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


def batches(
    pairs: list[tuple[Tensor, Tensor]], seed: int, count: int, size: int = 16
) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs (lq, gt) of four random patches, some flipped."""
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
        yield torch.stack(lqs), torch.stack(gts)


@dataclass
class Discriminator:
    """A network that tells real images from made ones, and its optimizer; the loss is binary cross-entropy."""

    net: nn.Module
    optimizer: torch.optim.Optimizer

    def fooled(self, fake: Tensor) -> Tensor:
        """The generator's loss: how far the images are from being taken for real."""
        return _cross_entropy(self.net(fake), real=True)

    def train(self, real: Tensor, fake: Tensor) -> None:
        """One step on real and made images."""
        self.net.requires_grad_(True)
        self.optimizer.zero_grad()
        _cross_entropy(self.net(real), real=True).backward()
        _cross_entropy(self.net(fake), real=False).backward()
        self.optimizer.step()
        self.net.requires_grad_(False)


def _cross_entropy(logits: Tensor, *, real: bool) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def new_network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return build_paragonsr2("nano", scale=SCALE)


def train(
    net: nn.Module,
    weigher: Weigher,
    optimizer: torch.optim.Optimizer,
    data: Iterator[tuple[Tensor, Tensor]],
    criteria: Mapping[str, Criterion],
    total: int,
    discriminator: Discriminator | None = None,
) -> None:
    """Train with criteria of (output, target); the loss `gan_loss` comes with a discriminator.

    The learning rate is halved at four fifths of the iterations.
    """
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [int(total * 0.8)], 0.5)
    if discriminator is not None:
        discriminator.net.requires_grad_(False)
    for lq, gt in data:

        def losses_of(output: Tensor, gt: Tensor = gt) -> dict[str, Tensor]:
            losses = {name: criterion(output, gt) for name, criterion in criteria.items()}
            return losses if discriminator is None else losses | {"gan_loss": discriminator.fooled(output)}

        optimizer.zero_grad()
        output = net(lq)
        weigher.backward(losses_of(output), output)
        optimizer.step()
        schedule.step()
        weigher.after_step(lambda lq=lq, losses_of=losses_of: losses_of(net(lq)))
        if discriminator is not None:
            discriminator.train(gt, output.detach())


@torch.no_grad()
def evaluate(net: nn.Module, pairs: list[tuple[Tensor, Tensor]], metric: nn.Module) -> dict[str, float]:
    """Mean PSNR (Y, a border of the scale left out) and ST-LPIPS."""
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
