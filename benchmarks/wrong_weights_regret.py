"""What the runs of `wrong_weights.py` say: the regret of each method by intent."""

from __future__ import annotations

import statistics
from typing import Any

INTENTS = {"fidelity": 0.8, "balanced": 0.5, "perceptual": 0.2}
"""w of the utility of each intent; also the names of our wishes."""
TESTS = ("kodak24", "set14")
Run = dict[str, Any]
Ranges = dict[str, dict[str, float]]


class Grid:
    """The runs of one recipe, and the utility that an intent gives them.

    Seeds of which the grid of constant weights is not whole yet do not count.
    """

    def __init__(self, runs: list[Run], recipe: str):
        self.runs = [run for run in runs if run["recipe"] == recipe]
        settings = {run["setting"] for run in self.runs if run["method"] == "constant"}
        self.seeds = [
            seed
            for seed in sorted({run["seed"] for run in self.runs})
            if {run["setting"] for run in self.runs if (run["method"], run["seed"]) == ("constant", seed)} == settings
        ]
        self.runs = [run for run in self.runs if run["seed"] in self.seeds]
        constant = [run for run in self.runs if run["method"] == "constant"]
        self.settings = list(dict.fromkeys(run["setting"] for run in constant))
        self.ranges = ranges(constant)

    def utility(self, run: Run, weight: float) -> float:
        return utility(run, weight, self.ranges)

    def of(self, method: str, seed: int | None = None) -> list[Run]:
        """The runs of a method; of one with rates those of the chosen one."""
        rate = chosen_rate(self.runs, self.runs[0]["recipe"], method) if self.runs else None
        return [
            run for run in self.runs if run["method"] == method and run["rate"] == rate and seed in (None, run["seed"])
        ]

    def tuned(self, weight: float) -> tuple[str, float, float]:
        """The weighting with the best mean utility; the range of the grid, and of the best over the seeds."""
        own = {
            setting: [self.utility(run, weight) for run in self.of("constant") if run["setting"] == setting]
            for setting in self.settings
        }
        means = {setting: statistics.fmean(values) for setting, values in own.items()}
        best = max(means, key=lambda setting: means[setting])
        return best, spread(list(means.values())), spread(own[best])

    def regrets(self, method: str, weight: float) -> dict[str, list[float]]:
        """By weighting, the regret of each run of a method."""
        found: dict[str, list[float]] = {}
        for run in self.of(method):
            found.setdefault(run["setting"], []).append(self.regret(run, weight))
        return found

    def regret(self, run: Run, weight: float) -> float:
        """Utility of the tuned constant weights of the same seed minus that of a run, over the range."""
        best, whole, _ = self.tuned(weight)
        (reference,) = (self.utility(one, weight) for one in self.of("constant", run["seed"]) if one["setting"] == best)
        return (reference - self.utility(run, weight)) / whole


KEYS = ("psnr", "st_lpips")


def ranges(runs: list[Run]) -> Ranges:
    """By test set and measure, the range of the means over seeds of the weightings of these runs."""

    def mean(setting: str, test: str, key: str) -> float:
        return statistics.fmean(run[test][key] for run in runs if run["setting"] == setting)

    settings = {run["setting"] for run in runs}
    return {test: {key: spread([mean(one, test, key) for one in settings]) for key in KEYS} for test in TESTS}


def utility(run: Run, weight: float, units: Ranges) -> float:
    """w PSNR - (1 - w) ST-LPIPS in units of their ranges over constant weights, mean of the test sets."""
    return statistics.fmean(
        weight * run[test]["psnr"] / units[test]["psnr"]
        - (1 - weight) * run[test]["st_lpips"] / units[test]["st_lpips"]
        for test in TESTS
    )


def spread(values: list[float]) -> float:
    return max(values) - min(values) if len(values) > 1 else 1.0


def chosen_rate(runs: list[Run], recipe: str, method: str) -> float | None:
    """The rate of a method's own weights with the best balanced utility where it was searched; None without rates."""
    rates = {run["rate"] for run in runs if (run["recipe"], run["method"]) == (recipe, method)} - {None}
    if not rates:
        return None
    units = ranges([run for run in runs if (run["recipe"], run["method"]) == (recipe, "constant")])
    shared = [
        {run["setting"] for run in runs if (run["method"], run["rate"], run["seed"]) == (method, rate, 0)}
        for rate in rates
    ]
    settings = set.intersection(*shared)

    def score(rate: float) -> float:
        own = [
            utility(run, INTENTS["balanced"], units)
            for run in runs
            if (run["recipe"], run["method"], run["rate"], run["seed"]) == (recipe, method, rate, 0)
            and run["setting"] in settings
        ]
        return statistics.fmean(own) if own else float("-inf")

    return max(sorted(rates), key=score)


def print_tables(runs: list[Run]) -> None:
    for recipe in dict.fromkeys(run["recipe"] for run in runs):
        grid = Grid(runs, recipe)
        if grid.settings:
            print_recipe(grid, recipe)
    print_shares(runs)


def print_shares(runs: list[Run]) -> None:
    """The regret of exact shares beside the constant weights of `main`, seed 0."""
    main, own = Grid(runs, "main"), [run for run in runs if run["recipe"] == "shares"]
    if not own or not main.seeds:
        return
    print("\nexact shares of L1, LPIPS and GAN: PSNR / ST-LPIPS / NIQE on Kodak, and regret by intent")
    for run in own:
        kodak = run["kodak24"]
        row = f"{run['setting']:<16}{kodak['psnr']:>6.2f} /{kodak['st_lpips']:>6.4f} /{kodak['niqe']:>4.1f}"
        for weight in INTENTS.values():
            row += f"{main.regret(run, weight):>8.2f}"
        print(row)


def print_recipe(grid: Grid, recipe: str) -> None:
    methods = list(dict.fromkeys(run["method"] for run in grid.runs))
    print(f"\n{recipe}: PSNR / ST-LPIPS / NIQE on Kodak, mean over seeds")
    print(f"{'weights':<24}" + "".join(f"{method:>22}" for method in methods))
    for setting in grid.settings:
        row = f"{setting:<24}"
        for method in methods:
            own = [run["kodak24"] for run in grid.of(method) if run["setting"] == setting]
            cells = [statistics.fmean(scores[key] for scores in own) for key in (*KEYS, "niqe") if own]
            row += f"{cells[0]:>9.2f} /{cells[1]:>6.4f} /{cells[2]:>4.1f}" if cells else " " * 22
        print(row)
    if len(grid.settings) < 2:
        return
    print(
        f"\n{recipe}: regret over the range of constant weights: mean (worst) of wrong weightings, and at the tuned one"
    )
    for intent, weight in INTENTS.items():
        best, whole, noise = grid.tuned(weight)
        seeds = f", its seeds differ by {noise / whole:.2f}" if len(grid.seeds) > 1 else ", one seed"
        print(f"{intent} (w = {weight:g}): tuned is '{best}'{seeds}")
        for method in methods:
            regrets = {setting: statistics.fmean(values) for setting, values in grid.regrets(method, weight).items()}
            wrong = [value for setting, value in regrets.items() if setting != best]
            at_best = f"{regrets[best]:>8.2f}" if best in regrets else f"{'':>8}"
            if wrong:
                mean, worst = statistics.fmean(wrong), max(wrong)
                print(f"  {method:<14}{mean:>7.2f} ({worst:.2f}){at_best}   {len(wrong)} weightings")


if __name__ == "__main__":
    raise SystemExit("run wrong_weights.py")
