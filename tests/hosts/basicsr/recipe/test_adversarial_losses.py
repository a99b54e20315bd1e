"""What adversarial losses, feature matching and LDL compute, on discriminators small enough to do by hand."""

from typing import Any

import pytest
import torch
from torch import nn

from paragon_plugin.errors import OptionError


@pytest.fixture(autouse=True)
def _host(host: None) -> None:
    pass


class Doubler(nn.Module):
    """Two convolutions by hand: features 2 x and -2 x, logits -2 x."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = (nn.Conv2d(1, 1, 1, bias=False) for _ in range(2))
        nn.init.constant_(self.first.weight, 2.0)
        nn.init.constant_(self.last.weight, -1.0)
        self.passes = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        return self.last(self.first(x))


def inputs(net: nn.Module, gt: torch.Tensor, features: bool = False) -> Any:
    from paragon_plugin.hosts.basicsr.recipe.discriminator_pass import DiscriminatorPass
    from paragon_plugin.hosts.basicsr.recipe.step_inputs import StepInputs

    return StepInputs(gt, discriminator=DiscriminatorPass(net, gt, keep_features=features))


def recipe(train: dict[str, Any], **options: Any) -> Any:
    from paragon_plugin.hosts.basicsr.recipe.recipe import build_recipe

    return build_recipe(train, {}, discriminator=True, **options)


def test_standard_form_is_the_criterion_on_the_fake_logits() -> None:
    (loss,) = recipe({"gan_opt": {"type": "GANLoss", "gan_type": "lsgan", "loss_weight": 0.5}})
    y, gt = torch.full((1, 1, 2, 2), 0.25), torch.ones(1, 1, 2, 2)
    assert loss(y, inputs(Doubler(), gt))["gan_loss"].item() == pytest.approx(0.5 * (-0.5 - 1) ** 2)


@pytest.mark.parametrize("where", ["the block", "the model"])
def test_relativistic_form_compares_each_side_with_the_mean_of_the_other(where: str) -> None:
    block: dict[str, Any] = {"type": "GANLoss", "gan_type": "lsgan", "loss_weight": 0.5}
    (loss,) = (
        recipe({"gan_opt": {**block, "relativistic": True}})
        if where == "the block"
        else recipe({"gan_opt": block}, relativistic=True)
    )
    y, gt = torch.tensor([0.0, 0.5]).reshape(1, 1, 1, 2), torch.tensor([1.0, 2.0]).reshape(1, 1, 1, 2)
    fake, real = torch.tensor([0.0, -1.0]), torch.tensor([-2.0, -4.0])  # logits; means -0.5 and -3
    expected = 0.5 * ((real + 0.5).pow(2).mean() + (fake + 3 - 1).pow(2).mean()) / 2
    assert loss(y, inputs(Doubler(), gt))["gan_loss"].item() == pytest.approx(expected.item())


def test_feature_matching_is_the_mean_over_layers_of_mean_differences() -> None:
    loss = recipe(
        {
            "gan_opt": {"type": "GANLoss", "gan_type": "vanilla"},
            "losses": [{"type": "GANFeatureMatchingLoss", "loss_weight": 3.0}],
        }
    )[1]
    net = Doubler()
    y, gt = torch.full((1, 1, 2, 2), 0.25), torch.ones(1, 1, 2, 2)
    # the last convolution gives the logits and does not count: one layer, 2 |0.25 - 1|
    value = loss(y.requires_grad_(), inputs(net, gt, features=True))["gan_feature_matching_loss"]
    assert value.item() == pytest.approx(3.0 * 2 * 0.75)
    (gradient,) = torch.autograd.grad(value, y)
    assert torch.allclose(gradient, torch.full_like(y, -3.0 * 2 / 4))  # the real side is a constant


def test_losses_of_a_discriminator_share_its_passes() -> None:
    losses = recipe(
        {
            "gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "relativistic": True},
            "losses": [{"type": "GANFeatureMatchingLoss"}],
        }
    )
    net = Doubler()
    y, gt = torch.rand(1, 1, 2, 2), torch.rand(1, 1, 2, 2)
    shared = inputs(net, gt, features=True)
    for loss in losses:
        loss(y, shared)
    assert net.passes == 2  # one on the fake, one on the real image


def test_ldl_counts_only_where_the_averaged_network_is_closer() -> None:
    from paragon_plugin.hosts.basicsr.recipe.step_inputs import StepInputs
    from paragon_plugin.losses import LDLLoss

    (loss,) = recipe({"ldl_opt": {"type": "L1Loss", "loss_weight": 4.0}})
    assert [(t.name, t.role, t.weight) for t in loss.terms] == [("ldl_loss", "structural", 4.0)]
    g = torch.Generator().manual_seed(0)
    gt, y = torch.rand(1, 3, 16, 16, generator=g), torch.rand(1, 3, 16, 16, generator=g)
    further = gt + 2.0  # the averaged network is worse everywhere: no artefacts
    assert loss(y, StepInputs(gt, ema_output=further))["ldl_loss"].item() == 0
    value = loss(y, StepInputs(gt, ema_output=gt))["ldl_loss"].item()
    assert value > 0
    plain = LDLLoss(loss_weight=4.0)
    assert plain(y, gt, gt).item() == pytest.approx(value)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"type": "GANLoss", "gan_type": "hinge", "relativistic": True}, "hinge has no relativistic form"),
        ({"type": "MultiScaleGANLoss", "gan_type": "lsgan", "relativistic": True}, "has no relativistic form"),
        ({"type": "GANLoss", "gan_type": "vanilla", "relativistic": "yes"}, "relativistic: must be true or false"),
        ({"type": "GANLoss", "gan_type": "funny"}, "GANLoss cannot be built: GAN type funny"),
        ({"type": "GANLoss"}, "GANLoss cannot be built: .*gan_type"),
    ],
)
def test_what_cannot_work_is_refused(block: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        recipe({"gan_opt": block})


def test_the_hosts_hinge_would_not_train_a_relativistic_generator() -> None:
    """Why it is refused: its two halves cancel."""
    from basicsr.losses.gan_loss import GANLoss

    criterion = GANLoss("hinge")
    real, fake = torch.randn(8), torch.randn(8, requires_grad=True)
    total = criterion(real - fake.mean(), False) + criterion(fake - real.mean(), True)
    (gradient,) = torch.autograd.grad(total, fake)
    assert torch.allclose(gradient, torch.zeros(8), atol=1e-7)


def test_ldl_has_finite_gradients_where_a_sample_is_flat() -> None:
    from paragon_plugin.losses.ldl_loss import LDLLoss

    g = torch.Generator().manual_seed(0)
    target = torch.rand(2, 3, 16, 16, generator=g)
    output = target + 0.1 * torch.randn(2, 3, 16, 16, generator=g)
    output[1] = target[1]  # as at the first step of a network that starts at a good upscale
    output.requires_grad_()
    LDLLoss()(output, target, target + 0.01).backward()
    assert output.grad is not None
    assert output.grad.isfinite().all()
    assert output.grad[0].abs().sum() > 0
