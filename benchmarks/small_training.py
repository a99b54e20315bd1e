"""A small training on BSDS500 with any losses, in a loop of its own, and its scores on crops of test sets."""

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from balancing_methods import Weigher
from torch import Tensor, nn
from torch.nn import functional as F

Criterion = Callable[[Tensor, Tensor], Tensor]
Pairs = list[tuple[Tensor, Tensor]]
"""Target (3, H, W) and its low resolution, in [0, 1]."""
SIDE = 64
"""Pixels of a target patch."""
CROP = 192
"""Pixels of a test crop: whole blocks of NIQE, which are 96 pixels."""


def read(path: Path) -> np.ndarray:
    from skimage.io import imread

    return imread(path)[..., :3]


def pair(hr: np.ndarray, scale: int) -> tuple[Tensor, Tensor]:
    from basicsr.data.transforms import mod_crop

    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import low_resolution

    image = mod_crop(hr, scale).astype(np.float32) / 255
    lr = low_resolution(image, scale)
    return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(lr).permute(2, 0, 1)


def training_pairs(data: Path, scale: int, count: int) -> Pairs:
    files = [f for f in sorted((data / "bsds500_train").glob("*.jpg")) if f.stem != "302003"]  # cut from Set5's woman
    return [pair(read(f), scale) for f in files[:: max(1, len(files) // count)]]


def crops(folder: Path, scale: int) -> Pairs:
    """The middle of eight photographs that are large enough, evenly taken from a folder."""
    images = [image for image in map(read, sorted(folder.glob("*.png"))) if min(image.shape[:2]) >= CROP]
    found: Pairs = []
    for image in images[:: len(images) // 8][:8]:
        y, x = ((size - CROP) // 2 for size in image.shape[:2])
        found.append(pair(image[y : y + CROP, x : x + CROP], scale))
    return found


def batches(pairs: Pairs, seed: int, count: int, scale: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs (lq, gt) of four random patches, some flipped."""
    generator = torch.Generator().manual_seed(seed)
    size = SIDE // scale

    def draw(limit: int) -> int:
        return int(torch.randint(0, limit, (1,), generator=generator))

    for _ in range(count):
        gts, lqs = [], []
        for _ in range(4):
            gt, lq = pairs[draw(len(pairs))]
            y, x = draw(lq.shape[1] - size), draw(lq.shape[2] - size)
            patch_lq = lq[:, y : y + size, x : x + size]
            patch_gt = gt[:, scale * y : scale * (y + size), scale * x : scale * (x + size)]
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


class Scores:
    """Scores of a network by test set: PSNR (Y, a border of 4 left out), the distance of a trunk, and NIQE.

    NIQE (Mittal et al., "Making a Completely Blind Image Quality Analyzer", 2013) is BasicSR's, of all crops side by
    side: a crop alone has too few blocks.
    """

    BORDER = 4

    def __init__(self, distance: nn.Module):
        self.distance = distance

    @torch.no_grad()
    def __call__(self, net: nn.Module, tests: Mapping[str, Pairs]) -> dict[str, dict[str, float]]:
        net.eval()
        found = {name: self._of(net, pairs) for name, pairs in tests.items()}
        net.train()
        return found

    def _of(self, net: nn.Module, pairs: Pairs) -> dict[str, float]:
        from basicsr.metrics.niqe import calculate_niqe

        outputs = [net(lq[None])[0].clamp(0, 1) for _, lq in pairs]
        luma = torch.tensor([65.481, 128.553, 24.966])[:, None, None] / 255
        psnr, distances = [], []
        for sr, (gt, _) in zip(outputs, pairs, strict=True):
            difference = ((sr * 255).round() - (gt * 255).round()) * luma
            inner = difference.sum(0)[self.BORDER : -self.BORDER, self.BORDER : -self.BORDER]
            psnr.append(float(10 * torch.log10(255**2 / inner.pow(2).mean())))
            distances.append(float(self.distance(sr[None], gt[None], normalize=True)))
        sheet = torch.cat([torch.cat(outputs[row::2], dim=2) for row in range(2)], dim=1)
        image = (sheet.nan_to_num() * 255).round().byte().permute(1, 2, 0).flip(2).numpy()  # BGR, as BasicSR has it
        niqe = float(calculate_niqe(image, crop_border=0))
        return {"psnr": statistics.mean(psnr), "st_lpips": statistics.mean(distances), "niqe": niqe}
