"""Whether the large sizes can learn: each fits the same 8 patches, and the PSNR on them is compared.

    python benchmarks/overfit.py --data DATA [--sizes s m l xl] [--seconds 600] [--json FILE] [--short]

x2, patches of 24 x 24 low-resolution pixels of BSDS500, L1, Adam with 20 iterations of warm-up. Every size trains for
the same CPU time, so a large one makes fewer steps. A size that cannot learn stays near its base, whose PSNR is shown
too. On a GPU (`--device cuda`) the time is that of the clock.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from bsds500 import data_folder, patches, read_pairs
from torch import Tensor

import paragon_plugin
from paragon_plugin.nets.paragonsr2 import SIZES, build_paragonsr2

SCALE, WARM_UP = 2, 20
RATES = {"s": 1e-3, "m": 5e-4, "l": 3e-4, "xl": 2e-4}
"""After the warm-up. Other sizes take 0.002."""


def psnr(output: Tensor, target: Tensor) -> float:
    """dB over all pixels and channels."""
    return float(-10 * torch.log10(F.mse_loss(output.clamp(0, 1), target)))


def fit(size: str, lq: Tensor, gt: Tensor, seconds: float) -> dict[str, Any]:
    """Train one size for so many seconds."""
    torch.manual_seed(0)
    net = build_paragonsr2(size, scale=SCALE).to(lq.device)
    optimizer = torch.optim.Adam(net.parameters(), 1e-9, betas=(0.9, 0.99))
    clock = time.process_time if lq.device.type == "cpu" else time.perf_counter
    start, steps = clock(), 0
    while clock() - start < seconds:
        optimizer.param_groups[0]["lr"] = RATES.get(size, 2e-3) * min(1.0, (steps + 1) / WARM_UP)
        optimizer.zero_grad()
        F.l1_loss(net(lq), gt).backward()
        optimizer.step()
        steps += 1
    with torch.no_grad():
        base, fitted = psnr(net.base(lq), gt), psnr(net(lq), gt)
    return {"size": size, "steps": steps, "base_psnr": round(base, 2), "psnr": round(fitted, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=data_folder, required=True)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=["s", "m", "l", "xl"])
    parser.add_argument("--seconds", type=float, default=600, help="for each size (default: 600)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--short", action="store_true", help="10 seconds a size; says nothing")
    args = parser.parse_args()
    paragon_plugin.install()
    torch.set_num_threads(1)
    pairs = read_pairs(args.data / "bsds500_train", SCALE, 8)
    ((lq, gt),) = patches(pairs, SCALE, seed=0, iterations=1, batch=8, side=24)
    rows: list[dict[str, Any]] = []
    for size in args.sizes:
        rows.append(fit(size, lq.to(args.device), gt.to(args.device), 10 if args.short else args.seconds))
        print(rows[-1], flush=True)
    if args.json:
        args.json.write_text(
            json.dumps({"seconds": args.seconds, "device": args.device, "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
