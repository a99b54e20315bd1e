"""How often the stability monitor is wrong: false incidents on stationary losses, and how soon it finds a doubling.

    python benchmarks/stability_monitor.py [--json FILE] [--iterations 100000] [--runs 200] [--losses 1]

Log-normal losses of a coefficient of variation and an autocorrelation in log. `possible` is the same for the test that
knows the variation, the autocorrelation and the level, with the evidence at which it is wrong once in 10,000
iterations: no test of one loss that has to find the moment itself does much better.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

from paragon_plugin.resilience.atomic_file import atomic_file
from paragon_plugin.scheduling.stability import GROWTH, START, StabilityMonitor

VARIATIONS = (0.1, 0.2, 0.3, 0.4, 0.6)
CORRELATIONS = (0.0, 0.3, 0.6, 0.9)
STEP = math.log(GROWTH)
AT = 1200
"""Iteration of the doubling."""
BLOCK = 5000
"""Iterations of one run for false incidents."""


def noise(variation: float, correlation: float, seed: int) -> Iterator[float]:
    """Logs of the losses about their level: normal, of first-order autocorrelation."""
    draw = random.Random(seed)
    spread = math.sqrt(math.log(1 + variation**2))
    value = draw.gauss(0, spread)
    while True:
        yield value
        value = correlation * value + draw.gauss(0, spread * math.sqrt(1 - correlation**2))


def losses(variation: float, correlation: float, seed: int, count: int) -> Iterator[dict[str, float]]:
    sources = [noise(variation, correlation, 1000 * seed + number) for number in range(count)]
    while True:
        yield {str(number): next(source) for number, source in enumerate(sources)}


def false_incidents(variation: float, correlation: float, iterations: int, count: int) -> float:
    """In 10,000 monitored iterations."""
    found = 0
    for seed in range(iterations // BLOCK):
        monitor, source = StabilityMonitor(100_000), losses(variation, correlation, seed, count)
        for iteration in range(1, BLOCK + START + 1):
            answer = monitor.observe(iteration, {name: math.exp(log) for name, log in next(source).items()})
            found += answer not in (None, "recovered")
    return found / (iterations // BLOCK * BLOCK) * 10_000


def delays(variation: float, correlation: float, runs: int, count: int) -> list[float]:
    """Iterations until a doubling is found, infinite where it is not within 150."""
    found = []
    for seed in range(runs):
        monitor, source = StabilityMonitor(100_000), losses(variation, correlation, 5000 + seed, count)
        delay = math.inf
        for iteration in range(1, AT + 150):
            step = STEP if iteration >= AT else 0.0
            answer = monitor.observe(iteration, {name: math.exp(log + step) for name, log in next(source).items()})
            if iteration >= AT and answer == "exponential_loss_growth":
                delay = iteration - AT + 1
                break
        found.append(delay)
    return found


# -- what is possible --------------------------------------------------------------------------------------------------


def evidences(variation: float, correlation: float, seed: int, at: float) -> Iterator[float]:
    """Page's statistic of a test that knows everything but the moment, over the iterations."""
    p, variance = correlation, math.log(1 + variation**2) * (1 - correlation**2)
    before, evidence = 0.0, 0.0
    for iteration, value in enumerate(noise(variation, correlation, seed), start=1):
        value += STEP if iteration >= at else 0.0
        innovation, before = value - p * before, value

        def gain(step: float, innovation: float = innovation) -> float:
            return step / variance * (innovation - step / 2)

        evidence = max(0.0, evidence + gain((1 - p) * STEP), gain(STEP))
        yield evidence


def possible(variation: float, correlation: float, within: int, runs: int, iterations: int) -> float:
    """Part of the doublings found within so many iterations, with one false incident in 10,000."""
    blocks = []
    for seed in range(iterations // 1000):
        source = evidences(variation, correlation, 70_000 + seed, math.inf)
        blocks.append(max(next(source) for _ in range(1000)))
    bar = sorted(blocks)[int(0.9 * len(blocks))]  # one in 10,000 iterations is one in ten blocks of 1000
    hits = 0
    for seed in range(runs):
        source = evidences(variation, correlation, 90_000 + seed, 100)
        values = [next(source) for _ in range(99 + within)]
        hits += max(values[99:]) > bar
    return hits / runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--iterations", type=int, default=100_000, help="for the false incidents, by cell")
    parser.add_argument("--runs", type=int, default=200, help="with a doubling, by cell")
    parser.add_argument("--losses", type=int, default=1, help="independent losses that double together")
    args = parser.parse_args()
    rows = []
    print("variation  correlation  false in 10,000   found within 30   within 100   possible within 30   within 100")
    for variation in VARIATIONS:
        for correlation in CORRELATIONS:
            began = time.monotonic()
            waits = delays(variation, correlation, args.runs, args.losses)
            row = {
                "variation": variation,
                "correlation": correlation,
                "losses": args.losses,
                "false": false_incidents(variation, correlation, args.iterations, args.losses),
                "found_30": sum(wait <= 30 for wait in waits) / args.runs,
                "found_100": sum(wait <= 100 for wait in waits) / args.runs,
            }
            if args.losses == 1:
                row |= {
                    f"possible_{within}": possible(variation, correlation, within, args.runs, args.iterations)
                    for within in (30, 100)
                }
            rows.append(row)
            limits = "".join(f"{row[key]:>18.3f}" for key in ("possible_30", "possible_100") if key in row)
            print(
                f"{variation:>9}  {correlation:>11}  {row['false']:>15.2f}  {row['found_30']:>16.3f}"
                f"{row['found_100']:>13.3f}{limits}   ({time.monotonic() - began:.0f} s)",
                flush=True,
            )
            if args.json:
                what = {"iterations": args.iterations, "runs": args.runs}
                with atomic_file(args.json) as out:
                    out.write((json.dumps({**what, "rows": rows}, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
