"""PSNR after an equal budget against time: our networks among those of others and classical kernels.

    python benchmarks/architectures.py --train --data DATA --json FILE       hours; goes on from the file
    python benchmarks/architectures.py --time --json FILE [--plot FILE]      minutes, on a quiet machine
    python benchmarks/architectures.py --json FILE                           the tables alone

x2. Every network is trained from scratch on BSDS500 with the same patches, optimizer, schedule and iterations, and
scored on Set5 and Set14 (Y, border of 2 left out). There are two budgets. Each network is trained at the short one with
several learning rates: 0.002 and 0.004, then half and double as long as that does better on crops of Kodak's
photographs. The best is used for all other runs; where the long budget then ends below the short one on them, or does
not train, the next smaller rate is. 600 or 2,400 iterations are not the 500,000 of a paper: these
figures compare networks under one small budget.

A network that ends less than `MARGIN` above bicubic did not train under this budget. It is shown as that, and neither
beats nor is beaten by another.

Times are for a 128 x 128 input on one thread, in PyTorch and in onnxruntime, all networks in turn, round after round,
by the process's own CPU clock. A network's time is its median, a ratio of two the median over rounds. Every network has
the form in which it is used, its branches folded.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import io
import json
import logging
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from architectures_plot import draw_scatter
from bsds500 import Pair, budget, data_folder, read_pairs, scores, train
from rivals import RIVALS, SCALE, deployed
from torch import Tensor, nn

import paragon_plugin
from paragon_plugin.nets.paragonsr2 import SIZES, build_paragonsr2
from paragon_plugin.ops.magic_kernel import MagicKernelSharp2021Upsample
from paragon_plugin.resilience.atomic_file import atomic_file

SIDE = 128
RATES = (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)
FIRST = (2e-3, 4e-3)
"""Learning rates, and those that the search starts with."""
SHORT, LONG = 600, 2400
"""Iterations of the two budgets."""
MARGIN = 0.5
"""dB above bicubic on Set14 that a network must reach to count as trained."""
OURS = "ParagonSR2"

NETWORKS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    size: (OURS, partial(build_paragonsr2, size, scale=SCALE)) for size in SIZES
} | RIVALS
"""Family and builder of each network."""

FAST = (
    *("tiny", "nano", "ECBSR m4c16", "micro", "SRVGG 16x4"),
    *("ECBSR m10c16", "MSRResNet 16x4", "SRVGG 32x8", "SPAN 16"),
)
"""At most about as slow as tiny, and what stands beside it: three seeds."""
SLOW = ("xs", "SPAN 28", "s", "SPAN 48")
"""One seed. m, l and xl are too slow to train here."""
STAGES: tuple[tuple[tuple[str, ...], int, tuple[int, ...]], ...] = (
    (FAST, SHORT, (0, 1, 2)),
    (FAST, LONG, (0,)),
    (SLOW, SHORT, (0,)),
    (SLOW, LONG, (0,)),
    (("RLFN",), SHORT, (0,)),
    (("RLFN",), LONG, (0,)),
    (FAST, LONG, (1, 2)),
)
"""What is trained, in this order: networks, iterations, seeds."""


def matlab_bicubic(x: Tensor) -> Tensor:
    from paragon_plugin.hosts.basicsr.run.reference_upscalers import bicubic

    return bicubic(x, SCALE)


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


def read_images(data: Path, count: int | None = None) -> Images:
    crops = [
        Pair(pair.name, pair.gt[:, 128:384, 128:384], pair.lq[:, 64:192, 64:192])
        for pair in read_pairs(data / "kodak24", SCALE, 12)
    ]
    tests = {key: read_pairs(data / key, SCALE) for key in ("set5", "set14")}
    return Images(read_pairs(data / "bsds500_train", SCALE, count), crops, tests)


def scored(upscale: Callable[[Tensor], Tensor], images: Images) -> dict[str, Any]:
    found: dict[str, Any] = {key: scores(upscale, pairs, SCALE) for key, pairs in images.tests.items()}
    return found | {"held_out_psnr": scores(upscale, images.held_out, SCALE)["psnr"]}


def run(name: str, iterations: int, seed: int, rate: float, images: Images) -> dict[str, Any]:
    torch.manual_seed(seed)
    net = NETWORKS[name][1]()
    start = time.process_time()
    train(net.train(), images.training, SCALE, seed=seed, iterations=iterations, rate=rate)
    seconds = round(time.process_time() - start, 1)
    head = {"network": name, "iterations": iterations, "seed": seed, "rate": rate, "train_seconds": seconds}
    return head | scored(net.eval(), images)


def searched(results: dict[str, Any], name: str) -> dict[float, float]:
    """PSNR on the images held out of every learning rate tried: seed 0, the short budget."""
    runs = (e for e in results["runs"] if (e["network"], e["seed"], e["iterations"]) == (name, 0, SHORT))
    return {e["rate"]: e["held_out_psnr"] for e in runs}


def next_rate(results: dict[str, Any], name: str) -> float | None:
    """The learning rate to try next; None where the best one has two worse neighbours, or is the last."""
    tried = searched(results, name)
    wanted = list(FIRST)
    if tried:
        best = RATES.index(max(tried, key=lambda rate: tried[rate]))
        wanted += RATES[max(best - 1, 0) : best + 2]
    return next((rate for rate in wanted if rate not in tried), None)


def chosen_rate(results: dict[str, Any], name: str) -> float | None:
    """The best learning rate; None before the search has ended."""
    tried = searched(results, name)
    return None if next_rate(results, name) is not None else max(tried, key=lambda rate: tried[rate])


def rate_of_budget(results: dict[str, Any], name: str, iterations: int) -> float | None:
    """The chosen learning rate. At the long budget the next smaller one, as long as the run did not train or ends below
    the short one.

    A rate that is best for 600 iterations can be too large to stay for 2,400: such a network has not been beaten.
    """
    rate = chosen_rate(results, name)
    if rate is None or iterations == SHORT:
        return rate
    reached = searched(results, name)[rate]
    runs = {
        e["rate"]: e for e in results["runs"] if (e["network"], e["seed"], e["iterations"]) == (name, 0, iterations)
    }
    while rate in runs and rate != RATES[0]:
        if runs[rate]["set14"]["psnr"] >= trained_psnr(results) and runs[rate]["held_out_psnr"] >= reached:
            break
        rate = RATES[RATES.index(rate) - 1]
    return rate


def trained_psnr(results: dict[str, Any]) -> float:
    """PSNR on Set14 from which a network counts as trained."""
    return results["classical"]["bicubic"]["set14"]["psnr"] + MARGIN


def next_run(results: dict[str, Any]) -> tuple[str, int, int, float] | None:
    """Network, iterations, seed and learning rate of the first run of `STAGES` that is missing."""
    done = {(e["network"], e["iterations"], e["seed"], e["rate"]) for e in results["runs"]}
    for names, iterations, seeds in STAGES:
        for seed in seeds:
            for name in names:
                rate = next_rate(results, name)
                if rate is not None:
                    return name, SHORT, 0, rate
                key = (name, iterations, seed, rate_of_budget(results, name, iterations))
                if key not in done:
                    return key  # pyright: ignore[reportReturnType]
    return None


def train_all(results: dict[str, Any], images: Images, write: Callable[[], None]) -> None:
    results["classical"] = {name: scored(upscale, images) for name, upscale in CLASSICAL.items()}
    while (wanted := next_run(results)) is not None:
        entry = run(*wanted, images)
        results["runs"].append(entry)
        write()
        print(*wanted, f"{entry['train_seconds']} s  Set14 {entry['set14']['psnr']:.2f}", flush=True)


# -- timing ------------------------------------------------------------------------------------------------------------


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


def onnx_session(net: nn.Module) -> Callable[[Tensor], Any]:
    """The network in onnxruntime, one thread, for an input of one size."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        file = Path(folder) / "net.onnx"
        example = torch.rand(1, 3, SIDE, SIDE)
        torch.onnx.export(
            net, (example,), file, input_names=["x"], opset_version=18, dynamo=True, external_data=False, verbose=False
        )
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x.numpy()})


