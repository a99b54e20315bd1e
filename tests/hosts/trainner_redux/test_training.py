"""redux's own models train under the scheduler, and as ever without it."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from redux_runs import GAN, Training, difference
from torch import Tensor

Train = Callable[..., Training]

BLOCK = "train__dynamic_loss_scheduling"
OBSERVE = {"enabled": True, "auto_calibrate": True, "observe": True}
FACTOR_FREE = {"enabled": True, "baseline_iterations": 10**6}
"""A window that no run leaves: every factor stays at 1, and what is measured is acted on as ever."""

SMALL = {"type": "compact", "num_feat": 8, "num_conv": 2}
"""One of redux's own networks."""


def losses(**weights: float) -> list[dict[str, Any]]:
    return [{"type": f"{kind}loss", "loss_weight": weight} for kind, weight in weights.items()]


@pytest.mark.parametrize("block", [{"enabled": False}, OBSERVE, FACTOR_FREE], ids=["off", "observe", "factors of 1"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"network_g": SMALL, "train__losses": losses(mse=1.0, mssim=0.3, sobeledge=0.1)},
        {
            **GAN,
            "network_g": SMALL,
            "train__adaptive_d": True,
            "train__grad_clip": True,
            "train__grad_clip_max_norm": 0.1,
        },
        {
            "datasets__train__accum_iter": 2,
            "train__use_moa": True,
            "train__moa_augs": ["none", "mixup"],
            "train__moa_probs": [0.5, 0.5],
        },
    ],
    ids=["nano", "three losses", "adversarial", "accumulation"],
)
def test_weights_are_those_of_plain_redux(train: Train, changes: dict[str, Any], block: dict[str, Any]) -> None:
    if block is FACTOR_FREE and "network_d" in changes:
        pytest.skip("an adversarial loss is limited from its first step")
    plain = train(**changes, **{BLOCK: ...}).steps(20)
    ours = train(**changes, **{BLOCK: block}).steps(20)
    assert difference(plain.weights(), ours.weights()) == 0.0
    assert not hasattr(plain.model, "loss_balance")
    if "network_d" in changes:
        assert difference(plain.model.net_d.state_dict(), ours.model.net_d.state_dict()) == 0.0


