"""Balanced losses in a Lightning module with manual optimization.

    pip install lightning
    python examples/lightning_module.py --steps 60
    python examples/lightning_module.py --steps 120 --resume
    paragon report lightning_module

The data are random textures. The state of the balance is in Lightning's checkpoints, because it rides in the optimizer.
"""

import argparse
import logging
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from paragon_plugin.losses import FFTLoss, SSIMLoss
from paragon_plugin.scheduling import LossBalance


class Textures(Dataset[tuple[Tensor, Tensor]]):
    """Smooth random images (3, 32, 32) and their halves (3, 16, 16)."""

    def __init__(self, count: int):
        random = torch.Generator().manual_seed(count)
        noise = torch.rand(count, 3, 8, 8, generator=random)
        self.gt = F.interpolate(noise, size=32, mode="bicubic").clamp(0, 1)

    def __len__(self) -> int:
        return len(self.gt)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        gt = self.gt[index]
        return F.avg_pool2d(gt, 2), gt


class SuperResolution(lightning.LightningModule):
    """x2 with three losses that are balanced."""

    def __init__(self, steps: int, folder: Path):
        super().__init__()
        self.automatic_optimization = False
        self.steps, self.folder = steps, folder
        self.net = nn.Sequential(
            nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 12, 3, padding=1), nn.PixelShuffle(2)
        )
        self.fft, self.ssim = FFTLoss(), SSIMLoss()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3)
        self.balance = LossBalance(
            {"l1": 1.0, "fft": 0.05, "ssim": 1.0}, total_iter=self.steps, network=self.net, record=self.folder
        )
        self.balance.ride_with(optimizer)
        return optimizer

    def training_step(self, batch: tuple[Tensor, Tensor]) -> None:
        x, gt = batch
        optimizer: Any = self.optimizers()
        y = self.net(x)
        losses = {"l1": F.l1_loss(y, gt), "fft": self.fft(y, gt), "ssim": self.ssim(y, gt)}
        optimizer.zero_grad()
        self.trainer.strategy.pre_backward(y)  # as `manual_backward` does; several processes need it
        self.balance.backward(losses, y, gt=gt)
        optimizer.step()
        self.log_dict(self.balance.log())

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        x, gt = batch
        self.log("psnr", -10 * torch.log10(F.mse_loss(self.net(x).clamp(0, 1), gt)), prog_bar=True, sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        if not self.trainer.sanity_checking:
            self.balance.record_validation("textures", {"psnr": float(self.trainer.callback_metrics["psnr"])})

    def on_fit_end(self) -> None:
        self.balance.finish()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=60, help="length of the run")
    parser.add_argument("--folder", type=Path, default=Path("experiments/lightning_module"), help="where the run goes")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in the folder")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    checkpoint = args.folder / "last.ckpt"

    lightning.seed_everything(0)
    trainer = lightning.Trainer(
        max_steps=args.steps,
        accelerator="cpu",
        devices=1,
        default_root_dir=args.folder,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(
        SuperResolution(args.steps, args.folder),
        DataLoader(Textures(80), batch_size=4, shuffle=True),
        DataLoader(Textures(8), batch_size=4),
        ckpt_path=checkpoint if args.resume else None,
    )
    trainer.save_checkpoint(checkpoint)


if __name__ == "__main__":
    main()
