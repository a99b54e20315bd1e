"""Inference time of the sizes of ParagonSR2 next to BasicSR's SRVGGNetCompact.

    python benchmarks/network_speed.py [--sizes nano tiny s] [--json FILE]

128 x 128 input, x2, evaluation mode, one thread, interleaved; the ratio is the median over pairs. The compact networks
are features x body convolutions.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import torch
from torch import nn

import paragon_plugin
from paragon_plugin.nets.paragonsr2 import build_paragonsr2

COMPACT = {"nano": (16, 4), "micro": (16, 8), "tiny": (32, 8), "xs": (48, 10), "s": (64, 16), "m": (64, 32)}
"""The SRVGGNetCompact each size is set against."""


def parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def measure(size: str, side: int, pairs: int) -> dict[str, float | str]:
    from basicsr.archs.srvgg_arch import SRVGGNetCompact

    features, convolutions = COMPACT[size]
    ours = build_paragonsr2(size, scale=2).eval()
    theirs = SRVGGNetCompact(num_feat=features, num_conv=convolutions, upscale=2).eval()
    x = torch.rand(1, 3, side, side)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(pairs + 2):
        for net, record in zip((ours, theirs), times, strict=True):
            start = time.perf_counter()
            net(x)
            record.append(1e3 * (time.perf_counter() - start))
    ours_ms, theirs_ms = times[0][2:], times[1][2:]
    return {
        "size": size,
        "ms": statistics.median(ours_ms),
        "parameters": parameters(ours),
        "compact": f"{features}x{convolutions}",
        "compact_ms": statistics.median(theirs_ms),
        "compact_parameters": parameters(theirs),
        "ratio": statistics.median(a / b for a, b in zip(ours_ms, theirs_ms, strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=list(COMPACT), default=["nano", "micro", "tiny", "xs", "s"])
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    parser.add_argument("--pairs", type=int, default=15, help="timed pairs per size (default: 15)")
    parser.add_argument("--side", type=int, default=128, help="height and width of the input (default: 128)")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    paragon_plugin.install()
    torch.set_num_threads(arguments.threads)

    print("size       ms  parameters   SRVGG        ms  parameters  ratio")
    rows = []
    with torch.no_grad():
        for size in arguments.sizes:
            row = measure(size, arguments.side, arguments.pairs)
            rows.append(row)
            print(
                f"{size:5s} {row['ms']:7.2f}  {row['parameters']:10d}   {row['compact']:7s} {row['compact_ms']:7.2f}"
                f"  {row['compact_parameters']:10d}  {row['ratio']:5.2f}"
            )
    if arguments.json:
        machine = {"torch": torch.__version__, "machine": platform.machine(), "threads": arguments.threads}
        arguments.json.write_text(json.dumps({"environment": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
