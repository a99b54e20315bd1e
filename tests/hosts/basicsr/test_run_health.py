"""Checkpoints of a run in trouble, weights that are not what they should be, runs that go on as something else."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_parts import ADVERSARIAL, batches, build, flat, options_of

from paragon_plugin.errors import OptionError
from paragon_plugin.scheduling import NonFiniteLossError

pytestmark = pytest.mark.usefixtures("host")

Run = Callable[..., Any]
Options = Callable[..., Path]


def ruined_after(iterations: int) -> dict[str, Any]:
    """A learning rate that ruins the weights after so many iterations. Before the start nothing shows it."""
    schedule = {"type": "CosineAnnealingRestartLR", "periods": [iterations, 100], "restart_weights": [1, 1e12]}
    return {"train__scheduler": schedule, "train__ema_decay": 0, "logger__keep_last": 2}


def states(tmp_path: Path, name: str = "short") -> list[int]:
    return sorted(int(path.stem) for path in (tmp_path / "experiments" / name / "training_states").glob("*.state"))


def test_a_diverging_run_keeps_and_names_its_last_healthy_checkpoint(train_here: Run, tmp_path: Path) -> None:
    train_here(train__ema_decay=0)
    with pytest.raises(NonFiniteLossError) as stopped:
        train_here("--auto_resume", train__total_iter=60, **ruined_after(4))
    assert f"The last healthy checkpoint is {tmp_path}/experiments/short/training_states/4.state" in str(stopped.value)
    assert states(tmp_path) == [4, 12, 14]  # the two last, and the healthy one
    networks = {path.name for path in (tmp_path / "experiments/short/models").iterdir()}
    assert "net_g_4.pth" in networks
    # And that is where it goes on from, at the rate that the file has now.
    assert train_here("--auto_resume", train__total_iter=8, train__ema_decay=0, logger__keep_last=2).iteration == 8
    assert states(tmp_path) == [6, 8]
    assert math.isfinite(torch.load(tmp_path / "experiments/short/training_states/8.state")["log"]["l_l1_loss"])


def test_a_run_that_never_was_healthy_is_told_to_start_afresh(train_here: Run, tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLossError, match=r"No checkpoint is healthy: all up to .*12\.state"):
        train_here(train__total_iter=60, logger__save_checkpoint_freq=4, **ruined_after(2))
    assert states(tmp_path) == [8, 12]


def test_without_scheduling_a_checkpoint_knows_it_as_well(train_here: Run, records: Callable[[], Any]) -> None:
    train_here(train__dynamic_loss_scheduling__enabled=False, **ruined_after(2))
    warned = [line["text"] for line in records() if line["kind"] == "warning"]
    assert any("Iteration 4: the run is in trouble, " in text for text in warned)


def test_initial_weights_are_not_needed_to_go_on(train_here: Run, short_options: Options, tmp_path: Path) -> None:
    weights = tmp_path / "pretrained.pth"
    net = build(options_of(short_options(), tmp_path)).net_g
    torch.save({"params": net.state_dict()}, weights)
    train_here(path__pretrain_network_g=str(weights))
    weights.unlink()
    assert train_here("--auto_resume", path__pretrain_network_g=str(weights), train__total_iter=6).iteration == 6
    with pytest.raises(OptionError, match=r"^path\.pretrain_network_g: .*pretrained\.pth does not exist"):
        train_here(path__pretrain_network_g=str(weights))


def with_nan(weights: dict[str, torch.Tensor]) -> dict[str, Any]:
    weights["conv_out.bias"][1] = math.nan
    return {"params": weights}


def average_with_infinity(weights: dict[str, torch.Tensor]) -> dict[str, Any]:
    average = {name: value.clone() for name, value in weights.items()}
    average["conv_in.weight"][0] = math.inf
    return {"params": weights, "params_ema": average}


def of_another_network(_: dict[str, torch.Tensor]) -> dict[str, Any]:
    return {"params": torch.nn.Conv2d(3, 64, 3).state_dict()}


def without_a_weight(weights: dict[str, torch.Tensor]) -> dict[str, Any]:
    del weights["conv_out.bias"]
    return {"params": weights}


@pytest.mark.parametrize(
    ("made", "changes", "words"),
    [
        (with_nan, {}, "holds NaN or infinity (conv_out.bias)"),
        (average_with_infinity, {}, "holds NaN or infinity (conv_in.weight)"),
        (None, {"network_g__type": "paragonsr2_micro"}, "is paragonsr2_nano x2; network_g is paragonsr2_micro x2"),
        (None, {"scale": 4}, "is paragonsr2_nano x2; network_g is paragonsr2_nano x4"),
        (of_another_network, {}, "does not fit, network_g is paragonsr2_nano x2: lacks "),
        (of_another_network, {"path__strict_load_g": False}, "does not fit, network_g is paragonsr2_nano x2: lacks "),
        (without_a_weight, {}, "lacks conv_out.bias"),
    ],
)
def test_weights_are_refused_by_what_they_are(
    train_here: Run,
    checked: Callable[[Path], Any],
    short_options: Options,
    tmp_path: Path,
    made: Any,
    changes: dict[str, Any],
    words: str,
) -> None:
    file = tmp_path / "q.pth"
    weights = build(options_of(short_options(), tmp_path)).net_g.state_dict()
    torch.save(made(weights) if made else {"params": weights}, file)
    options = {"path__pretrain_network_g": str(file), **changes}
    with pytest.raises(OptionError) as refusal:
        train_here(**options)
    assert str(refusal.value).startswith(f"path.pretrain_network_g: {file} ")
    assert words in str(refusal.value)
    status, lines = checked(tmp_path / "short.yml")
    assert status == 2
    assert f"error: {refusal.value}" in lines
    assert not (tmp_path / "experiments").exists()


def test_a_run_goes_on_from_another_runs_state(train_here: Run, tmp_path: Path) -> None:
    train_here()
    state = tmp_path / "experiments/short/training_states/4.state"
    result = train_here(name="other", path__resume_state=str(state), train__total_iter=6)
    assert result.iteration == 6
    assert states(tmp_path, "other") == [6]
    (tmp_path / "experiments/short/models/net_g_4.pth").unlink()
    searched = f"looked in {tmp_path}/experiments/short/models, "
    with pytest.raises(OptionError, match=r"^path\.resume_state: .*net_g_4\.pth does not exist") as refusal:
        train_here(name="third", path__resume_state=str(state), train__total_iter=6)
    assert searched in str(refusal.value)
    assert not (tmp_path / "experiments/third").exists()


@pytest.mark.parametrize("adversarial_first", [False, True])
def test_a_run_does_not_become_one_of_another_kind(train_here: Run, tmp_path: Path, adversarial_first: bool) -> None:
    plain: dict[str, Any] = {}
    first, second = (ADVERSARIAL, plain) if adversarial_first else (plain, ADVERSARIAL)
    train_here(**first)
    before = sorted(tmp_path.glob("experiments/**/*"))
    words = "saved with a discriminator" if adversarial_first else "saved without a discriminator"
    with pytest.raises(
        OptionError, match=rf"^network_d: .*4\.state was {words}.*; give this run another name"
    ) as error:
        train_here("--auto_resume", train__total_iter=6, **second)
    assert f"path.pretrain_network_g: {tmp_path}/experiments/short/models/net_g_4.pth" in str(error.value)
    assert sorted(tmp_path.glob("experiments/**/*")) == before


def test_another_network_under_the_same_name_is_named(train_here: Run) -> None:
    train_here()
    with pytest.raises(OptionError, match=r"^network_g: .*net_g_4\.pth is paragonsr2_nano x2; .* paragonsr2_micro x2$"):
        train_here("--auto_resume", train__total_iter=6, network_g__type="paragonsr2_micro")


def test_a_batch_with_nan_leaves_the_discriminator_as_it_is(short_options: Options, tmp_path: Path) -> None:
    """Before the generator's turn, when nobody else looks at a loss; weights and running averages."""
    critic = {"type": "VGGStyleDiscriminator", "num_in_ch": 3, "num_feat": 4, "input_size": 128}
    file = short_options(**{**ADVERSARIAL, "network_d": critic, "train__net_d_init_iters": 100})
    model = build(options_of(file, tmp_path), "ParagonGANModel")
    good = {key: value.repeat(1, 1, 4, 4) for key, value in batches(1)[0].items()}
    bad = {key: value.clone() for key, value in good.items()}
    bad["gt"][0, 0, 0, 0] = math.nan

    def step(batch: dict[str, torch.Tensor], iteration: int) -> None:
        model.feed_data(batch)
        model.optimize_parameters(iteration)

    step(good, 1)
    before = flat(model, "net_d")
    step(bad, 2)
    assert torch.equal(before, flat(model, "net_d"))
    assert "l_d_real is nan" in model.trouble()
    step(good, 3)
    assert not torch.equal(before, flat(model, "net_d"))
    assert torch.isfinite(flat(model, "net_d")).all()
    assert model.trouble() == ""
    for iteration in range(4, 13):
        step(bad, iteration)
    with pytest.raises(NonFiniteLossError, match=r"^l_d_real gave NaN or infinity for 10 steps in a row"):
        step(bad, 13)
    assert torch.isfinite(flat(model, "net_d")).all()
