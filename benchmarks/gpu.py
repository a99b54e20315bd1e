"""What needs a GPU to be known: times at video sizes, and what scheduling costs there.

    python benchmarks/gpu.py [--device cuda] [--json FILE] [--networks nano tiny ...] [--compile] [--short]

x2. Times of our sizes and of the rivals of `architectures.py` as they are used, in float32, fp16 and bf16, channels
last, optionally compiled: milliseconds per frame whose output is 1280 x 720, 1920 x 1080 or 3840 x 2160, the median
over rounds in which all take turns. A network that runs out of memory, or cannot be compiled, is said to. Then the time
of a training step with the scheduler over that of the plain loop, with and without mixed precision, and how many reads
of the device the scheduler adds to a step.

`--device cpu --short` shows in a minute or two that it works; its numbers say nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rivals import RIVALS, SCALE, deployed
from torch import Tensor, nn

import paragon_plugin
from paragon_plugin.losses import FFTLoss
from paragon_plugin.nets.paragonsr2 import SIZES, build_paragonsr2
from paragon_plugin.scheduling import LossBalance

FRAMES = {"720p": (720, 1280), "1080p": (1080, 1920), "2160p": (2160, 3840)}
"""Height and width of the output."""
TYPES = {"float32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
BUILDERS: dict[str, Callable[[], nn.Module]] = {size: partial(build_paragonsr2, size, scale=SCALE) for size in SIZES}
BUILDERS |= {name: build for name, (_, build) in RIVALS.items()}


def seconds(call: Callable[[], Any], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def frame_times(
    names: list[str], size: tuple[int, int], dtype: torch.dtype, device: torch.device, rounds: int, compiled: bool
) -> dict[str, float | str]:
    """Milliseconds per frame by network, or why there are none."""
    shape = (1, 3, size[0] // SCALE, size[1] // SCALE)
    x = torch.rand(shape, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    calls: dict[str, Callable[[], Any]] = {}
    found: dict[str, float | str] = {}
    for name in names:
        net = deployed(BUILDERS[name]()).to(device, dtype).to(memory_format=torch.channels_last)  # pyright: ignore
        calls[name] = partial(torch.compile(net) if compiled else net, x)
    record: dict[str, list[float]] = {name: [] for name in names}
    with torch.inference_mode():
        for number in range(rounds + 2):
            for name in [name for name in names if name not in found]:
                try:
                    taken = seconds(calls[name], device)
                except Exception as error:  # torch.compile raises nearly anything
                    found[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
                    continue
                if number >= 2:
                    record[name].append(1e3 * taken)
    return found | {name: round(statistics.median(times), 3) for name, times in record.items() if times}


class Loop:
    """Training with L1 and an FFT loss, scheduled or not, with or without mixed precision."""

    def __init__(self, size: str, device: torch.device, *, scheduled: bool, mixed: bool) -> None:
        torch.manual_seed(0)
        self.net = build_paragonsr2(size, scale=SCALE).to(device)
        self.optimizer = torch.optim.Adam(self.net.parameters(), 1e-4)
        self.fft = FFTLoss()
        self.device, self.mixed = device, mixed
        self.balance = None
        if scheduled:
            block = {"enabled": True, "auto_calibrate": True, "baseline_iterations": 5}
            weights = {"l1": 1.0, "fft": 0.05}
            self.balance = LossBalance(weights, block, total_iter=10**6, network=self.net)

    def step(self, lq: Tensor, gt: Tensor) -> None:
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            output = self.net(lq)
        losses = {"l1": F.l1_loss(output.float(), gt), "fft": self.fft(output.float(), gt)}
        if self.balance is not None:
            self.balance.backward(losses, output)
        else:
            (losses["l1"] + 0.05 * losses["fft"]).backward()
        self.optimizer.step()


def scheduling(size: str, device: torch.device, pairs: int, *, mixed: bool) -> dict[str, float]:
    """Ratio of the step's time with the scheduler to that without, and the reads of the device that it adds."""
    plain, scheduled = (Loop(size, device, scheduled=flag, mixed=mixed) for flag in (False, True))
    gt = torch.rand(8, 3, 128, 128, device=device)
    lq = F.avg_pool2d(gt, SCALE)
    ratios: list[float] = []
    for number in range(pairs + 10):
        order = (plain, scheduled) if number % 2 else (scheduled, plain)
        taken = {loop: seconds(partial(loop.step, lq, gt), device) for loop in order}
        if number >= 10:
            ratios.append(taken[scheduled] / taken[plain])
    added = reads(scheduled, lq, gt) - reads(plain, lq, gt)
    return {"time_ratio": round(statistics.median(ratios), 4), "reads_added_per_step": added}


def reads(loop: Loop, lq: Tensor, gt: Tensor, steps: int = 5) -> float:
    """Reads of the device in a training step: scalars, and on a GPU all copies to the host."""
    activity = torch.profiler.ProfilerActivity
    activities = [activity.CPU, *[activity.CUDA] * (loop.device.type == "cuda")]
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(steps):
            loop.step(lq, gt)
    kind = "Memcpy DtoH" if loop.device.type == "cuda" else "aten::_local_scalar_dense"
    return sum(event.count for event in profile.key_averages() if event.key.startswith(kind)) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--networks", nargs="+", choices=list(BUILDERS), default=list(BUILDERS), help="default: all")
    parser.add_argument("--compile", action="store_true", help="compile every network")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--pairs", type=int, default=200, help="pairs of training steps (default: 200)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--short", action="store_true", help="two small networks, one small frame, few rounds")
    args = parser.parse_args()
    frames, sizes = FRAMES, ["nano", "tiny", "s", "m"]
    if args.short:
        frames, sizes = {"96p": (96, 128)}, ["nano"]
        args.networks, args.rounds, args.pairs = ["nano", "SPAN 16"], 2, 4
    paragon_plugin.install()
    device = torch.device(args.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    results: dict[str, Any] = {"device": where, "torch": torch.__version__, "compiled": args.compile, "frame_ms": {}}
    for frame, size in frames.items():
        for name, dtype in TYPES.items():
            times = frame_times(args.networks, size, dtype, device, args.rounds, args.compile)
            results["frame_ms"][f"{frame} {name}"] = times
            print(frame, name, times, flush=True)
    results["scheduling"] = {}
    for size in sizes:
        for mixed in (False, True):
            found = scheduling(size, device, args.pairs, mixed=mixed)
            results["scheduling"][f"{size} {'bf16' if mixed else 'float32'}"] = found
            print(size, "mixed" if mixed else "float32", found, flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