def forms(names: list[str]) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """Runtime, network and a call of each."""
    x = torch.rand(1, 3, SIDE, SIDE)
    for name in names:
        net = deployed(NETWORKS[name][1]())
        yield "onnxruntime", name, partial(onnx_session(net), x)
        last = x.contiguous(memory_format=torch.channels_last)
        yield "eager", name, partial(net.to(memory_format=torch.channels_last), last)
    for name, upscale in TIMED_CLASSICAL.items():
        yield "eager", name, partial(upscale, x)


@torch.no_grad()
def timings(names: list[str], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds by runtime, network and round."""
    calls = list(forms(names))
    record: dict[str, dict[str, list[float]]] = {"eager": {}, "onnxruntime": {}}
    for number in range(rounds + 1):
        for runtime, name, call in calls:
            start = time.process_time()
            call()
            if number:  # the first one warms up
                record[runtime].setdefault(name, []).append(1e3 * (time.process_time() - start))
    return record


# -- results -----------------------------------------------------------------------------------------------------------


def ratio(times: dict[str, list[float]], name: str, other: str) -> float:
    """Time of a network over that of another: the median over rounds."""
    return statistics.median(a / b for a, b in zip(times[name], times[other], strict=True))


def summarise(results: dict[str, Any], iterations: int) -> list[dict[str, Any]]:
    """A row per network, in the order of time: means over seeds, and the times of both runtimes."""
    least = trained_psnr(results)
    rows: list[dict[str, Any]] = []
    for name, (family, _) in NETWORKS.items():
        rate = rate_of_budget(results, name, iterations)
        runs = [e for e in results["runs"] if (e["network"], e["iterations"], e["rate"]) == (name, iterations, rate)]
        if not runs:
            continue
        row: dict[str, Any] = {"network": name, "family": family, "rate": rate, "seeds": len(runs)}
        for key in ("set5", "set14"):
            row |= {f"{key}_{m}": statistics.mean(e[key][m] for e in runs) for m in ("psnr", "ssim")}
        row["kodak_psnr"] = statistics.mean(e["held_out_psnr"] for e in runs)
        row["set14_range"] = max(e["set14"]["psnr"] for e in runs) - min(e["set14"]["psnr"] for e in runs)
        row["trained"] = row["set14_psnr"] >= least
        for runtime, times in results["times_ms"].items():
            if name in times:
                row[runtime] = statistics.median(times[name])
        rows.append(row)
    return sorted(rows, key=lambda row: row.get("eager", 0.0))


def plotted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The trained and timed rows, with `ms` in eager mode and whether they are on the Pareto front of Set14."""
    rows = [row | {"ms": row["eager"]} for row in rows if row["trained"] and "eager" in row]
    for row in rows:
        row["on_front"] = not any(
            other is not row and other["ms"] <= row["ms"] and other["set14_psnr"] >= row["set14_psnr"] for other in rows
        )
    return rows


def nearest_rivals(results: dict[str, Any], rows: list[dict[str, Any]], runtime: str) -> list[dict[str, Any]]:
    """For each of ours, the best trained rival in at most its time, and the lead on Set14 and the Kodak crops in dB."""
    times = results["times_ms"].get(runtime, {})
    found: list[dict[str, Any]] = []
    for row in (r for r in rows if r["family"] == OURS and r["network"] in times):
        faster = [
            other
            for other in rows
            if other["family"] != OURS
            and other["trained"]
            and other["network"] in times
            and ratio(times, other["network"], row["network"]) <= 1
        ]
        entry: dict[str, Any] = {"network": row["network"], "runtime": runtime, "faster_rivals": len(faster)}
        if faster:
            for key in ("set14_psnr", "kodak_psnr"):
                best = max(faster, key=lambda other: other[key])
                entry[key] = {"rival": best["network"], "lead": row[key] - best[key]}
        found.append(entry)
    return found


def print_tables(results: dict[str, Any]) -> None:
    if not results["runs"]:
        print("nothing is trained yet")
        return
    for iterations in (SHORT, LONG):
        rows = summarise(results, iterations)
        print(
            f"\n{iterations} iterations\nnetwork          parameters  eager   onnx   Set5   Set14  Kodak   rate   seeds"
        )
        for row in rows:
            times = " ".join(f"{row.get(runtime, float('nan')):6.1f}" for runtime in ("eager", "onnxruntime"))
            quality = " ".join(f"{row[f'{key}_psnr']:6.2f}" for key in ("set5", "set14", "kodak"))
            count = results["parameters"][row["network"]]
            note = "" if row["trained"] else "  did not train"
            print(f"{row['network']:<15} {count:>11,} {times} {quality}  {row['rate']:g}  {row['seeds']}{note}")
        for runtime in ("eager", "onnxruntime"):
            for entry in nearest_rivals(results, rows, runtime):
                leads = [
                    f"{key.removesuffix('_psnr')} {entry[key]['lead']:+.2f} over {entry[key]['rival']}"
                    for key in ("set14_psnr", "kodak_psnr")
                    if key in entry
                ]
                print(f"  {runtime:<11} {entry['network']:<6} {'; '.join(leads) or 'no trained rival in its time'}")


def load(file: Path) -> dict[str, Any]:
    wanted = budget(SCALE, SHORT) | {"iterations": [SHORT, LONG]}
    if file.exists():
        results = json.loads(file.read_text())
        if results["budget"] != wanted:
            raise SystemExit(f"{file} holds runs of another budget, {results['budget']}; name another file")
        return results
    return {"budget": wanted, "classical": {}, "runs": [], "times_ms": {}}


def parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="the results, written run by run")
    parser.add_argument("--train", action="store_true", help="train what is missing; hours")
    parser.add_argument("--data", type=data_folder, help="folder with bsds500_train, kodak24, set5 and set14")
    parser.add_argument("--time", action="store_true", help="measure times anew; minutes")
    parser.add_argument("--rounds", type=int, default=21, help="timed rounds (default: 21)")
    parser.add_argument("--plot", type=Path, help="write a scatter plot of the long budget to this PNG file")
    args = parser.parse_args()
    if args.train and args.data is None:
        parser.error("--train needs --data")
    paragon_plugin.install()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # a network that has died trains a hundred times slower without
    results = load(args.json)

    def write() -> None:
        with atomic_file(args.json) as out:
            out.write((json.dumps(results, indent=1) + "\n").encode())

    # As deployed: what the branches of a rival hold while it is trained is not part of it.
    results["parameters"] = {name: parameters(deployed(build())) for name, (_, build) in NETWORKS.items()}
    if args.train:
        train_all(results, read_images(args.data), write)
    if args.time:
        keep_freed_memory()
        results["environment"] = {"torch": torch.__version__, "machine": platform.machine(), "threads": 1}
        results["times_ms"] = timings([*FAST, *SLOW, "RLFN"], args.rounds)
        write()
    print_tables(results)
    if args.plot and results["runs"]:
        rows = plotted(summarise(results, LONG) or summarise(results, SHORT))
        args.plot.parent.mkdir(parents=True, exist_ok=True)
        args.plot.write_bytes(draw_scatter(rows).png())


if __name__ == "__main__":
    main()