def test_gradient_is_that_of_the_weighted_sum(train: Train) -> None:
    training = train(train__losses=losses(l1=1.0, fft=5.0)).steps(40)
    model, batch = training.model, training.batch()
    seen: dict[str, Tensor] = {}
    names = {id(p): name for name, p in model.net_g.named_parameters()}

    def look(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        params = [p for group in optimizer.param_groups for p in group["params"]]
        seen.update({names[id(p)]: p.grad.clone() for p in params if p.grad is not None})

    before = {name: value.clone() for name, value in model.net_g.state_dict().items()}
    model.optimizer_g.register_step_pre_hook(look)
    training.step(batch)
    model.net_g.load_state_dict(before)
    output = model.net_g(batch["lq"])
    weights = training.balance.weights()
    assert weights["l_g_fft"] < 4.0
    # Independent of redux's criteria and of the taps.
    l1 = (output - batch["gt"]).abs().mean()
    spectra = torch.view_as_real(torch.fft.rfft2(output) - torch.fft.rfft2(batch["gt"]))
    fft = model.losses["l_g_fft"](output.detach(), batch["gt"])
    assert torch.isclose(fft, spectra.abs().mean(), rtol=1e-4)
    parameters = dict(model.net_g.named_parameters())
    total = weights["l_g_l1"] * l1 + weights["l_g_fft"] * spectra.abs().mean()
    expected = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    for (name, _), gradient in zip(parameters.items(), expected, strict=True):
        if gradient is not None:
            torch.testing.assert_close(seen[name], gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("wrong", ["l1loss", "fftloss"])
@pytest.mark.parametrize("parts", [1, 2])
def test_weight_that_is_wrong_by_100_is_pulled_back(train: Train, wrong: str, parts: int) -> None:
    recipe = losses(l1=1.0, mssim=0.5, fft=0.05)
    for loss in recipe:
        loss["loss_weight"] *= 100 if loss["type"] == wrong else 1
    training = train(train__losses=recipe, datasets__train__accum_iter=parts).steps(60)
    label = f"l_g_{wrong.removesuffix('loss')}"
    share = training.balance.log()[f"loss_shares/{label}"]
    assert training.balance.step_balance.first_shares[label] > 0.9
    assert share < 0.7
    assert training.balance.iteration == 60


def test_adversarial_weight_that_is_wrong_by_100_is_held(train: Train) -> None:
    recipe = [{**loss, "loss_weight": 10.0} if loss["type"] == "ganloss" else loss for loss in GAN["train__losses"]]
    training = train(**{**GAN, "train__losses": recipe})
    training.step()
    assert training.balance.log()["loss_shares/l_g_gan"] <= 0.1 + 1e-9
    training.steps(39)
    assert training.balance.log()["loss_shares/l_g_gan"] <= 0.1 + 1e-9
    assert training.balance.weights()["l_g_gan"] < 10.0 / 3


def test_negative_weight_keeps_its_target_and_its_size(train: Train) -> None:
    recipe = losses(l1=1.0, charbonnier=-0.5)
    plain = train(train__losses=recipe, **{BLOCK: ...}).steps(5)
    ours = train(train__losses=recipe, **{BLOCK: FACTOR_FREE}).steps(5)
    assert difference(plain.weights(), ours.weights()) == 0.0
    assert ours.balance.weights() == {"l_g_l1": 1.0, "l_g_charbonnier": 0.5}


def test_criterion_that_returns_several_losses_counts_as_one(train: Train) -> None:
    training = train(train__losses=losses(mssim=0.5, hsluv=100.0)).steps(40)
    numbers = training.balance.log()
    assert set(training.balance.weights()) == {"l_g_mssim", "l_g_hsluv"}
    assert training.balance.step_balance.first_shares["l_g_hsluv"] > 0.9 > numbers["loss_shares/l_g_hsluv"]
    parts = sum(float(v) for k, v in training.logged.items() if k.startswith("l_g_hsluv_"))
    lines = [json.loads(line) for line in (training.folder / "run_record.jsonl").read_text().splitlines()]
    recorded = [line["values"] for line in lines if line["kind"] == "scalars"][-1]
    assert recorded["losses/l_l_g_hsluv"] == pytest.approx(parts)


def test_ldl_loss_sees_the_average_of_the_network(train: Train) -> None:
    training = train(train__losses=losses(l1=1.0, ldl=1.0)).steps(15)
    assert training.balance.log()["loss_shares/l_g_ldl"] > 0


def test_manual_weights_take_the_place_of_the_recipe(train: Train) -> None:
    block = {**FACTOR_FREE, "manual_weights": {"l_g_fft": 0.2}}
    manual = train(**{BLOCK: block}).steps(3)
    written = train(train__losses=losses(l1=1.0, fft=0.2), **{BLOCK: ...}).steps(3)
    assert difference(manual.weights(), written.weights()) == 0.0
    assert manual.balance.weights()["l_g_fft"] == 0.2


def test_second_loss_of_a_type_takes_the_place_of_the_first(train: Train) -> None:
    recipe = [*losses(l1=1.0, fft=0.1), *losses(l1=0.5)]
    training = train(train__losses=recipe)
    assert any("2 losses l_g_l1; redux trains with the last" in text for text in training.told)
    assert training.balance.weights()["l_g_l1"] == 0.5


@pytest.mark.parametrize("fused", [False, True])
def test_scaler_and_overflows(train: Train, monkeypatch: pytest.MonkeyPatch, fused: bool) -> None:
    half_precision_on_cpu(monkeypatch, scale=2.0**26)
    optimizer = {"type": "AdamW", "lr": 1e-3, "fused": fused}
    training = train(
        train__losses=losses(l1=1.0, fft=5.0), train__optim_g=optimizer, use_amp=True, use_channels_last=False
    )
    model, untouched, overflows = training.model, [], 0
    for _ in range(60):
        before, scale, step = training.weights(), model.scaler_g.get_scale(), training.balance.iteration
        training.step()
        if model.scaler_g.get_scale() < scale:
            overflows += 1
            untouched.append(difference(before, training.weights()))
        else:
            assert training.balance.iteration == training.iteration > step
    assert overflows >= 3
    assert set(untouched) == {0.0}
    assert training.balance.log()["loss_shares/l_g_fft"] < 0.7
    decided = [json.loads(line) for line in (training.folder / "loss_schedule.jsonl").read_text().splitlines()]
    assert all(line["kind"] != "nonfinite" for line in decided)


def test_nan_that_redux_leaves_out_is_no_step(train: Train) -> None:
    training = train().steps(5)
    broken = training.batch()
    broken["gt"][0, 0, 0, 0] = float("nan")
    before = training.weights()
    training.step(broken)
    assert difference(before, training.weights()) == 0.0
    training.steps(10)
    assert training.balance.iteration == training.iteration == 16


def test_teacher_and_eco(train: Train) -> None:
    teacher = train().steps(2)
    teacher.save()
    weights = teacher.folder / "models" / "net_g_ema_2.pth"
    changes = {
        "network_g_teacher": {"type": "paragonsr2_nano"},
        "path__pretrain_network_g_teacher": str(weights),
        "train__eco": {"enabled": True, "mode": "full"},
    }
    plain = train(**changes, **{BLOCK: ...}).steps(6)
    ours = train(**changes, **{BLOCK: OBSERVE}).steps(6)
    assert difference(plain.weights(), ours.weights()) == 0.0
    assert train(**changes).steps(15).balance.iteration == 15


@pytest.mark.parametrize("optimizer", ["AdamW", "Adan", "AdamWScheduleFree", "AdanScheduleFree"])
def test_resumed_run_goes_on_as_if_it_had_never_stopped(train: Train, optimizer: str) -> None:
    changes = {
        "train__losses": losses(l1=1.0, mssim=0.5, fft=5.0),
        "train__optim_g": {"type": optimizer, "lr": 1e-3},
        "logger__save_checkpoint_format": "safetensors",
    }
    whole = train(**changes).steps(25)
    whole.save()
    batches = [whole.batch() for _ in range(10)]
    saved = whole.folder / "models"
    later = train(
        **changes,
        path__pretrain_network_g=str(saved / "resume_models" / "net_g_25.safetensors"),
        path__pretrain_network_g_ema=str(saved / "net_g_ema_25.safetensors"),
    )
    later.resume(whole.folder / "training_states" / "25.state")
    assert later.balance.weights() == whole.balance.weights()
    for batch in batches:
        whole.step(batch)
        later.step(batch)
    # A schedule-free optimizer averages weights when it saves and takes the average apart again, with rounding.
    tolerance = 1e-5 if "ScheduleFree" in optimizer else 0.0
    assert later.balance.weights() == pytest.approx(whole.balance.weights(), rel=tolerance, abs=0)
    rounding = 1e-7 if tolerance else 0.0  # of an MS-SSIM near 1, whose distance from 1 is the loss
    assert later.balance.log() == pytest.approx(whole.balance.log(), rel=tolerance, abs=rounding)
    assert difference(whole.weights(), later.weights()) <= tolerance


def test_plain_redux_resumes_a_scheduled_run(train: Train) -> None:
    scheduled = train().steps(5)
    scheduled.save()
    plain = train(**{BLOCK: ...}).resume(scheduled.folder / "training_states" / "5.state")
    plain.steps(2)
    plain.save()
    again = train().resume(plain.folder / "training_states" / "7.state")
    assert any("calibration starts afresh" in text for text in again.told)
    again.steps(12)


def test_what_redux_logs_has_factors_and_shares(train: Train) -> None:
    training = train().steps(10)
    assert {"l_g_l1", "l_g_total", "loss_weights/l_g_l1", "loss_shares/l_g_fft"} <= training.logged.keys()
    assert any(text.startswith("Loss scheduling: l_g_l1 (pixel, weight 1)") for text in training.told)


def test_real_esrgan_models_are_tapped_too(redux: Path) -> None:
    from traiNNer.models.realesrgan_model import RealESRGANModel  # pyright: ignore[reportMissingImports]
    from traiNNer.models.realesrgan_paired_model import (  # pyright: ignore[reportMissingImports]
        RealESRGANPairedModel,
    )

    assert redux.is_dir()
    for model in (RealESRGANModel, RealESRGANPairedModel):
        assert not {"init_training_settings", "optimize_parameters"} & vars(model).keys()


def half_precision_on_cpu(monkeypatch: pytest.MonkeyPatch, scale: float) -> None:
    """redux asks for the scaler of CUDA."""
    from torch.amp.grad_scaler import GradScaler
    from traiNNer.models import sr_model  # pyright: ignore[reportMissingImports]

    def scaler(enabled: bool, **_: Any) -> GradScaler:
        return GradScaler("cpu", init_scale=scale, enabled=enabled)

    monkeypatch.setattr(sr_model, "GradScaler", functools.wraps(GradScaler)(scaler))
