"""The learnable kernel in training: its own learning rate under every schedule, its resume, its values in the log."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_parts import ADVERSARIAL, batches, build, options_of, train, weights

from paragon_plugin.errors import OptionError
from paragon_plugin.nets.paragonsr2 import build_paragonsr2

KERNEL = {"base.sharp_alpha", "base.sharp_bias", "base.sharp_kernel"}
LEARNABLE: dict[str, Any] = {
    "network_g__use_learnable_magic_kernel": True,
    "train__learnable_kernel_lr_factor": 10.0,
    "train__dynamic_loss_scheduling": {"enabled": False},
}
SCHEDULES: dict[str, dict[str, Any]] = {
    "cosine": {"type": "CosineAnnealingRestartLR", "periods": [6, 6], "restart_weights": [1, 0.5], "eta_min": 1e-4},
    "steps": {"type": "MultiStepLR", "milestones": [4, 8], "gamma": 0.5},
}


@pytest.fixture(autouse=True)
def _host(host: None) -> None:
    pass


@pytest.fixture
def model(short_options: Callable[..., Path], tmp_path: Path) -> Callable[..., Any]:
    """Builds a model with a learnable kernel; keywords as of `short_options`."""

    def make(model_type: str = "ParagonSRModel", **options: Any) -> Any:
        return build(options_of(short_options(**{**LEARNABLE, **options}), tmp_path), model_type)

    return make


def rates(model: Any) -> dict[str, float]:
    """The learning rate of each parameter by name."""
    of = {id(p): group["lr"] for group in model.optimizer_g.param_groups for p in group["params"]}
    return {name: of[id(p)] for name, p in model.get_bare_model(model.net_g).named_parameters()}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warm_up", [-1, 5])
def test_the_ratio_holds_at_every_iteration(model: Callable[..., Any], schedule: str, warm_up: int) -> None:
    made = model(train__scheduler=SCHEDULES[schedule], train__optim_g__lr=1e-3)
    plain = model(train__scheduler=SCHEDULES[schedule], train__optim_g__lr=1e-3, train__learnable_kernel_lr_factor=...)
    seen = set()
    for iteration, batch in enumerate(batches(12), start=1):
        for one in (made, plain):
            one.update_learning_rate(iteration, warmup_iter=warm_up)
            one.feed_data(batch)
            one.optimize_parameters(iteration)
        expected = rates(plain)
        seen.add(expected["conv_in.weight"])
        for name, rate in rates(made).items():
            assert rate == pytest.approx(expected[name] * (10 if name in KERNEL else 1), rel=1e-12), (iteration, name)
    assert len(seen) >= 3  # the schedule did something


def test_the_first_step_is_that_much_longer(model: Callable[..., Any]) -> None:
    """Adam's first step is the learning rate, whatever the gradient."""
    made = model(train__optim_g__lr=1e-4, train__optim_g__weight_decay=0)
    before = weights(made)
    # The kernel has a gradient from the first step on; of the rest only the last convolution has one.
    train(made, batches(1))
    moved = {name: (value - before[name]).abs().max() for name, value in weights(made).items()}
    for name in KERNEL:
        assert float(moved[name]) == pytest.approx(1e-3, rel=0.02), name
    assert float(moved["conv_out.weight"]) == pytest.approx(1e-4, rel=0.02)


@pytest.mark.parametrize("scheduled", [False, True])
def test_interrupted_and_resumed(
    short_options: Callable[..., Path], tmp_path: Path, model: Callable[..., Any], scheduled: bool
) -> None:
    options: dict[str, Any] = {"train__scheduler": SCHEDULES["cosine"]}
    if scheduled:
        options["train__dynamic_loss_scheduling"] = {"enabled": True, "auto_calibrate": True}
    data = batches(12)
    whole = model(**options)
    train(whole, data)
    first = model(**options)
    for folder in ("models", "training_states"):
        Path(first.opt["path"][folder]).mkdir(parents=True, exist_ok=True)
    train(first, data[:5])
    first.save(0, 5)
    resumed = options_of(short_options(**{**LEARNABLE, **options}), tmp_path)
    resumed["path"]["resume_state"] = str(tmp_path / "experiments/short/training_states/5.state")
    resumed["path"]["pretrain_network_g"] = str(tmp_path / "experiments/short/models/net_g_5.pth")
    second = build(resumed)
    second.resume_training(torch.load(resumed["path"]["resume_state"], weights_only=False))
    train(second, data[5:], first=6)
    assert rates(second) == rates(whole)
    for name, value in weights(whole).items():
        assert torch.equal(weights(second)[name], value), name


def test_a_changed_factor_holds_from_the_resume_on(model: Callable[..., Any]) -> None:
    first, second = model(), model(train__learnable_kernel_lr_factor=3)
    train(first, batches(2))
    second.resume_training(state_of(first))
    train(second, batches(1), first=3)
    of = rates(second)
    assert of["base.sharp_alpha"] == pytest.approx(3 * of["conv_in.weight"])


@pytest.mark.parametrize(("before", "after", "words"), [(..., 10.0, "was not set"), (10.0, ..., "was set")])
def test_the_option_cannot_come_or_go_on_resume(model: Callable[..., Any], before: Any, after: Any, words: str) -> None:
    first, second = (model(train__learnable_kernel_lr_factor=value) for value in (before, after))
    with pytest.raises(OptionError, match=rf"train\.learnable_kernel_lr_factor: {words} when the run to resume began"):
        second.resume_training(state_of(first))


