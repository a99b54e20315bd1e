"""The complexity score on constructed images, worked out by hand."""

import pytest
import torch
from synthetic_runs import new_scheduler, readings

from paragon_plugin.scheduling.complexity import dataset_complexity_score, mean_image_complexity


def _checkerboard(low: float, high: float) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    return torch.where((rows + columns) % 2 == 0, low, high).expand(1, 3, 8, 8)


def _half(low: float, high: float) -> torch.Tensor:
    image = torch.full((1, 1, 8, 8), low)
    image[..., 4:] = high
    return image


IMAGES = {
    # var 0, edges 0, range 0
    "constant": (torch.full((1, 3, 8, 8), 0.6), 0.0),
    # var .25 * 64 * 3 / (64 * 3 - 1) -> 1, edges 10 * (1 + 1) -> 1, range 2 -> 1
    "checkerboard": (_checkerboard(0, 1), 1.0),
    # var .01 * 192 / 191 * 10 = 0.100524, edges 10 * (.2 + .2) -> 1, range 2 * .2 = 0.4
    "faint checkerboard": (_checkerboard(0.4, 0.6), (0.1005236 + 1 + 0.4) / 3),
    # one channel: var .25 * 64 / 63 * 10 -> 1, one of 7 column steps is 1: edges 10 / 7 -> 1, range -> 1
    "half black, half white": (_half(0, 1), 1.0),
    # var .0025 * 64 / 63 * 10 = 0.0253968, edges 10 * .1 / 7 = 0.1428571, range 2 * .1 = 0.2
    "faint half and half": (_half(0.5, 0.6), (0.0253968 + 0.1428571 + 0.2) / 3),
    # 0, 1/70 ... 7/70 across: var of 0..7 is 5.25 * 64 / 63 = 16 / 3, / 4900 * 10 = 0.0108844;
    # edges 10 / 70 = 0.1428571; range 2 * .1 = 0.2
    "gradient": ((torch.arange(8) / 70).expand(1, 1, 8, 8), (0.0108844 + 0.1428571 + 0.2) / 3),
}


@pytest.mark.parametrize("name", IMAGES)
def test_scores_worked_out_by_hand(name: str):
    image, expected = IMAGES[name]
    assert dataset_complexity_score(image).item() == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("name", IMAGES)
def test_the_mean_over_one_image_is_the_score(name: str):
    image, _ = IMAGES[name]
    assert mean_image_complexity(image).item() == pytest.approx(dataset_complexity_score(image).item(), abs=1e-6)


def test_edges_count_in_both_directions():
    image = _half(0.5, 0.6)
    assert dataset_complexity_score(image.mT) == pytest.approx(dataset_complexity_score(image).item())


def test_the_mean_does_not_depend_on_batch_size_and_the_score_does():
    generator = torch.Generator().manual_seed(3)
    spread = torch.rand(12, 1, 1, 1, generator=generator)
    images = spread * torch.rand(12, 3, 16, 16, generator=generator)
    whole = mean_image_complexity(images)
    by_batches = torch.stack([mean_image_complexity(batch) for batch in images.split(4)]).mean()
    one_by_one = torch.stack([dataset_complexity_score(image[None]) for image in images]).mean()
    assert whole.item() == pytest.approx(by_batches.item(), abs=1e-6)
    assert whole.item() == pytest.approx(one_by_one.item(), abs=1e-6)
    flat = torch.cat([IMAGES["constant"][0], torch.zeros(1, 3, 8, 8)])
    assert mean_image_complexity(flat) == 0
    assert dataset_complexity_score(flat) > 0.5  # two flat images of different colours look complex together


@pytest.mark.parametrize(
    ("score", "name"),
    [(0.49, "simple"), (0.5, "moderate"), (0.7, "moderate"), (0.75, "moderate"), (0.76, "complex")],
)
def test_the_class_is_decided_once_from_the_baseline_window(score: float, name: str):
    scheduler = new_scheduler(
        {"l1": "pixel"}, size="nano", auto_calibrate=True, baseline_iterations=20, complexity_cutoffs=[0.5, 0.75]
    )
    steps = []
    for iteration in range(1, 61):
        assert scheduler.wants_complexity == (iteration <= 20)
        steps.append(scheduler.step(iteration, readings({"l1": 1.0}), score if iteration <= 20 else None))
    (decision,) = [d for step in steps for d in step.decisions if d.kind == "dataset"]
    assert decision.iteration == 20
    assert decision.reason.startswith(f"training images score {score:.2f}: a {name} dataset")
    factor = {"simple": 0.95, "moderate": 1.0, "complex": 1.05}[name]
    assert steps[-1].parameters.momentum == pytest.approx(0.85 * 0.9 * factor)
    if name == "simple":
        assert decision.before == pytest.approx({"momentum": 0.765, "adaptation_rate": 0.0105, "max_weight": 2.5})
        assert decision.after == pytest.approx({"momentum": 0.72675, "adaptation_rate": 0.0126, "max_weight": 2.0})


def test_the_class_is_of_the_mean_over_the_window():
    scheduler = new_scheduler({"l1": "pixel"}, auto_calibrate=True, baseline_iterations=10)
    for iteration in range(1, 11):
        scheduler.step(iteration, readings({"l1": 1.0}), 1.0 if iteration <= 3 else 0.1)
    assert scheduler.auto.complexity.mean == pytest.approx(0.37)
    assert scheduler.auto.complexity.decided == "simple"


def test_the_cutoffs_are_options():
    scheduler = new_scheduler(
        {"l1": "pixel"}, auto_calibrate=True, baseline_iterations=1, complexity_cutoffs=[0.2, 0.3]
    )
    scheduler.step(1, readings({"l1": 1.0}), 0.31)
    assert scheduler.auto.complexity.decided == "complex"
