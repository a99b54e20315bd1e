"""How `benchmarks/architectures.py` chooses learning rates and says who is ahead: small tables, worked out by hand."""

import copy
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import paragon_plugin

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def architectures() -> ModuleType:
    pytest.importorskip("spandrel")
    paragon_plugin.install()
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("architectures")
    finally:
        sys.path.remove(str(BENCHMARKS))


def entry(network: str, iterations: int, rate: float, psnr: float, seed: int = 0) -> dict[str, Any]:
    measured = {"psnr": psnr, "ssim": 0.9}
    return {
        "network": network,
        "iterations": iterations,
        "seed": seed,
        "rate": rate,
        "set5": measured,
        "set14": measured,
        "held_out_psnr": psnr,
    }


def results(*runs: dict[str, Any], **times: list[float]) -> dict[str, Any]:
    names = {name.replace("_", " "): values for name, values in times.items()}
    return {
        "classical": {"bicubic": {"set14": {"psnr": 30.0}}},
        "runs": list(runs),
        "times_ms": {"eager": names, "onnxruntime": names},
    }


@pytest.mark.parametrize(
    ("tried", "following", "chosen"),
    [
        ({}, 0.002, None),
        ({0.002: 31}, 0.004, None),
        ({0.002: 31, 0.004: 32}, 0.008, None),
        ({0.002: 31, 0.004: 32, 0.008: 31}, None, 0.004),
        ({0.002: 32, 0.004: 31}, 0.001, None),
        ({0.002: 32, 0.004: 31, 0.001: 33}, 0.0005, None),
        ({0.002: 32, 0.004: 31, 0.001: 33, 0.0005: 30}, None, 0.001),
    ],
)
def test_rates_are_searched_until_the_best_has_two_worse_neighbours(
    architectures: ModuleType, tried: dict[float, float], following: float | None, chosen: float | None
) -> None:
    found = results(*(entry("nano", 600, rate, psnr) for rate, psnr in tried.items()))
    assert architectures.next_rate(found, "nano") == following
    assert architectures.chosen_rate(found, "nano") == chosen


SEARCHED = [entry("nano", 600, rate, psnr) for rate, psnr in ((0.002, 31), (0.004, 32), (0.008, 31.5))]


@pytest.mark.parametrize(
    ("long_runs", "rate"),
    [
        ([], 0.004),
        ([(0.004, 33.0)], 0.004),
        ([(0.004, 31.9)], 0.002),  # below what the short budget reached
        ([(0.004, 10.0)], 0.002),  # did not train
        ([(0.004, 10.0), (0.002, 10.0)], 0.001),
        ([(0.004, 10.0), (0.002, 33.0)], 0.002),
    ],
)
def test_a_rate_too_large_for_the_long_budget_is_halved(
    architectures: ModuleType, long_runs: list[tuple[float, float]], rate: float
) -> None:
    found = results(*SEARCHED, *(entry("nano", 2400, r, psnr) for r, psnr in long_runs))
    assert architectures.rate_of_budget(found, "nano", 2400) == rate
    assert architectures.rate_of_budget(found, "nano", 600) == 0.004


def ahead(architectures: ModuleType, found: dict[str, Any]) -> dict[str, Any]:
    (row,) = architectures.nearest_rivals(found, architectures.summarise(found, 600), "eager")
    return row


def test_the_lead_is_over_the_best_trained_rival_in_at_most_the_time(architectures: ModuleType) -> None:
    def rival(name: str, psnr: float) -> list[dict[str, Any]]:
        return [entry(name, 600, rate, psnr - 5 * (rate != 0.004)) for rate in (0.002, 0.004, 0.008)]

    runs = [*SEARCHED, *rival("SRVGG 16x4", 31.7), *rival("SPAN 16", 30.4), *rival("SPAN 28", 33)]
    times = {"nano": [2.0, 2.2], "SRVGG_16x4": [1.9, 2.1], "SPAN_16": [1.0, 1.0], "SPAN_28": [9.0, 9.0]}
    row = ahead(architectures, results(*runs, **times))
    assert row["faster_rivals"] == 1  # SPAN 16 is less than half a decibel above bicubic: it did not train
    assert (row["set14_psnr"]["rival"], row["set14_psnr"]["lead"]) == ("SRVGG 16x4", pytest.approx(0.3))

    slower = copy.deepcopy(times) | {"SRVGG_16x4": [2.1, 2.3]}
    assert ahead(architectures, results(*runs, **slower))["faster_rivals"] == 0


def test_rivals_are_deployed_as_they_were_trained(architectures: ModuleType) -> None:
    """Branches are folded, and the numbers stay."""
    torch.manual_seed(0)
    x = torch.rand(1, 3, 24, 20)
    for name, (_, build) in architectures.RIVALS.items():
        net = build().eval()
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
        with torch.no_grad():
            expected = net(x)
            torch.testing.assert_close(architectures.deployed(net)(x), expected, atol=1e-5, rtol=1e-4, msg=name)