def state_of(model: Any) -> dict[str, Any]:
    return {
        "epoch": 0,
        "iter": 2,
        "optimizers": [model.optimizer_g.state_dict()],
        "schedulers": [s.state_dict() for s in model.schedulers],
    }


@pytest.mark.parametrize("value", [0, -1.0, "fast", True, math.inf, math.nan, [10], 1e6])
def test_a_factor_that_cannot_be_is_refused(model: Callable[..., Any], value: Any) -> None:
    with pytest.raises(OptionError, match=r"train\.learnable_kernel_lr_factor: must be a number above 0"):
        model(train__learnable_kernel_lr_factor=value)


def test_a_factor_written_as_yaml_text_counts(model: Callable[..., Any]) -> None:
    of = rates(model(train__learnable_kernel_lr_factor="1e1"))
    assert of["base.sharp_bias"] == pytest.approx(10 * of["conv_in.weight"])


def test_a_network_without_a_learnable_kernel_is_refused(model: Callable[..., Any]) -> None:
    with pytest.raises(OptionError, match="no learnable kernel; write 'use_learnable_magic_kernel: true'"):
        model(network_g__use_learnable_magic_kernel=False)


def test_the_discriminator_is_left_alone(model: Callable[..., Any]) -> None:
    made = model(**ADVERSARIAL)
    assert [len(o.param_groups) for o in made.optimizers] == [2, 1]
    train(made, batches(2))
    of = rates(made)
    assert of["base.sharp_alpha"] == pytest.approx(10 * of["conv_in.weight"])
    assert {"learnable_kernel/alpha", "l_d_real"} <= set(made.get_current_log())


def test_the_log_has_the_values_in_effect() -> None:
    """Read back from what the kernel does to an impulse: at scale 1 its output is the filter itself."""
    from paragon_plugin.hosts.basicsr.models.learnable_kernel_training import kernel_log, learnable_kernel

    net = build_paragonsr2("nano", scale=1, use_learnable_magic_kernel=True)
    kernel = learnable_kernel(net)
    assert kernel is not None
    with torch.no_grad():
        kernel.sharp_alpha.add_(2.0)  # beyond its bound
        kernel.sharp_kernel.add_(torch.tensor([0.01, -0.02, 0.5]))
        kernel.sharp_bias.add_(0.03)
        impulse = torch.zeros(1, 1, 15, 15)
        impulse[0, 0, 7, 7] = 1.0
        filtered = kernel(impulse)[0, 0]
        flat = kernel(torch.zeros(1, 1, 1, 15).index_fill(3, torch.tensor([7]), 1.0))[0, 0, 0]
    log = kernel_log(net)
    assert set(log) == {f"learnable_kernel/{name}" for name in ("alpha", "bias", "tap_0", "tap_1", "tap_2", "tap_3")}
    assert log["learnable_kernel/alpha"] == pytest.approx(1.2 + 0.5 * math.tanh(2.0 / 0.5), abs=1e-6)
    taps = [log[f"learnable_kernel/tap_{i}"] for i in range(4)]
    assert taps == pytest.approx(flat[4:8].tolist(), abs=1e-6)
    # Where only the diagonal term differs from the product of the taps.
    bias = float(filtered[6, 6]) - taps[2] * taps[2]
    assert log["learnable_kernel/bias"] == pytest.approx(bias, abs=1e-6)


def test_values_are_read_only_for_a_log_line(model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from paragon_plugin.hosts.basicsr.models import paragon_sr_model

    calls: list[int] = []
    original = paragon_sr_model.kernel_log
    monkeypatch.setattr(paragon_sr_model, "kernel_log", lambda net: (calls.append(1), original(net))[1])
    made = model()
    train(made, batches(3))
    assert not calls
    first = made.get_current_log()
    assert len(calls) == 1
    train(made, batches(3), first=4)
    later = made.get_current_log()
    assert first["learnable_kernel/alpha"] != later["learnable_kernel/alpha"]


@pytest.mark.slow
def test_tensorboard_shows_them(
    short_options: Callable[..., Path], paragon: Callable[..., Any], tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    file = short_options(**LEARNABLE, train__total_iter=20, logger__use_tb_logger=True, val=...)
    result = paragon("train", "-opt", file)
    assert result.returncode == 0, result.stderr
    events = EventAccumulator(str(tmp_path / "tb_logger" / "short"))
    events.Reload()
    tags = events.Tags()["scalars"]
    for name in ("alpha", "bias", "tap_0", "tap_1", "tap_2", "tap_3"):
        assert f"learnable_kernel/{name}" in tags
    assert [event.step for event in events.Scalars("learnable_kernel/alpha")] == [10, 20]


def test_a_file_with_the_factor_but_no_kernel_is_refused_before_anything_is_written(
    short_options: Callable[..., Path], paragon: Callable[..., Any], tmp_path: Path
) -> None:
    result = paragon("train", "-opt", short_options(train__learnable_kernel_lr_factor=10.0))
    assert result.returncode == 2
    assert "train.learnable_kernel_lr_factor: this network has no learnable kernel" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "experiments").exists()
