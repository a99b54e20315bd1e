"""What learning the Magic Kernel's sharpening gives: alone, and as the base of nano and tiny.

    python benchmarks/learnable_kernel.py --data DATA [--json FILE] [--short]

x2, trained on BSDS500 as in `architectures.py` at the learning rate that suits nano and tiny there, scored on Set5 and
Set14 (Y, border of 2 left out). "Alone" is the classical upscale with nothing behind it: fixed, at the strength of
Magic Kernel Sharp 2021 and at the default of our networks, and learnt. Inside a network the learnt kernel is compared
with the fixed one over the same seeds.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from bsds500 import budget, data_folder, read_pairs, scores, train
from torch import nn

import paragon_plugin
from paragon_plugin.nets.paragonsr2 import build_paragonsr2
from paragon_plugin.ops.learnable_kernel import LearnableMagicKernelSharp2021Upsample
from paragon_plugin.ops.magic_kernel import MagicKernelSharp2021Upsample

SCALE = 2
RATES = {"alone": 8e-3, "nano": 8e-3, "tiny": 4e-3}
"""By network, as `architectures.py` found them."""
ALPHA = 1.2
"""Default of our networks, and where the learnt kernel starts."""


class Row(NamedTuple):
    """One way to use the kernel."""

    network: str
    kernel: str
    build: Callable[[], nn.Module]
    factor: float | None = None
    """Learning rate of the kernel over that of the rest; of the kernel alone, over its rate."""
    trained: bool = True


ROWS = (
    Row("alone", "fixed, alpha 1", partial(MagicKernelSharp2021Upsample, SCALE), trained=False),
    Row("alone", f"fixed, alpha {ALPHA:g}", partial(MagicKernelSharp2021Upsample, SCALE, ALPHA), trained=False),
    Row("alone", "learnt", partial(LearnableMagicKernelSharp2021Upsample, SCALE, ALPHA), 5.0),
    *(
        Row(
            size,
            kernel,
            partial(build_paragonsr2, size, scale=SCALE, use_learnable_magic_kernel=factor != 0),
            factor or None,
        )
        for size in ("nano", "tiny")
        for kernel, factor in (("fixed", 0.0), ("learnt", 1.0), ("learnt, factor 10", 10.0))
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=data_folder, required=True, help="folder with bsds500_train, kodak24, set5 and set14"
    )
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--iterations", type=int, default=600, help="training iterations (default: 600)")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each row (default: 2)")
    parser.add_argument("--short", action="store_true", help="the kernel alone and nano, half a minute")
    args = parser.parse_args()
    if args.short:
        args.iterations, args.seeds = 100, 1
    paragon_plugin.install()
    from paragon_plugin.hosts.basicsr.models.learnable_kernel_training import kernel_log

    torch.set_num_threads(1)
    tests = {key: read_pairs(args.data / key, SCALE) for key in ("set5", "set14")}
    pairs = read_pairs(args.data / "bsds500_train", SCALE, 40 if args.short else None)
    rows: list[dict[str, Any]] = []
    print("network  kernel              Set5 PSNR   Set14 PSNR  (each seed)     alpha     bias  taps, outermost first")
    for row in ROWS:
        if args.short and row.network == "tiny":
            continue
        runs = []
        for seed in range(args.seeds if row.trained else 1):
            torch.manual_seed(seed)
            net = row.build()
            if row.trained:
                train(
                    net,
                    pairs,
                    SCALE,
                    seed=seed,
                    iterations=args.iterations,
                    rate=RATES[row.network],
                    kernel_factor=row.factor,
                )
            found = {key: scores(net.eval(), images, SCALE) for key, images in tests.items()}
            runs.append({"seed": seed, **found, "kernel": kernel_log(net)})
        means = {key: statistics.mean(entry[key]["psnr"] for entry in runs) for key in tests}
        rows.append(
            {"network": row.network, "kernel": row.kernel, "lr_factor": row.factor, "psnr": means, "runs": runs}
        )
        values = [f"{value:8.4f}" for value in runs[0]["kernel"].values()]
        each = " ".join(f"{entry['set14']['psnr']:.3f}" for entry in runs)
        print(
            f"{row.network:<8} {row.kernel:<18} {means['set5']:>10.3f} {means['set14']:>12.3f}  ({each}) "
            + " ".join(values),
            flush=True,
        )
    if args.json:
        environment = {"torch": torch.__version__, "machine": platform.machine(), "threads": 1}
        results = {
            "budget": budget(SCALE, args.iterations),
            "learning_rates": RATES,
            "environment": environment,
            "rows": rows,
        }
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
