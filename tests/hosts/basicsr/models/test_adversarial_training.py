"""A generator and a discriminator against each other on real photographs, under the scheduler."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_parts import ADVERSARIAL, batches, build, flat, options_of, train

from paragon_plugin.scheduling.roles import TYPICAL_SHARES


@pytest.fixture(autouse=True)
def _host(host: None) -> None:
    pass


@pytest.mark.parametrize("model_type", ["ParagonGANModel", pytest.param("ParagonESRGANModel", marks=pytest.mark.slow)])
def test_both_learn_and_the_adversarial_share_is_under_its_ceiling(
    short_options: Callable[..., Path], tmp_path: Path, model_type: str
) -> None:
    file = short_options(
        **{
            **ADVERSARIAL,
            "train__gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 1.0},
            "train__losses": [{"type": "FFTLoss", "loss_weight": 0.05}],
            "train__total_iter": 300,
            "train__optim_d__lr": 2e-4,
        }
    )
    model = build(options_of(file, tmp_path), model_type)
    data = batches(300)
    logs: list[dict[str, float]] = []
    ceiling = TYPICAL_SHARES["balanced"]["adversarial"]
    for iteration, batch in enumerate(data, start=1):
        model.feed_data(batch)
        model.optimize_parameters(iteration)
        logs.append(model.get_current_log())
        assert logs[-1]["loss_shares/gan_loss"] <= ceiling + 1e-6
    assert model.losses.balance.scheduler.states["gan_loss"].calibrated_at is None
    assert torch.isfinite(flat(model)).all()
    assert torch.isfinite(flat(model, "net_d")).all()

    def mean(name: str, part: slice) -> float:
        return sum(log[name] for log in logs[part]) / len(logs[part])

    first, last = slice(0, 30), slice(-30, None)
    assert mean("l_l1_loss", last) < 0.95 * mean("l_l1_loss", first)  # the generator learns
    # The discriminator learns: after the first steps it tells the two apart. How well it does at a given moment is
    # a matter of the game, and of rounding.
    windows = [slice(i, i + 30) for i in range(0, 300, 30)]
    told_apart = [mean("out_d_real", part) - mean("out_d_fake", part) for part in windows]
    assert max(told_apart[1:]) > 0.002 + abs(told_apart[0])
    assert {"loss_weights/gan_loss", "loss_shares/gan_loss", "l_gan_loss", "l_d_real", "l_d_fake"} <= set(logs[-1])
    decisions = (tmp_path / "experiments/short/loss_schedule.jsonl").read_text()
    assert f"gan_loss would exceed {100 * ceiling:g} % of the update; held there" in decisions
    assert "gan_loss gave" not in decisions


def test_the_discriminator_waits_for_its_loss(short_options: Callable[..., Path], tmp_path: Path) -> None:
    late = {"type": "GANLoss", "gan_type": "vanilla", "start_iter": 4}
    model = build(options_of(short_options(**{**ADVERSARIAL, "train__gan_opt": late}), tmp_path), "ParagonGANModel")
    start = flat(model, "net_d")
    train(model, batches(3))
    assert torch.equal(flat(model, "net_d"), start)
    assert "l_gan_loss" not in model.get_current_log()
    train(model, batches(1), first=4)
    assert not torch.equal(flat(model, "net_d"), start)


def parameters(model: Any, network: str) -> torch.Tensor:
    """Without the buffers: spectral norms move with every pass."""
    return torch.cat([p.detach().flatten() for p in getattr(model, network).parameters()])


def test_a_broken_batch_reaches_neither_network(short_options: Callable[..., Path], tmp_path: Path) -> None:
    model = build(options_of(short_options(**ADVERSARIAL), tmp_path), "ParagonGANModel")
    data = batches(4)
    train(model, data[:3])
    names = ("net_g", "net_d", "net_g_ema")
    before = [parameters(model, name) for name in names]
    data[3]["gt"] = data[3]["gt"] * float("nan")
    train(model, data[3:], first=4)
    for name, value in zip(names, before, strict=True):
        assert torch.equal(parameters(model, name), value), name


def test_interrupted_and_resumed(short_options: Callable[..., Path], tmp_path: Path) -> None:
    """Both networks, both optimizers and the schedule: as without the interruption."""
    file = short_options(**ADVERSARIAL)
    data = batches(12)

    def options() -> dict[str, Any]:
        return options_of(file, tmp_path)

    whole = build(options(), "ParagonGANModel")
    train(whole, data)
    first = build(options(), "ParagonGANModel")
    for folder in ("models", "training_states"):
        Path(first.opt["path"][folder]).mkdir(parents=True, exist_ok=True)
    train(first, data[:5])
    first.save(0, 5)
    resumed = options()
    resumed["path"]["resume_state"] = str(tmp_path / "experiments/short/training_states/5.state")
    from basicsr.train import load_resume_state

    state = load_resume_state(resumed)
    second = build(resumed, "ParagonGANModel")
    second.resume_training(state)
    train(second, data[5:], first=6)
    for name in ("net_g", "net_d", "net_g_ema"):
        assert torch.equal(flat(whole, name), flat(second, name)), name
    assert second.losses.state_dict() == whole.losses.state_dict()


@pytest.mark.parametrize("enabled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_loss_that_is_only_watched_takes_nothing_from_those_that_train(
    short_options: Callable[..., Path], tmp_path: Path, enabled: bool
) -> None:
    """The discriminator's verdict is shared: looked at first by a loss of weight 0, it must keep its graph."""

    def trained(gan: float, *watched: dict[str, Any]) -> torch.Tensor:
        changes = {"train__gan_opt__loss_weight": gan, "train__dynamic_loss_scheduling__enabled": enabled}
        losses = {"train__losses": list(watched)} if watched else {}
        model = build(options_of(short_options(**{**ADVERSARIAL, **losses, **changes}), tmp_path), "ParagonGANModel")
        train(model, batches(3))
        return flat(model)

    as_is = trained(0.1)
    # Not equal: each look at the real images moves the discriminator's spectral norms on.
    moved = (trained(0.1, {"type": "GANFeatureMatchingLoss", "loss_weight": 0}) - as_is).norm()
    assert moved < 0.1 * (trained(1e-9) - as_is).norm()
