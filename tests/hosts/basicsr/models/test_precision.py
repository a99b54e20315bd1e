"""Mixed precision, clipping, memory layout and compilation: the same training, computed otherwise."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_parts import ADVERSARIAL, batches, build, flat, options_of, train

from paragon_plugin.errors import OptionError
from paragon_plugin.hosts.basicsr.options import step as step_options


@pytest.fixture(autouse=True)
def _host(host: None) -> None:
    pass


RECIPE: dict[str, Any] = {
    "train__losses": [{"type": "L1Loss"}, {"type": "FFTLoss", "loss_weight": 1.0}],
    "train__dynamic_loss_scheduling__baseline_iterations": 6,
    "train__total_iter": 400,
}


@pytest.fixture
def _fp16_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch computes float16 on a CPU as well, slowly; users are refused it, tests are not."""
    from paragon_plugin.hosts.basicsr.models import paragon_sr_model

    parse = step_options.parse_step_options
    monkeypatch.setattr(paragon_sr_model, "parse_step_options", lambda options, **_: parse(options, gpu=True))


def calibrations(model: Any) -> dict[str, float]:
    return {name: state.calibration for name, state in model.losses.balance.scheduler.states.items()}


@pytest.mark.usefixtures("_fp16_anywhere")
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_decisions_are_those_of_float32(short_options: Callable[..., Path], tmp_path: Path, precision: str) -> None:
    data = batches(30)
    models = []
    for amp in (False, precision):
        model = build(options_of(short_options(**RECIPE, use_amp=amp), tmp_path))
        train(model, data)
        models.append(model)
    exact, half = models
    assert abs(calibrations(exact)["l1_loss"] - 1) > 0.5  # there was something to decide
    for name, value in calibrations(exact).items():
        assert calibrations(half)[name] == pytest.approx(value, rel=0.05)
    for name, share in exact.losses.balance.last_step.shares.items():
        assert half.losses.balance.last_step.shares[name] == pytest.approx(share, rel=0.1)
    assert exact.losses.balance.scheduler.states["l1_loss"].calibrated_at == 6
    assert half.losses.balance.scheduler.states["l1_loss"].calibrated_at == 6
    assert not torch.equal(flat(exact), flat(half))  # it was computed otherwise
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    seen = []
    half.net_g.register_forward_hook(lambda *_: seen.append(torch.get_autocast_dtype("cpu")))
    train(half, data[:1], first=31)
    assert seen == [kind]


@pytest.mark.usefixtures("_fp16_anywhere")
@pytest.mark.parametrize("fused", [False, True])
def test_overflow_leaves_the_step_out_whole(short_options: Callable[..., Path], tmp_path: Path, fused: bool) -> None:
    """A fused optimizer is called on an overflow as well, and leaves the step out by itself."""
    optimizer = {"type": "Adam", "lr": 2e-3, "fused": fused}
    model = build(options_of(short_options(**RECIPE, use_amp="fp16", train__optim_g=optimizer), tmp_path))
    data = batches(12)
    train(model, data[:8])
    weights, averaged = flat(model), flat(model, "net_g_ema")
    state, log = model.losses.state_dict(), (tmp_path / "experiments/short/loss_schedule.jsonl").read_text()
    model.step_g.scaler.update(2.0**60)
    train(model, data[8:9], first=9)
    assert torch.equal(weights, flat(model))
    assert torch.equal(averaged, flat(model, "net_g_ema"))
    assert model.losses.state_dict() == state
    assert (tmp_path / "experiments/short/loss_schedule.jsonl").read_text() == log
    assert model.step_g.scaler.get_scale() == 2.0**59
    model.step_g.scaler.update(2.0**10)
    train(model, data[9:10], first=10)
    assert not torch.equal(weights, flat(model))
    assert model.losses.state_dict() != state


@pytest.mark.usefixtures("_fp16_anywhere")
def test_overflow_for_good_stops_the_run(short_options: Callable[..., Path], tmp_path: Path) -> None:
    """A gradient that stays infinite at any loss scale is no overflow; the run must not go on skipping for ever."""
    from paragon_plugin.scheduling import NonFiniteLossError

    model = build(options_of(short_options(**RECIPE, use_amp="fp16"), tmp_path))
    train(model, batches(2))
    parameter = next(p for p in model.net_g.parameters() if p.requires_grad)
    parameter.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(NonFiniteLossError, match="the gradient of the network gave NaN or infinity"):
        train(model, batches(2) * 40, first=3)


