"""Time and difference of the polyphase upsampler against sharpening, repeating pixels and blurring.

    python benchmarks/base_upsampler.py [--json FILE] [--short]

Both forms compute Magic Kernel Sharp 2021 with separable filters; the naive one blurs at high resolution, with the
taps that make nearest + blur the spline. Timed on one thread, interleaved; the ratio is the median over pairs.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from paragon_plugin.ops.magic_kernel import MagicKernelSharp2021Upsample, magic_kernel, sharp_taps


def blur_taps(scale: int) -> list[float]:
    """The spline sampled on the fine grid, with the box of s that repeating pixels applies divided out."""
    samples = [magic_kernel((n + 0.5) / scale - 1.5) for n in range(3 * scale)]
    taps: list[float] = []
    for n in range(2 * scale + 1):
        taps.append(samples[n] - sum(taps[max(0, n - scale + 1) : n]))
    return taps


def naive_upsampler(scale: int, channels: int) -> Callable[[Tensor], Tensor]:
    """Sharpen, repeat pixels, blur: depthwise convolutions, weights prepared beforehand."""
    sharp = torch.tensor(sharp_taps()).expand(channels, 1, -1)
    blur = torch.tensor(blur_taps(scale)).expand(channels, 1, -1)

    def filter_both(x: Tensor, taps: Tensor) -> Tensor:
        margin = (taps.shape[2] // 2,) * 4
        x = F.conv2d(F.pad(x, margin, mode="replicate"), taps.unsqueeze(2), groups=channels)
        return F.conv2d(x, taps.unsqueeze(3), groups=channels)

    return lambda x: filter_both(F.interpolate(filter_both(x, sharp), scale_factor=scale, mode="nearest"), blur)


def measure(scale: int, side: int, pairs: int) -> dict[str, float]:
    x = torch.rand(1, 3, side, side)
    fast, naive = MagicKernelSharp2021Upsample(scale), naive_upsampler(scale, 3)
    inside = slice(5 * scale, -5 * scale)
    difference = (fast(x) - naive(x))[:, :, inside, inside].abs().max()
    times: dict[str, list[float]] = {"fast": [], "naive": []}
    for _ in range(pairs + 2):
        for name, run in (("fast", fast), ("naive", naive)):
            start = time.perf_counter()
            run(x)
            times[name].append(1e3 * (time.perf_counter() - start))
    fast_ms, naive_ms = times["fast"][2:], times["naive"][2:]
    return {
        "scale": scale,
        "side": side,
        "polyphase_ms": statistics.median(fast_ms),
        "naive_ms": statistics.median(naive_ms),
        "ratio": statistics.median(slow / quick for quick, slow in zip(fast_ms, naive_ms, strict=True)),
        "max_difference": float(difference),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    parser.add_argument("--pairs", type=int, default=31, help="timed pairs per row (default: 31)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="5 pairs per row, a few seconds")
    arguments = parser.parse_args()
    if arguments.short:
        arguments.pairs = 5
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)

    print("scale  side  polyphase ms  naive ms  ratio  max difference inside")
    rows = []
    with torch.no_grad():
        for side in (128, 256, 512):
            for scale in (2, 3, 4, 8):
                row = measure(scale, side, arguments.pairs)
                rows.append(row)
                print(
                    f"   x{scale}  {side:4d}  {row['polyphase_ms']:12.2f}  {row['naive_ms']:8.2f}  {row['ratio']:5.1f}"
                    f"  {row['max_difference']:.1e}"
                )
    if arguments.json:
        machine = {"torch": torch.__version__, "machine": platform.machine(), "threads": arguments.threads}
        arguments.json.write_text(json.dumps({"environment": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
