"""Balanced losses in a loop with Accelerate.

    pip install accelerate
    python examples/accelerate_loop.py --steps 60
    python examples/accelerate_loop.py --steps 120 --resume
    paragon report accelerate_loop

The data are random textures. `--parts 2` accumulates the gradients of two batches for each optimizer step.
"""

import argparse
import logging
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from paragon_plugin.losses import FFTLoss, SSIMLoss
from paragon_plugin.scheduling import LossBalance


def textures(count: int) -> tuple[Tensor, Tensor]:
    """Halves (N, 3, 16, 16) of smooth random images, and the images (N, 3, 32, 32)."""
    noise = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(count))
    gt = F.interpolate(noise, size=32, mode="bicubic").clamp(0, 1)
    return F.avg_pool2d(gt, 2), gt


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=60, help="length of the run, in optimizer steps")
    parser.add_argument("--parts", type=int, default=1, help="batches for one optimizer step")
    parser.add_argument("--folder", type=Path, default=Path("experiments/accelerate_loop"), help="where the run goes")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in the folder")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    accelerator = Accelerator(gradient_accumulation_steps=args.parts)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 12, 3, padding=1), nn.PixelShuffle(2))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    # 80 images in batches of 2 or 4: every optimizer step has all of its parts.
    data = DataLoader(TensorDataset(*textures(80)), batch_size=2, shuffle=True, drop_last=True)
    net, optimizer, data = accelerator.prepare(net, optimizer, data)
    x_held_out, gt_held_out = (part.to(accelerator.device) for part in textures(8))
    fft, ssim = FFTLoss(), SSIMLoss()

    # Balance: after `prepare`, so that it knows the processes; `scaler` is None unless the precision is fp16.
    balance = LossBalance(
        {"l1": 1.0, "fft": 0.05, "ssim": 1.0},
        total_iter=args.steps,
        network=net,
        parts=args.parts,
        scaler=accelerator.scaler,
        record=args.folder,
    )
    accelerator.register_for_checkpointing(balance)
    if args.resume:
        accelerator.load_state(str(args.folder / "checkpoint"))

    while balance.iteration < args.steps:
        for x, gt in data:
            with accelerator.accumulate(net):
                y = net(x)
                losses = {"l1": F.l1_loss(y, gt), "fft": fft(y, gt), "ssim": ssim(y, gt)}
                balance.backward(losses, y, gt=gt)  # in place of `accelerator.backward(loss)`
                optimizer.step()
                optimizer.zero_grad()
            if accelerator.sync_gradients and balance.iteration >= args.steps:
                break
        with torch.no_grad():
            psnr = float(-10 * torch.log10(F.mse_loss(net(x_held_out).clamp(0, 1), gt_held_out)))
        accelerator.print(f"{balance.iteration:>6}  psnr {psnr:.2f}")
        balance.record_validation("textures", {"psnr": psnr})

    accelerator.save_state(str(args.folder / "checkpoint"))
    balance.finish()
    accelerator.end_training()


if __name__ == "__main__":
    main()
