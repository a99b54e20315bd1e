"""Balanced losses in a training loop of one's own: super-resolution x2 with L1, FFT and an adversarial loss.

    python examples/plain_loop.py --steps 60
    python examples/plain_loop.py --steps 120 --resume
    paragon report plain_loop

The photographs come with scikit-image. Comments that begin with "Balance" mark what the balance adds to the loop. The
weight of the FFT loss is 20 times the usual one beside L1, on purpose: the log shows how it is corrected.
"""

import argparse
import logging
from pathlib import Path

import skimage.data
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paragon_plugin.losses import FFTLoss
from paragon_plugin.scheduling import LossBalance

SCALE, PATCH, BATCH = 2, 48, 4


class Network(nn.Module):
    """Bicubic upscaling plus what a few convolutions add to it."""

    def __init__(self, width: int = 24):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 3 * SCALE**2, 3, padding=1),
            nn.PixelShuffle(SCALE),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] to (B, 3, 2 h, 2 w)."""
        return F.interpolate(x, scale_factor=SCALE, mode="bicubic") + self.body(x)


def discriminator(width: int = 16) -> nn.Module:
    """Judges patches: (B, 3, H, W) to a map of logits."""
    return nn.Sequential(
        nn.Conv2d(3, width, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(2 * width, 1, 3, padding=1),
    )


def photograph(name: str) -> Tensor:
    """(3, H, W) in [0, 1], sides even."""
    image = torch.from_numpy(getattr(skimage.data, name)()).permute(2, 0, 1).float() / 255
    return image[:, : image.shape[1] // SCALE * SCALE, : image.shape[2] // SCALE * SCALE]


def reduced(gt: Tensor) -> Tensor:
    """The low-resolution image of (B, 3, H, W)."""
    return F.interpolate(gt, scale_factor=1 / SCALE, mode="bicubic", antialias=True).clamp(0, 1)


def training_batch(photographs: list[Tensor], step: int) -> tuple[Tensor, Tensor]:
    """Random patches, the same at the same step: input (B, 3, h, w) and target (B, 3, H, W)."""
    random = torch.Generator().manual_seed(step)
    patches: list[Tensor] = []
    for _ in range(BATCH):
        image = photographs[int(torch.randint(len(photographs), (), generator=random))]
        top, left = (int(torch.randint(side - PATCH + 1, (), generator=random)) for side in image.shape[1:])
        patches.append(image[:, top : top + PATCH, left : left + PATCH])
    gt = torch.stack(patches)
    return reduced(gt), gt


@torch.no_grad()
def psnr(net: nn.Module, image: Tensor) -> float:
    """Of a whole photograph, in dB."""
    gt = image[None]
    return float(-10 * torch.log10(F.mse_loss(net(reduced(gt)).clamp(0, 1), gt)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=60, help="length of the run")
    parser.add_argument("--folder", type=Path, default=Path("experiments/plain_loop"), help="where the run goes")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in the folder")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")  # shows the scheduler's decisions
    checkpoint = args.folder / "checkpoint.pt"

    torch.manual_seed(0)
    net, disc = Network(), discriminator()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    disc_optimizer = torch.optim.Adam(disc.parameters(), lr=1e-4)
    fft = FFTLoss()
    train_photographs, held_out = [photograph("astronaut"), photograph("rocket")], photograph("chelsea")

    # Balance: base weights by name. The names say the roles: pixel, structural, adversarial.
    balance = LossBalance({"l1": 1.0, "fft": 1.0, "gan": 0.005}, total_iter=args.steps, network=net, record=args.folder)

    # Balance: its state goes into the checkpoint with everything else.
    parts = {"net": net, "disc": disc, "optimizer": optimizer, "disc_optimizer": disc_optimizer, "balance": balance}
    if args.resume:
        saved = torch.load(checkpoint, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(saved[name])

    for step in range(balance.iteration + 1, args.steps + 1):
        x, gt = training_batch(train_photographs, step)
        y = net(x)
        optimizer.zero_grad()
        # Balance: in place of `(1.0 * l1 + 1.0 * fft + 0.005 * gan).backward()`. The losses come without weights.
        losses = {"l1": F.l1_loss(y, gt), "fft": fft(y, gt), "gan": F.softplus(-disc(y)).mean()}
        balance.backward(losses, y, gt=gt)
        optimizer.step()

        if not balance.skipped:  # y may be NaN at a skipped step
            disc_optimizer.zero_grad()
            (F.softplus(disc(y.detach())).mean() + F.softplus(-disc(gt)).mean()).backward()
            disc_optimizer.step()

        if step % 20 == 0 or step == args.steps:
            quality = psnr(net, held_out)
            values = "  ".join(f"{tag} {value:.4g}" for tag, value in balance.log().items())
            print(f"{step:>6}  psnr {quality:.2f}  {values}")
            balance.record_validation("chelsea", {"psnr": quality})
            torch.save({name: part.state_dict() for name, part in parts.items()}, checkpoint)

    # Balance: says what it arrived at, and closes the record.
    balance.finish()


if __name__ == "__main__":
    main()
