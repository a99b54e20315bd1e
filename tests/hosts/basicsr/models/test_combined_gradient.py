"""The gradient that a scheduled step leaves on the network is that of `sum_i m_i L_i` by plain autograd."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_parts import ADVERSARIAL, PERCEPTUAL, batches, build, options_of, random_vgg, train


@pytest.fixture(autouse=True)
def _host(host: None) -> None:
    pass


GAN_LOSSES = {**ADVERSARIAL, "train__pixel_opt": ...}

RECIPES: dict[str, dict[str, Any]] = {
    "fidelity, one negative": {
        "train__losses": [{"type": "L1Loss"}, {"type": "FFTLoss"}, {"type": "MSELoss", "loss_weight": -0.01}]
    },
    "content and style of one VGG pass": {
        "train__losses": [{"type": "L1Loss"}, {**PERCEPTUAL, "style_weight": 3.0}],
    },
    "adversarial and feature matching of one discriminator pass": {
        **GAN_LOSSES,
        "train__losses": [{"type": "L1Loss"}, {"type": "GANFeatureMatchingLoss", "loss_weight": 0.3}],
    },
    "relativistic": {
        **GAN_LOSSES,
        "model_type": "ParagonESRGANModel",
        "train__losses": [{"type": "L1Loss"}, {"type": "SSIMLoss", "loss_weight": 0.2}],
    },
    "artefacts against the averaged network": {
        **GAN_LOSSES,
        "train__losses": [{"type": "L1Loss"}],
        "train__ldl_opt": {"type": "L1Loss", "loss_weight": 2.0},
    },
    "a weight that ramps up": {
        "train__losses": [{"type": "L1Loss"}, {"type": "MSSSIMLoss", "ramp_iter": 40}],
    },
}


def step_of(options: dict[str, Any], steps: int) -> tuple[Any, list[torch.Tensor], dict[str, float]]:
    """Train some steps; then the gradient of the next one and the factors that it was made with."""
    model = build(options, options["model_type"])
    if hasattr(model, "net_d"):
        model.net_d.eval()  # spectral norms stay, so that the step can be repeated
    train(model, batches(steps))
    held = dict(model.losses.balance.held)
    seen: list[torch.Tensor] = []

    def look(*_: Any) -> None:
        seen.extend(p.grad.clone() for p in model.net_g.parameters())

    before = {name: value.clone() for name, value in model.net_g.state_dict().items()}
    averaged = {name: value.clone() for name, value in model.net_g_ema.state_dict().items()}
    judge = {name: value.clone() for name, value in model.net_d.state_dict().items()} if hasattr(model, "net_d") else {}
    hook = model.optimizer_g.register_step_pre_hook(look)
    train(model, batches(steps + 1)[-1:], first=steps + 1)
    hook.remove()
    model.net_g.load_state_dict(before)
    model.net_g_ema.load_state_dict(averaged)
    if judge:
        model.net_d.load_state_dict(judge)
    factors = dict(model.losses.balance.last_step.factors) if model.losses.balance.decides_first else held
    for loss in model.losses.recipe:
        for term in loss.terms:
            factors[term.name] *= term.ramp(steps + 1)
    return model, seen, factors


def gradient_of_the_sum(model: Any, batch: dict[str, torch.Tensor], factors: dict[str, float]) -> list[torch.Tensor]:
    model.feed_data(batch)
    model.optimizer_g.zero_grad()
    output = model.net_g(model.lq)
    inputs = model.loss_inputs()
    terms = [factors[k] * v for loss in model.losses.recipe for k, v in loss(output, inputs).items()]
    torch.stack(terms).sum().backward()
    return [p.grad for p in model.net_g.parameters()]


def assert_same(mine: list[torch.Tensor], theirs: list[torch.Tensor], tolerance: float = 1e-4) -> None:
    scale = max(float(g.abs().max()) for g in theirs)
    assert scale < float("inf")
    for a, b in zip(mine, theirs, strict=True):
        assert torch.allclose(a, b, rtol=tolerance, atol=tolerance * scale), float((a - b).abs().max())


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_mix_of_losses(
    short_options: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    random_vgg(monkeypatch)
    file = short_options(**{**RECIPES[recipe], "train__dynamic_loss_scheduling__baseline_iterations": 3})
    model, seen, factors = step_of(options_of(file, tmp_path), 14)
    assert any(factor != 1 for factor in factors.values())
    assert_same(seen, gradient_of_the_sum(model, batches(15)[-1], factors))


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_in_parts(short_options: Callable[..., Path], tmp_path: Path, parts: int) -> None:
    """The parts of a batch give the gradient of the whole batch, with one decision for all of them."""
    file = short_options(
        **{
            **GAN_LOSSES,
            "train__losses": [{"type": "L1Loss"}, {"type": "FFTLoss"}],
            "datasets__train__accum_iter": parts,
            "datasets__train__batch_size_per_gpu": 4 // parts,
            "train__dynamic_loss_scheduling__baseline_iterations": 3,
        }
    )
    options = options_of(file, tmp_path)
    assert options["datasets"]["train"]["batch_size_per_gpu"] == 4
    model, seen, factors = step_of(options, 14)
    assert any(factor != 1 for factor in factors.values())
    assert_same(seen, gradient_of_the_sum(model, batches(15)[-1], factors))


def test_accumulation_decides_once_per_step_from_all_parts(short_options: Callable[..., Path], tmp_path: Path) -> None:
    """Readings of a batch in four parts are those of the batch in one."""
    readings = []
    for parts in (1, 4):
        file = short_options(
            datasets__train__accum_iter=parts,
            datasets__train__batch_size_per_gpu=4 // parts,
            train__losses=[{"type": "L1Loss"}, {"type": "MSELoss"}],
        )
        model = build(options_of(file, tmp_path))
        told: list[Any] = []
        step = model.losses.balance.scheduler.step
        model.losses.balance.scheduler.step = lambda i, r, c, step=step, told=told: (
            told.append((i, r, c)),
            step(i, r, c),
        )[1]
        train(model, batches(3))
        assert [i for i, _, _ in told] == [1, 2, 3]
        readings.append(told[0])
    (_, whole, whole_complexity), (_, in_parts, parts_complexity) = readings
    assert parts_complexity == pytest.approx(whole_complexity, rel=1e-5)
    for name, reading in whole.items():
        assert in_parts[name].value == pytest.approx(reading.value, rel=1e-5)
        assert in_parts[name].gradient_norm == pytest.approx(reading.gradient_norm, rel=1e-5)


def test_unscheduled_accumulation_trains_as_the_whole_batch(short_options: Callable[..., Path], tmp_path: Path) -> None:
    nets = []
    for parts in (1, 2):
        file = short_options(
            **{
                **ADVERSARIAL,
                "datasets__train__accum_iter": parts,
                "datasets__train__batch_size_per_gpu": 4 // parts,
                "train__dynamic_loss_scheduling": {"enabled": False},
                "train__optim_g": {"type": "SGD", "lr": 1e-4},
                "train__optim_d": {"type": "SGD", "lr": 1e-4},
                # its spectral norms move with every pass in training, so that parts would differ: evaluation below
                "network_d": {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 8},
            }
        )
        model = build(options_of(file, tmp_path), "ParagonGANModel")
        with torch.no_grad():
            for _ in range(10):  # until the norms are found; divided by random ones its weights can be any size
                model.net_d(torch.zeros(1, 3, 32, 32))
        model.net_d.eval()
        train(model, batches(5))
        nets.append([p.detach().clone() for net in (model.net_g, model.net_d) for p in net.parameters()])
        log = model.get_current_log()
        nets[-1].append(torch.tensor([log[k] for k in ("l_l1_loss", "l_gan_loss", "l_d_real", "out_d_fake")]))
    assert_same(nets[0], nets[1])
