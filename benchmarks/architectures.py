"""PSNR after an equal budget against time: our networks among SRVGGNetCompact, MSRResNet, ECBSR and classical kernels.

    python benchmarks/architectures.py --data DATA [--json FILE] [--plot FILE] [--short]

x2. Every network is trained from scratch on BSDS500 with the same patches, optimizer, schedule and iterations, and
scored on Set5 and Set14 (Y, border of 2 left out). A small budget punishes a learning rate that does not suit, so
each network is trained with several: from 0.001 on, half and double as long as that does better on crops of Kodak's
photographs, which are used for nothing else. A few hundred iterations are not the 500,000 of a paper: these figures
compare networks under one small budget.

Times are for a 128 x 128 input on one thread, all networks in turn, round after round; a network's time is its median,
a ratio of two the median over rounds. Freed memory is kept for the next call. Each network has the memory layout that
is faster for it, and ECBSR its branches folded into one convolution, as its authors deploy it.

With `--json` each run is written when it ends, and runs found there are not repeated.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from architectures_plot import draw_scatter
from bsds500 import Pair, budget, data_folder, read_pairs, scores, train
from torch import Tensor, nn

import paragon_plugin
from paragon_plugin.nets.paragonsr2 import build_paragonsr2
from paragon_plugin.nets.released import build_released
from paragon_plugin.ops.magic_kernel import MagicKernelSharp2021Upsample
from paragon_plugin.resilience.atomic_file import atomic_file

SCALE = 2
SIDE = 128
RATES = (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3)
"""Learning rates; the search starts with 0.001 and 0.002."""
OURS = "ParagonSR2"
TARGETS = {"nano": "SRVGG 16x4", "tiny": "SRVGG 32x8", "s": "SRVGG 64x16"}
"""Ours, and the network it should beat in PSNR at no more than its time."""


class Entry(NamedTuple):
    """A network of the comparison."""

    family: str
    build: Callable[[], nn.Module]
    large: bool = False
    """Trained last, and with `--large-seeds` seeds."""


def compact(features: int, convolutions: int) -> nn.Module:
    from basicsr.archs.srvgg_arch import SRVGGNetCompact

    return SRVGGNetCompact(num_feat=features, num_conv=convolutions, upscale=SCALE)


def residual(features: int, blocks: int) -> nn.Module:
    from basicsr.archs.srresnet_arch import MSRResNet

    return MSRResNet(num_feat=features, num_block=blocks, upscale=SCALE)


def matlab_bicubic(x: Tensor) -> Tensor:
    from paragon_plugin.hosts.basicsr.run.reference_upscalers import bicubic

    return bicubic(x, SCALE)


def ecbsr(blocks: int, channels: int) -> nn.Module:
    from basicsr.archs.ecbsr_arch import ECBSR

    return ECBSR(3, 3, blocks, channels, with_idt=False, act_type="prelu", scale=SCALE)


NETWORKS: dict[str, Entry] = {
    **{size: Entry(OURS, partial(build_paragonsr2, size, scale=SCALE)) for size in ("nano", "micro", "tiny", "xs")},
    "s": Entry(OURS, partial(build_paragonsr2, "s", scale=SCALE), large=True),
    "realtime": Entry("released tiers", partial(build_released, "realtime", scale=SCALE)),
    "stream": Entry("released tiers", partial(build_released, "stream", scale=SCALE), large=True),
    "SRVGG 16x4": Entry("SRVGGNetCompact", partial(compact, 16, 4)),
    "SRVGG 32x8": Entry("SRVGGNetCompact", partial(compact, 32, 8)),
    "SRVGG 64x16": Entry("SRVGGNetCompact", partial(compact, 64, 16), large=True),
    "MSRResNet 16x4": Entry("MSRResNet", partial(residual, 16, 4)),
    "ECBSR m4c16": Entry("ECBSR", partial(ecbsr, 4, 16)),
}

TIMED_ONLY: dict[str, Entry] = {
    **{size: Entry(OURS, partial(build_paragonsr2, size, scale=SCALE)) for size in ("m", "l", "xl")},
    **{tier: Entry("released tiers", partial(build_released, tier, scale=SCALE)) for tier in ("photo", "pro")},
}
"""Too slow to train here. Like networks not trained yet, they are timed in few rounds, once."""

CLASSICAL: dict[str, Callable[[Tensor], Tensor]] = {
    "bicubic": matlab_bicubic,
    "MKS 2021": MagicKernelSharp2021Upsample(SCALE),
    "our base": MagicKernelSharp2021Upsample(SCALE, 1.2),
}
TIMED_CLASSICAL = CLASSICAL | {"bicubic": lambda x: F.interpolate(x, scale_factor=SCALE, mode="bicubic")}
"""MATLAB's bicubic is scored; the one of PyTorch, which differs in a constant, is timed."""


