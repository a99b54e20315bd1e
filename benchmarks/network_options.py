"""What the options of the networks bring: window attention and the content gain, on nano and tiny.

    python benchmarks/network_options.py --data DATA --json FILE [--seeds 3] [--short]

x2, trained on BSDS500 as in `architectures.py`, 600 iterations, at the learning rate that suits each size there; scored
on Set5, Set14 and crops of Kodak. Runs found in the JSON are not repeated. The time is that of a 128 x 128 input over
that of the network without the option: one thread, rounds in turn, CPU clock, the median.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from architectures import SCALE, Images, keep_freed_memory, read_images, scored
from bsds500 import data_folder, train

import paragon_plugin
from paragon_plugin.nets.paragonsr2 import build_paragonsr2
from paragon_plugin.resilience.atomic_file import atomic_file

RATES = {"nano": 8e-3, "tiny": 4e-3}
OPTIONS: dict[str, Mapping[str, Any]] = {
    "none": {},
    "use_content_aware": {"use_content_aware": True},
    "use_attention": {"use_attention": True},
}


def run(size: str, option: str, seed: int, iterations: int, images: Images) -> dict[str, Any]:
    torch.manual_seed(seed)
    net = build_paragonsr2(size, scale=SCALE, **OPTIONS[option])
    train(net.train(), images.training, SCALE, seed=seed, iterations=iterations, rate=RATES[size])
    return {"network": size, "option": option, "seed": seed, **scored(net.eval(), images)}


@torch.no_grad()
def times(size: str, rounds: int = 21) -> dict[str, float]:
    """Time of each option over that of none."""
    x = torch.rand(1, 3, 128, 128).contiguous(memory_format=torch.channels_last)
    nets = {name: build_paragonsr2(size, scale=SCALE, **own).eval() for name, own in OPTIONS.items()}
    record: dict[str, list[float]] = {name: [] for name in nets}
    for _ in range(rounds + 1):
        for name, net in nets.items():
            start = time.process_time()
            net(x)
            record[name].append(time.process_time() - start)
    return {
        name: round(statistics.median(a / b for a, b in zip(own[1:], record["none"][1:], strict=True)), 3)
        for name, own in record.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=data_folder, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="nano, one seed, 20 iterations")
    args = parser.parse_args()
    paragon_plugin.install()
    torch.set_num_threads(1)
    keep_freed_memory()
    results: dict[str, Any] = json.loads(args.json.read_text()) if args.json.exists() else {"runs": []}
    images = read_images(args.data, 40 if args.short else None)
    seeds, sizes, iterations = (1, ["nano"], 20) if args.short else (args.seeds, list(RATES), 600)
    done = {(e["network"], e["option"], e["seed"]) for e in results["runs"]}
    for key in ((size, option, seed) for size in sizes for seed in range(seeds) for option in OPTIONS):
        if key not in done:
            results["runs"].append(run(*key, iterations, images))
            write(args.json, results)
    results["times"] = {size: times(size) for size in sizes}
    write(args.json, results)
    print(table(results))


def table(results: dict[str, Any]) -> str:
    """Markdown: means over the seeds."""
    lines = ["| network | option | Set5 | Set14 | Kodak crops | Set14, each seed | time |", "| --- " * 7 + "|"]
    for size, own in results["times"].items():
        for option, ratio in own.items():
            runs = [e for e in results["runs"] if (e["network"], e["option"]) == (size, option)]
            kodak = statistics.mean(e["held_out_psnr"] for e in runs)
            means = [statistics.mean(e[key]["psnr"] for e in runs) for key in ("set5", "set14")]
            each = ", ".join(f"{e['set14']['psnr']:.2f}" for e in runs)
            cells = " | ".join(f"{value:.2f}" for value in (*means, kodak))
            lines.append(f"| {size} | {option} | {cells} | {each} | {ratio:.2f} |")
    return "\n".join(lines)


def write(file: Path, results: dict[str, Any]) -> None:
    with atomic_file(file) as out:
        out.write((json.dumps(results, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
