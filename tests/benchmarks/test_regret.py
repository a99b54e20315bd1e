"""The regret of `benchmarks/wrong_weights_regret.py`: a small grid, worked out by hand."""

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def benchmark(name: str) -> ModuleType:
    folder = str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)


@pytest.fixture(scope="module")
def regret() -> ModuleType:
    return benchmark("wrong_weights_regret")


def run(setting: str, psnr: float, lpips: float, method: str = "constant", **others: Any) -> dict[str, Any]:
    measured = {"psnr": psnr, "st_lpips": lpips, "niqe": 5.0}
    head = {"recipe": "main", "setting": setting, "method": method, "seed": 0, "rate": None, "incidents": 0}
    return head | {"kodak24": measured, "set14": measured} | others


# Ranges: 2 dB and 0.4. In units of them: a (1, -.25), b (0, 0), c (.75, -1) above (26 dB, -.5).
GRID = [run("a", 28.0, 0.4), run("b", 26.0, 0.3), run("c", 27.5, 0.7)]


@pytest.mark.parametrize(("weight", "tuned"), [(0.8, "a"), (0.5, "a"), (0.1, "b")])
def test_the_tuned_weighting_is_the_best_of_the_constant_ones(regret: ModuleType, weight: float, tuned: str) -> None:
    best, _, seeds = regret.Grid(GRID, "main").tuned(weight)
    assert (best, seeds) == (tuned, 1.0)


def test_regret_is_zero_at_the_tuned_weighting_and_one_at_the_worst(regret: ModuleType) -> None:
    grid = regret.Grid(GRID, "main")
    values = grid.regrets("constant", 0.5)
    # Utilities .5 - .125 = .375, 0 and .375 - .5 = -.125: the range is .5.
    assert {name: pytest.approx(own) for name, own in values.items()} == {"a": [0.0], "b": [0.75], "c": [1.0]}


def test_better_than_every_constant_weighting_is_below_zero(regret: ModuleType) -> None:
    grid = regret.Grid([*GRID, run("c", 28.0, 0.3, "balanced")], "main")
    assert grid.regrets("balanced", 0.5) == {"c": [pytest.approx((0.375 - 0.5) / 0.5)]}


def test_a_seed_whose_grid_is_not_whole_does_not_count(regret: ModuleType) -> None:
    grid = regret.Grid([*GRID, run("a", 20.0, 0.9, seed=1), run("a", 20.0, 0.9, "balanced", seed=1)], "main")
    assert grid.seeds == [0]
    assert grid.regrets("balanced", 0.5) == {}


def test_the_rate_of_a_method_is_chosen_where_all_of_its_rates_ran(regret: ModuleType) -> None:
    runs = [
        *GRID,
        run("b", 27.0, 0.4, "famo", rate=0.1),
        run("b", 27.0, 0.5, "famo", rate=0.2),
        run("c", 29.0, 0.2, "famo", rate=0.2),
    ]
    assert regret.chosen_rate(runs, "main", "famo") == 0.1
    assert regret.chosen_rate(runs, "main", "constant") is None


def test_rates_are_searched_on_the_main_recipe_and_taken_from_it_elsewhere() -> None:
    searched = benchmark("wrong_weights")
    runs = [*GRID, run("b", 27.0, 0.4, "famo", rate=0.025), run("b", 27.0, 0.3, "famo", rate=0.25)]
    wanted = {name: list(searched.wanted_runs([name], 1, runs, ["famo"])) for name in ("main", "swapped")}
    assert {one.rate for one in wanted["swapped"]} == {0.25}
    assert {one.setting for one in wanted["swapped"]} == set(searched.SMALL_GRID)
    assert {one.setting for one in wanted["main"] if one.rate != 0.25} == set(searched.SEARCHED)
    assert {one.rate for one in wanted["main"]} == set(searched.RATES["famo"])