# -- training ----------------------------------------------------------------------------------------------------------


class Images(NamedTuple):
    """What a network is trained on, chosen by, and scored on."""

    training: list[Pair]
    held_out: list[Pair]
    tests: dict[str, list[Pair]]


def read_images(data: Path, count: int | None) -> Images:
    crops = [
        Pair(pair.name, pair.gt[:, 128:384, 128:384], pair.lq[:, 64:192, 64:192])
        for pair in read_pairs(data / "kodak24", SCALE, 12)
    ]
    tests = {key: read_pairs(data / key, SCALE) for key in ("set5", "set14")}
    return Images(read_pairs(data / "bsds500_train", SCALE, count), crops, tests)


def run(name: str, seed: int, rate: float, images: Images, iterations: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    net = NETWORKS[name].build()
    start = time.perf_counter()
    train(net.train(), images.training, SCALE, seed=seed, iterations=iterations, rate=rate)
    seconds = round(time.perf_counter() - start, 1)
    found = {key: scores(net.eval(), pairs, SCALE) for key, pairs in images.tests.items()}
    held_out = scores(net, images.held_out, SCALE)["psnr"]
    return {"network": name, "seed": seed, "rate": rate, "train_seconds": seconds, "held_out_psnr": held_out, **found}


def next_rate(results: dict[str, Any], name: str) -> float | None:
    """The learning rate to try next with the first seed; None where the best one has two worse neighbours, or one."""
    tried = {e["rate"]: e["held_out_psnr"] for e in results["runs"] if e["network"] == name and e["seed"] == 0}
    best = max(
        (place for place, rate in enumerate(RATES) if rate in tried), key=lambda place: tried[RATES[place]], default=2
    )
    wanted = [RATES[2], RATES[3], *RATES[max(best - 1, 0) : best + 2]]
    return next((rate for rate in wanted if rate not in tried), None)


def chosen_rate(results: dict[str, Any], name: str) -> float | None:
    """The learning rate that did best with the first seed on the images held out; None before that is known."""
    if name in NETWORKS and next_rate(results, name) is not None:
        return None
    first = [entry for entry in results["runs"] if entry["network"] == name and entry["seed"] == 0]
    return max(first, key=lambda entry: entry["held_out_psnr"])["rate"]


def chosen_runs(results: dict[str, Any], name: str) -> list[dict[str, Any]]:
    rate = chosen_rate(results, name)
    return [entry for entry in results["runs"] if entry["network"] == name and entry["rate"] == rate]


# -- timing ------------------------------------------------------------------------------------------------------------


def deployed(net: nn.Module) -> nn.Module:
    """The network as it would be used: ECBSR with its branches folded."""
    if hasattr(net, "backbone"):
        folded: list[nn.Module] = []
        for block in net.backbone:  # pyright: ignore[reportGeneralTypeIssues]
            weight, bias = block.rep_params()
            conv = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
            conv.weight.data, conv.bias.data = weight.detach(), bias.detach()  # pyright: ignore[reportOptionalMemberAccess]
            folded += [conv, block.act] if hasattr(block, "act") else [conv]
        net.backbone = nn.Sequential(*folded)
    return net.eval()


def keep_freed_memory() -> None:
    """Let glibc keep what is freed, as in a program that enlarges frame after frame.

    By default it hands large blocks back to the system at moments that depend on all that the process did before; a
    network whose features lie above the threshold is then timed with or without the cost of fresh pages, by chance.
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        trim, mmap = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
        for parameter in (trim, mmap):
            libc.mallopt(parameter, 1 << 30)


@torch.no_grad()
def timings(
    entries: dict[str, Entry], classical: dict[str, Callable[[Tensor], Any]], rounds: int
) -> dict[str, list[float]]:
    """Milliseconds of every network and upscaler in every round, in the layout with the lower median."""
    x = torch.rand(1, 3, SIDE, SIDE)
    layouts = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
    forms: dict[tuple[str, str], Callable[[], Any]] = {}
    for layout, memory_format in layouts.items():
        image = x.contiguous(memory_format=memory_format)
        for name, entry in entries.items():
            forms[name, layout] = partial(deployed(entry.build()).to(memory_format=memory_format), image)
        for name, upscale in classical.items():
            forms[name, layout] = partial(upscale, image)
    record: dict[tuple[str, str], list[float]] = {key: [] for key in forms}
    for number in range(rounds + 2):
        for key, upscale in forms.items():
            start = time.perf_counter()
            upscale()
            if number >= 2:
                record[key].append(1e3 * (time.perf_counter() - start))
    names = [*entries, *classical]
    return {name: min((record[name, layout] for layout in layouts), key=statistics.median) for name in names}


# -- results -----------------------------------------------------------------------------------------------------------


def summarise(results: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per network: means over seeds, time, and whether another one is at least as good and at most as slow."""
    rows = []
    for name, times in results["times_ms"].items():
        if name in TIMED_ONLY or not (runs := chosen_runs(results, name)):
            continue
        row: dict[str, Any] = {"network": name, "family": results["networks"][name]["family"]}
        row |= {"parameters": results["networks"][name]["parameters"], "ms": statistics.median(times)}
        row |= {"seeds": len(runs), "rate": runs[0]["rate"]}
        for key in ("set5", "set14"):
            for metric in ("psnr", "ssim"):
                row[f"{key}_{metric}"] = statistics.mean(entry[key][metric] for entry in runs)
        spread = [entry["set14"]["psnr"] for entry in runs]
        row["set14_psnr_range"] = max(spread) - min(spread)
        rows.append(row)
    for row in rows:
        row["on_front"] = not any(
            other is not row and other["ms"] <= row["ms"] and other["set14_psnr"] >= row["set14_psnr"] for other in rows
        )
    return sorted(rows, key=lambda row: row["ms"])


def compare_targets(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Each of `TARGETS`: time as a ratio, PSNR as a difference, over the seeds that both have."""
    found = []
    for ours, theirs in TARGETS.items():
        if not {ours, theirs} <= results["times_ms"].keys():
            continue
        psnr = {name: {entry["seed"]: entry for entry in chosen_runs(results, name)} for name in (ours, theirs)}
        seeds = sorted(psnr[ours].keys() & psnr[theirs].keys())
        if not seeds:
            continue
        ratio = statistics.median(
            a / b for a, b in zip(results["times_ms"][ours], results["times_ms"][theirs], strict=True)
        )
        gains = {
            key: [psnr[ours][seed][key]["psnr"] - psnr[theirs][seed][key]["psnr"] for seed in seeds]
            for key in ("set5", "set14")
        }
        found.append({"ours": ours, "theirs": theirs, "time_ratio": ratio, "psnr_gain": gains})
    return found


def print_tables(results: dict[str, Any]) -> None:
    print(f"\n{'network':<15} {'parameters':>10} {'ms':>7}   Set5 PSNR / SSIM   Set14 PSNR / SSIM   rate  seeds  front")
    for row in results["summary"]:
        scored = "     ".join(f"{row[f'{key}_psnr']:.2f} / {row[f'{key}_ssim']:.4f}" for key in ("set5", "set14"))
        rate = f"{row['rate']:g}" if row["rate"] else ""
        front = "yes" if row["on_front"] else ""
        name = f"{row['network']:<15} {row['parameters']:>10,} {row['ms']:>7.2f}"
        print(f"{name}   {scored}  {rate:>5} {row['seeds']:>6}  {front}")
    for target in results["targets"]:
        gains = ", ".join(
            f"{key} " + " ".join(f"{gain:+.2f}" for gain in target["psnr_gain"][key]) for key in ("set5", "set14")
        )
        print(f"{target['ours']} against {target['theirs']}: {target['time_ratio']:.2f} x the time; PSNR {gains}")


def write(results: dict[str, Any], file: Path | None) -> None:
    if file is not None:
        with atomic_file(file) as out:
            out.write((json.dumps(results, indent=1) + "\n").encode())


def load(file: Path | None, wanted: dict[str, Any]) -> dict[str, Any]:
    if file is not None and file.exists():
        results = json.loads(file.read_text())
        if results["budget"] != wanted:
            raise SystemExit(f"{file} holds runs of another budget, {results['budget']}; name another file")
        return results
    return {"budget": wanted, "runs": [], "times_ms": {}}


def parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=data_folder, required=True, help="folder with bsds500_train, kodak24, set5 and set14"
    )
    parser.add_argument("--json", type=Path, help="write the results there, run by run, and go on from what it holds")
    parser.add_argument("--plot", type=Path, help="write a scatter plot to this PNG file")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS), help="default: all")
    parser.add_argument("--iterations", type=int, default=600, help="training iterations (default: 600)")
    parser.add_argument("--seeds", type=int, default=2, help="runs of a network (default: 2)")
    parser.add_argument("--large-seeds", type=int, default=1, help="runs of stream, s and SRVGG 64x16 (default: 1)")
    parser.add_argument("--rounds", type=int, default=31, help="timed rounds (default: 31)")
    parser.add_argument("--short", action="store_true", help="all but the large ones in two minutes; says nothing")
    args = parser.parse_args()
    if args.short:
        args.iterations, args.seeds, args.large_seeds, args.rounds = 10, 1, 0, 5
    paragon_plugin.install()
    torch.set_num_threads(1)
    keep_freed_memory()

    results = load(args.json, budget(SCALE, args.iterations))
    images = read_images(args.data, 40 if args.short else None)
    done = {(entry["network"], entry["seed"], entry["rate"]) for entry in results["runs"]}

    def finish(entry: dict[str, Any]) -> None:
        results["runs"].append(entry)
        done.add((entry["network"], entry["seed"], entry["rate"]))
        write(results, args.json)

    for name, upscale in CLASSICAL.items():
        if (name, 0, None) not in done:
            found = {key: scores(upscale, pairs, SCALE) for key, pairs in images.tests.items()}
            finish({"network": name, "seed": 0, "rate": None, "held_out_psnr": 0.0, **found})
    for large, seeds in ((False, args.seeds), (True, args.large_seeds)):
        for seed in range(seeds):
            for name in (n for n, entry in NETWORKS.items() if entry.large is large and n in args.networks):
                while (rate := next_rate(results, name) if seed == 0 else chosen_rate(results, name)) is not None:
                    if (name, seed, rate) in done:
                        break
                    finish(entry := run(name, seed, rate, images, args.iterations))
                    scored = f"Kodak {entry['held_out_psnr']:.2f}  Set14 {entry['set14']['psnr']:.2f}"
                    print(f"{name:<15} seed {seed}  {rate:g}  {entry['train_seconds']:6.0f} s  {scored}", flush=True)

    trained = {name: entry for name, entry in NETWORKS.items() if any(r["network"] == name for r in results["runs"])}
    trained = {name: entry for name, entry in trained.items() if chosen_rate(results, name) is not None}
    timed = trained if args.short else NETWORKS | TIMED_ONLY
    results["networks"] = {
        name: {"family": entry.family, "parameters": parameters(entry.build())} for name, entry in timed.items()
    } | {name: {"family": "classical", "parameters": 0} for name in CLASSICAL}
    results["environment"] = {"torch": torch.__version__, "machine": platform.machine(), "threads": 1}
    results["times_ms"] |= timings(trained, TIMED_CLASSICAL, args.rounds)
    if new := {name: entry for name, entry in timed.items() if name not in results["times_ms"]}:
        results["times_ms"] |= timings(new, {}, 3)
    results["summary"], results["targets"] = summarise(results), compare_targets(results)
    write(results, args.json)
    print_tables(results)
    if args.plot:
        args.plot.parent.mkdir(parents=True, exist_ok=True)
        args.plot.write_bytes(draw_scatter(results["summary"]).png())


if __name__ == "__main__":
    main()
