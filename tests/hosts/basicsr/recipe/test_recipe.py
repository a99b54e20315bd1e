"""From the `train:` options to named, weighted loss terms."""

from typing import Any

import pytest
import torch
from training_parts import PERCEPTUAL

from paragon_plugin.errors import OptionError


@pytest.fixture(autouse=True)
def _host(host: None) -> None:
    pass


def build(train: dict[str, Any], manual: dict[str, float] | None = None) -> Any:
    from paragon_plugin.hosts.basicsr.recipe.recipe import build_recipe

    return build_recipe(train, manual or {})


def value(loss: Any, y: torch.Tensor, gt: torch.Tensor) -> dict[str, float]:
    from paragon_plugin.hosts.basicsr.recipe.step_inputs import StepInputs

    return {name: float(v) for name, v in loss(y, StepInputs(gt)).items()}


def terms(recipe: Any) -> dict[str, tuple[str, float, int]]:
    return {t.name: (t.role, t.weight, t.start_iter) for loss in recipe for t in loss.terms}


@pytest.mark.parametrize(
    ("loss_type", "name"),
    [
        ("L1Loss", "l1_loss"),
        ("MSELoss", "mse_loss"),
        ("GANLoss", "gan_loss"),
        ("PerceptualLoss", "perceptual_loss"),
        ("WeightedTVLoss", "weighted_tv_loss"),
        ("FFTLoss", "fft_loss"),
        ("CharbonnierLoss", "charbonnier_loss"),
        ("MSSSIMLoss", "msssim_loss"),
    ],
)
def test_names_are_types_in_snake_case(loss_type: str, name: str) -> None:
    from paragon_plugin.hosts.basicsr.recipe.recipe import snake_case

    assert snake_case(loss_type) == name


def test_both_forms_mix() -> None:
    recipe = build(
        {
            "pixel_opt": {"type": "L1Loss", "loss_weight": 0.5, "reduction": "mean"},
            "losses": [{"type": "FFTLoss", "loss_weight": 0.05, "start_iter": 100}, {"type": "MSELoss"}],
        }
    )
    assert terms(recipe) == {
        "l1_loss": ("pixel", 0.5, 0),
        "fft_loss": ("structural", 0.05, 100),
        "mse_loss": ("pixel", 1.0, 0),
    }
    assert [loss.active(99) for loss in recipe] == [True, False, True]
    assert [loss.active(100) for loss in recipe] == [True, True, True]


def test_values_carry_the_weight_and_manual_weights_replace_it() -> None:
    y, gt = torch.full((1, 3, 4, 4), 0.75), torch.full((1, 3, 4, 4), 0.25)
    (loss,) = build({"pixel_opt": {"type": "L1Loss", "loss_weight": 3.0}})
    assert value(loss, y, gt)["l1_loss"] == pytest.approx(1.5)
    (loss,) = build({"pixel_opt": {"type": "L1Loss", "loss_weight": 3.0}}, {"l1_loss": -0.1})
    assert terms([loss])["l1_loss"][1] == -0.1
    assert value(loss, y, gt)["l1_loss"] == pytest.approx(-0.05)


def test_weight_zero_is_logged_at_its_own_value() -> None:
    recipe = build({"losses": [{"type": "L1Loss"}, {"type": "MSELoss", "loss_weight": 0}]})
    y, gt = torch.full((1, 3, 4, 4), 0.75), torch.full((1, 3, 4, 4), 0.25)
    assert [loss.trains for loss in recipe] == [True, False]
    assert value(recipe[1], y, gt)["mse_loss"] == pytest.approx(0.25)


def test_manual_weight_zero_turns_one_half_of_a_vgg_loss_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from basicsr.losses.basic_loss import PerceptualLoss
    from torch import nn

    class Features(nn.Module):  # stands for VGG, whose weights are a download
        def __init__(self, **_: Any):
            super().__init__()

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"conv1": x}

    monkeypatch.setitem(PerceptualLoss.__init__.__globals__, "VGGFeatureExtractor", Features)
    block = {"type": "PerceptualLoss", "layer_weights": {"conv1": 1.0}, "perceptual_weight": 1.0, "style_weight": 2.0}
    y, gt = torch.full((1, 3, 4, 4), 0.75), torch.full((1, 3, 4, 4), 0.25)
    (both,) = build({"perceptual_opt": block})
    assert list(value(both, y, gt)) == ["perceptual_loss", "style_loss"]
    (loss,) = build({"perceptual_opt": block}, {"style_loss": 0})
    assert value(loss, y, gt) == {"perceptual_loss": pytest.approx(0.5)}


