"""When a run is in trouble: losses that are not finite or have grown, weights with NaN."""

import math
from typing import Any

import pytest
import torch

from paragon_plugin.resilience.health import Health


def told(values: list[float], **options: Any) -> str:
    health = Health(options.get("watched", ["l1"]))
    for value in values:
        health.observe({"l1": torch.tensor(value) if options.get("tensors") else value})
    return health.trouble({})


@pytest.mark.parametrize("tensors", [False, True])
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.5] * 300, ""),
        ([0.5 * 0.98**n for n in range(300)], ""),
        ([0.01] * 50 + [0.5] + [0.01] * 3, ""),  # one strange batch
        ([0.5] * 5 + [0.01] * 50 + [math.nan], "l1 is nan"),
        ([0.5] * 5 + [math.inf], "l1 is inf"),
        ([math.nan] + [0.5] * 30, ""),  # it has recovered
        ([0.1] * 100 + [0.1 * 1.3**n for n in range(60)], "times its lowest value"),
        ([0.1] * 20 + [1e9] * 3, "times its lowest value"),
        ([1e-3] * 20, ""),
        ([0.1, 0.9, 0.8], ""),
        ([0.1, 1e8], "times its lowest value"),
        ([0.1] + [1e8] * 30, "times its lowest value"),
    ],
)
def test_losses_tell_of_trouble(values: list[float], words: str, tensors: bool) -> None:
    found = told(values, tensors=tensors)
    assert words in found
    assert bool(words) == bool(found)


def test_a_loss_that_rises_by_right_is_only_looked_at_for_nan() -> None:
    rising = [0.01] * 30 + [5.0] * 30
    assert told(rising)
    assert not told(rising, watched=[])
    assert told([*rising, math.nan], watched=[])


def test_weights_with_nan_are_trouble() -> None:
    net = torch.nn.Linear(2, 2)
    assert not Health([]).trouble({"net_g": net})
    with torch.no_grad():
        net.bias[1] = math.nan
    assert Health([]).trouble({"net_g": net}) == "net_g holds NaN or infinity (bias)"


def test_weights_that_have_blown_up_are_trouble() -> None:
    """Finite as they are, and before a loss can tell."""
    net = torch.nn.Linear(3, 3)
    health = Health([])
    health.begin({"net_g": net})
    with torch.no_grad():
        net.weight *= 100
        assert not health.trouble({"net_g": net})
        net.weight *= 1e25
    assert health.trouble({"net_g": net}).startswith("the weights of net_g are ")


def test_it_goes_on_from_its_state() -> None:
    values = [0.1] * 15 + [0.1 * 1.4**n for n in range(20)]
    whole = Health(["l1"])
    for value in values:
        whole.observe({"l1": value})
    first = Health(["l1"])
    for value in values[:17]:
        first.observe({"l1": torch.tensor(value, dtype=torch.float64)})
    second = Health(["l1"])
    second.load_state_dict(first.state_dict())
    for value in values[17:]:
        second.observe({"l1": value})
    assert second.state_dict() == whole.state_dict()
    assert second.trouble({}) == whole.trouble({}) != ""
