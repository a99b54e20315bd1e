"""The learning rate is a function of file and iteration: against closed forms written anew, and the host itself."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from paragon_plugin.hosts.basicsr.options.learning_rate import rate_at

pytestmark = pytest.mark.usefixtures("host")

MULTI: dict[str, Any] = {"milestones": [3, 6, 6], "gamma": 0.5}
RESTARTED = {"milestones": [2, 5, 8], "gamma": 0.5, "restarts": [0, 4], "restart_weights": [1, 0.3]}
COSINE: dict[str, Any] = {"periods": [4, 6, 90], "restart_weights": [1, 0.5, 0.2], "eta_min": 1e-4}
FULL = 1e-2


def in_numpy_words(iteration: int, warm_up: int, kind: str, options: dict[str, Any]) -> float:
    """The definition again, in another form: a product over milestones, a position within a period."""
    if iteration < warm_up:
        return FULL * iteration / warm_up
    done = iteration - 1
    if kind.startswith("Cosine"):
        ends = [sum(options["periods"][: n + 1]) for n in range(len(options["periods"]))]
        n = next(n for n, end in enumerate(ends) if done <= end)
        part = (done - (ends[n] - options["periods"][n])) / options["periods"][n]
        low = options["eta_min"]
        return low + options["restart_weights"][n] * (FULL - low) * math.cos(math.pi * part / 2) ** 2
    restarts = dict(zip(options.get("restarts", [0]), options.get("restart_weights", [1]), strict=True))
    begin = max(r for r in restarts if r <= done)
    return FULL * restarts[begin] * options["gamma"] ** sum(begin < m <= done for m in options["milestones"])


CASES = [("MultiStepLR", MULTI), ("MultiStepRestartLR", RESTARTED), ("CosineAnnealingRestartLR", COSINE)]


@pytest.mark.parametrize("warm_up", [-1, 0, 1, 5, 40])
@pytest.mark.parametrize(("kind", "options"), CASES)
def test_every_iteration_has_the_closed_form(kind: str, options: dict[str, Any], warm_up: int) -> None:
    for iteration in range(1, 13):
        expected = in_numpy_words(iteration, warm_up, kind, options)
        assert rate_at(FULL, iteration, warm_up, kind, options) == pytest.approx(expected, rel=1e-12)


@given(
    milestones=st.lists(st.integers(0, 15), max_size=5),
    restarts=st.lists(st.integers(1, 15), unique=True, max_size=3),
    periods=st.lists(st.integers(1, 15), min_size=1, max_size=4),
)
def test_without_a_warm_up_it_is_the_hosts_to_the_bit(
    milestones: list[int], restarts: list[int], periods: list[int]
) -> None:
    from basicsr.models.lr_scheduler import CosineAnnealingRestartLR, MultiStepRestartLR

    starts = [0, *sorted(restarts)]
    weights = [1.0, 0.3, 0.7, 0.1][: len(starts)]
    multi = {"milestones": milestones, "gamma": 0.3, "restarts": starts, "restart_weights": weights}
    cosine = {"periods": periods, "restart_weights": [1.0, 0.5, 0.25, 2.0][: len(periods)], "eta_min": 1e-7}
    for kind, scheduler, options in (
        ("MultiStepLR", MultiStepRestartLR, multi),
        ("CosineAnnealingRestartLR", CosineAnnealingRestartLR, cosine),
    ):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=FULL)
        host = scheduler(optimizer, **options)
        last = 16 if kind == "MultiStepLR" else sum(periods) + 1
        for iteration in range(1, last + 1):
            assert optimizer.param_groups[0]["lr"] == rate_at(FULL, iteration, -1, kind, options)
            optimizer.step()
            if iteration < last:  # the host fails after its last period
                host.step()


class Stepped:
    """The host's base of all models with two optimizers, trained and resumed as the host does it."""

    def __init__(self, kind: str, options: dict[str, Any], warm_up: int, full: float = FULL):
        from basicsr.models.base_model import BaseModel

        self.model = BaseModel({"num_gpu": 0, "is_train": True, "train": {"scheduler": {"type": kind, **options}}})
        self.model.optimizers = [torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=full) for _ in "gd"]
        self.model.setup_schedulers()
        self.warm_up = warm_up

    def rates(self, first: int, last: int) -> list[float]:
        result = []
        for iteration in range(first, last + 1):
            self.model.update_learning_rate(iteration, self.warm_up)
            assert len({optimizer.param_groups[0]["lr"] for optimizer in self.model.optimizers}) == 1
            result.append(self.model.get_current_learning_rate()[0])
        return result

    def state(self) -> dict[str, Any]:
        return {
            "optimizers": [optimizer.state_dict() for optimizer in self.model.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.model.schedulers],
        }