def test_total_variation_looks_at_the_output_alone() -> None:
    recipe = build({"losses": [{"type": "WeightedTVLoss", "loss_weight": 2.0}]})
    y = torch.zeros(1, 3, 4, 4)
    y[..., 2:] = 1.0  # one step of 1 in each row of 3 differences: mean |dx| = 1/3
    assert value(recipe[0], y, torch.ones_like(y))["weighted_tv_loss"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({}, "train: no loss"),
        ({"losses": [{"type": "L1Los"}]}, r"train\.losses\[0\]\.type: no loss 'L1Los'; did you mean 'L1Loss'"),
        ({"losses": [{"type": "L1Loss", "loss_wieght": 1}]}, "unknown option of L1Loss; did you mean 'loss_weight'"),
        ({"losses": [{"type": "L1Loss"}, {"type": "L1Loss"}]}, "also the name of .*give one of them a 'name'"),
        ({"losses": {"type": "L1Loss"}}, "must be a list of losses"),
        ({"losses": [3]}, r"train\.losses\[0\]: must be a block"),
        ({"losses": [{"type": "L1Loss", "loss_weight": "heavy"}]}, "must be a finite number, is 'heavy'"),
        ({"losses": [{"type": "L1Loss", "loss_weight": float("nan")}]}, "must be a finite number, is nan"),
        ({"losses": [{"type": "L1Loss", "loss_weight": 0}]}, "every loss has weight 0"),
        ({"losses": [{"type": "L1Loss", "start_iter": -1}]}, "start_iter: must be a whole number"),
        ({"losses": [{"type": "L1Loss", "role": "pxl"}]}, "role: must be one of"),
        ({"losses": [{"type": "L1Loss", "name": "a b"}]}, "name: must be a word"),
        ({"losses": [{"type": "L1Loss", "reduction": "max"}]}, "L1Loss cannot be built: Unsupported reduction"),
        ({"gan_opt": {"type": "GANLoss", "gan_type": "vanilla"}}, "train.gan_opt: GANLoss needs a discriminator"),
        ({"losses": [{"type": "L1Loss", "ramp_iter": "slow"}]}, "ramp_iter: must be a whole number"),
        ({"losses": [{"type": "GANFeatureMatchingLoss"}]}, "GANFeatureMatchingLoss needs a discriminator; use"),
        ({"losses": [{"type": "LDLLoss", "criterion": "l1"}]}, "LDLLoss cannot be built: criterion is set by"),
        ({"pixel_opt": "L1Loss"}, "train.pixel_opt: must be a block"),
        (
            {"losses": [{**PERCEPTUAL, "perceptual_weight": -0.1}]},
            "perceptual_weight: PerceptualLoss takes no neg",
        ),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(train: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message) as error:
        build(train)
    assert "\n" not in str(error.value)


def test_a_manual_weight_for_no_loss_is_refused() -> None:
    with pytest.raises(OptionError, match=r"manual_weights\.l1_los: no such loss; did you mean 'l1_loss'"):
        build({"losses": [{"type": "L1Loss"}]}, {"l1_los": 1.0})


def test_a_ramp_rises_linearly_to_the_full_weight() -> None:
    (term,) = build({"losses": [{"type": "L1Loss", "ramp_iter": 4}]})[0].terms
    assert [term.ramp(i) for i in (1, 2, 3, 4, 5, 1000)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    late = build({"losses": [{"type": "L1Loss"}, {"type": "MSELoss", "start_iter": 1e3, "ramp_iter": 10}]})[1].terms[0]
    assert late.start_iter == 1000
    assert [late.ramp(i) for i in (1000, 1004, 1009, 1010)] == [0.1, 0.5, 1.0, 1.0]


def test_the_hosts_blocks_come_in_the_hosts_order() -> None:
    """Whatever order they are written in: the sum of losses is rounded as the host rounds it."""
    from paragon_plugin.hosts.basicsr.recipe.recipe import loss_blocks

    blocks = {"type": "L1Loss"}
    train = {"gan_opt": blocks, "other_opt": blocks, "perceptual_opt": blocks, "ldl_opt": blocks, "pixel_opt": blocks}
    paths = [path.removeprefix("train.") for path, _ in loss_blocks(train)]
    assert paths == ["pixel_opt", "ldl_opt", "perceptual_opt", "gan_opt", "other_opt"]


@pytest.mark.parametrize(
    ("loss_type", "file"),
    [("LPIPSLoss", "lpips_weights.pt"), ("DISTSLoss", "dists_weights.pt"), ("PerceptualLoss", "vgg19-dcbb9e9d.pth")],
)
def test_a_missing_download_is_named_with_its_place(
    loss_type: str, file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Without a network the message says which file to fetch and where to put it."""
    if loss_type != "PerceptualLoss":
        pytest.importorskip("piq", reason="needs the optional package piq")

    def no_network(*_: Any, **__: Any) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", no_network)
    options = {"layer_weights": {"conv1_1": 1.0}} if loss_type == "PerceptualLoss" else {}
    with pytest.raises(OptionError) as error:
        build({"losses": [{"type": loss_type, **options}]})
    message = str(error.value)
    assert f"{loss_type} cannot be built: needs weights that cannot be downloaded; put https://" in message
    assert message.endswith(f"{file} at {tmp_path}/hub/checkpoints/{file}")
    assert "\n" not in message