@pytest.mark.usefixtures("_fp16_anywhere")
def test_the_loss_scale_is_saved_and_resumed(short_options: Callable[..., Path], tmp_path: Path) -> None:
    model = build(options_of(short_options(**RECIPE, use_amp="fp16"), tmp_path))
    train(model, batches(3))
    model.step_g.scaler.update(123.0)
    for folder in ("models", "training_states"):
        Path(model.opt["path"][folder]).mkdir(parents=True, exist_ok=True)
    model.save(0, 3)
    state = torch.load(tmp_path / "experiments/short/training_states/3.state", weights_only=True)
    other = build(options_of(short_options(**RECIPE, use_amp="fp16"), tmp_path))
    other.resume_training(state)
    assert other.step_g.scaler.get_scale() == 123.0
    assert other.losses.state_dict() == model.losses.state_dict()


@pytest.mark.parametrize("amp", [False, "bf16"])
def test_an_adversarial_run_in_any_precision(short_options: Callable[..., Path], tmp_path: Path, amp: Any) -> None:
    file = short_options(**{**ADVERSARIAL, "use_amp": amp, "train__grad_clip": 1.0})
    model = build(options_of(file, tmp_path), "ParagonGANModel")
    before = flat(model), flat(model, "net_d")
    train(model, batches(4))
    assert torch.isfinite(flat(model)).all()
    assert not torch.equal(before[0], flat(model))
    assert not torch.equal(before[1], flat(model, "net_d"))
    assert set(model.get_current_log()) >= {"l_gan_loss", "loss_shares/gan_loss", "l_d_real", "out_d_fake"}


def test_clipping_bounds_the_norm(short_options: Callable[..., Path], tmp_path: Path) -> None:
    norms = []
    for clip in (False, 1e-4):
        model = build(options_of(short_options(train__grad_clip=clip), tmp_path))
        seen: list[float] = []

        def look(*_: Any, model: Any = model, seen: list[float] = seen) -> None:
            seen.append(float(torch.cat([p.grad.flatten() for p in model.net_g.parameters()]).norm()))

        model.optimizer_g.register_step_pre_hook(look)
        train(model, batches(3))
        norms.append(seen)
    assert min(norms[0]) > 2e-4
    assert max(norms[1]) == pytest.approx(1e-4, rel=1e-3)


def test_channels_last_computes_the_same(short_options: Callable[..., Path], tmp_path: Path) -> None:
    # Plain steps: Adam divides by the size of a gradient, rounding included.
    plain, last = (
        build(options_of(short_options(use_channels_last=switch, train__optim_g={"type": "SGD", "lr": 0.01}), tmp_path))
        for switch in (False, True)
    )
    layouts = []
    last.net_g.register_forward_pre_hook(
        lambda _, args: layouts.append(args[0].is_contiguous(memory_format=torch.channels_last))
    )
    for model in (plain, last):
        train(model, batches(5))
    assert layouts == [True] * 5
    assert any(
        p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous() for p in last.net_g.parameters()
    )
    assert torch.allclose(flat(plain), flat(last), atol=1e-6)


@pytest.mark.slow
def test_compilation_computes_the_same(short_options: Callable[..., Path], tmp_path: Path) -> None:
    plain, compiled = (
        build(options_of(short_options(use_compile=switch, train__optim_g={"type": "SGD", "lr": 0.01}), tmp_path))
        for switch in (False, True)
    )
    for model in (plain, compiled):
        train(model, batches(4))
    assert list(plain.net_g.state_dict()) == list(compiled.net_g.state_dict())
    assert torch.allclose(flat(plain), flat(compiled), atol=1e-5)
    compiled.feed_data({"lq": torch.rand(1, 3, 19, 23)})
    compiled.test()
    assert compiled.output.shape == (1, 3, 38, 46)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_amp": True}, "use_amp: fp16 needs a GPU"),
        ({"use_amp": "fp16"}, "use_amp: fp16 needs a GPU"),
        ({"use_amp": "half"}, "must be true, false, bf16 or fp16, is 'half'"),
        ({"datasets": {"train": {"accum_iter": 0}}}, "datasets.train.accum_iter: must be a whole number"),
        ({"train": {"grad_clip": -1}}, "train.grad_clip: must be a norm above 0"),
        ({"use_compile": "yes"}, "use_compile: must be true or false"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        step_options.parse_step_options(options, gpu=False)


def test_the_forks_spellings() -> None:
    parse = step_options.parse_step_options
    assert parse({"use_amp": True}, gpu=True).precision == "fp16"
    assert parse({"use_amp": True, "amp_bf16": True}, gpu=False).precision == "bf16"
    assert parse({"amp_bf16": True}, gpu=False).precision == "float32"
    assert parse({"train": {"grad_clip": True}}, gpu=False).grad_clip == 1.0
    assert parse({}, gpu=True) == step_options.StepOptions()