@pytest.mark.parametrize("warm_up", [-1, 5])
@pytest.mark.parametrize(("kind", "options"), CASES)
def test_resumed_at_every_iteration(kind: str, options: dict[str, Any], warm_up: int) -> None:
    """Also with another file before: its milestones, periods, weights, warm-up and rate are forgotten."""
    others = {"milestones": [1, 9, 100], "gamma": 0.9} if kind.startswith("Multi") else {"periods": [200]}
    expected = [in_numpy_words(i, warm_up, kind, options) for i in range(1, 13)]
    for place in range(1, 12):
        for before in (Stepped(kind, options, warm_up), Stepped(kind, others, 3, full=0.5)):
            before.rates(1, place)
            after = Stepped(kind, options, warm_up)
            after.model.resume_training(before.state())
            assert after.rates(place + 1, 12) == pytest.approx(expected[place:], rel=1e-12), place


def test_a_model_with_schedulers_of_its_own_keeps_them() -> None:
    from basicsr.models.base_model import BaseModel

    model = BaseModel({"num_gpu": 0, "is_train": True, "train": {}})
    model.optimizers = [torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)]
    model.schedulers = [torch.optim.lr_scheduler.StepLR(model.optimizers[0], 1, gamma=0.5)]
    rates = []
    for iteration in (1, 2, 3):
        model.update_learning_rate(iteration)
        model.optimizers[0].step()
        rates.append(model.get_current_learning_rate()[0])
    assert rates == [1.0, 0.5, 0.25]


def test_a_milestone_moved_across_the_place_of_a_resume(
    train_here: Callable[..., Any], records: Callable[[], list[dict[str, Any]]]
) -> None:
    """As in ours: 1e-3 up to the resume at 4, whose milestone moved to 3 counts from the next iteration on."""
    scheduler = {"type": "MultiStepLR", "gamma": 0.5}
    train_here(train__total_iter=4, train__scheduler={**scheduler, "milestones": [16]}, train__optim_g__lr=1e-3)
    changed = {"train__scheduler": {**scheduler, "milestones": [3]}, "train__optim_g__lr": 1e-3}
    train_here("--auto_resume", train__total_iter=6, **changed)
    rates = {line["iteration"]: line["values"]["lr"] for line in records() if line["kind"] == "scalars"}
    assert rates == {1: 1e-3, 2: 1e-3, 3: 1e-3, 4: 1e-3, 5: 5e-4, 6: 5e-4}


def test_the_file_names_what_cannot_act(short_options: Callable[..., Path], checked: Callable[[Path], Any]) -> None:
    file = short_options(
        train__total_iter=20,
        train__warmup_iter=2000,
        train__ema_decay=0.999,
        train__scheduler={"type": "MultiStepLR", "milestones": [12, 250000], "gamma": 0.5},
    )
    status, lines = checked(file)
    assert status == 0
    warned = [line for line in lines if line.startswith("warning")]
    assert len(warned) == 3, lines
    assert any("train.warmup_iter" in line and "full rate is never reached" in line for line in warned)
    assert any("milestones" in line and "250000" in line and "never" in line for line in warned)
    assert any("train.ema_decay" in line and "98 %" in line for line in warned)
    assert any(line.startswith("Learning rate") and "warm-up over 2,000 iterations" in line for line in lines)


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        (
            {"warmup_iter": 10, "scheduler": {"type": "MultiStepLR", "milestones": [4]}},
            "milestones",
            "within the warm-up",
        ),
        (
            {"scheduler": {"type": "CosineAnnealingRestartLR", "periods": [30, 9], "restart_weights": [1, 1]}},
            "periods",
            "begins after",
        ),
        ({"scheduler": {"type": "CosineAnnealingRestartLR", "periods": [250000]}}, "periods", "hardly"),
        (
            {"scheduler": {"type": "MultiStepLR", "milestones": [5], "restarts": [0, 90], "restart_weights": [1, 1]}},
            "restarts",
            "never",
        ),
    ],
)
def test_each_thing_that_cannot_act(
    changes: dict[str, Any], path: str, words: str, short_options: Callable[..., Path], checked: Callable[[Path], Any]
) -> None:
    options = {f"train__{key}": value for key, value in changes.items()}
    _, lines = checked(short_options(**{"train__total_iter": 20, "train__ema_decay": 0.5, **options}))
    (line,) = [line for line in lines if line.startswith("warning")]
    assert path in line
    assert words in line
