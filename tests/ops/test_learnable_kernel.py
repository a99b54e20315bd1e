"""The learnable kernel: the fixed one at first, trainable, and bounded whatever training does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from paragon_plugin.ops.learnable_kernel import (
    ALPHA_BOUND,
    BIAS_BOUND,
    TAP_BOUNDS,
    LearnableMagicKernelSharp2021Upsample,
)
from paragon_plugin.ops.magic_kernel import SCALES, magic_kernel_sharp_2021_upsample, sharp_taps

NAMES = ("sharp_alpha", "sharp_bias", "sharp_kernel")


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 2.0])
def test_starts_as_the_fixed_kernel(scale: int, alpha: float) -> None:
    x = torch.rand(2, 3, 9, 10)
    y = LearnableMagicKernelSharp2021Upsample(scale, alpha)(x)
    torch.testing.assert_close(y, magic_kernel_sharp_2021_upsample(x, scale, alpha), rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_gradient_reaches_all_parameters(scale: int, alpha: float) -> None:
    module = LearnableMagicKernelSharp2021Upsample(scale, alpha)
    assert {name for name, _ in module.named_parameters()} == set(NAMES) == set(module.state_dict())
    module(torch.rand(1, 1, 9, 9)).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert bool((parameter.grad != 0).all()), name


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_gradcheck(scale: int) -> None:
    module = LearnableMagicKernelSharp2021Upsample(scale, 0.9).double()
    torch.manual_seed(0)
    parameters = [p.detach() + 0.03 * torch.randn_like(p) for _, p in sorted(module.named_parameters())]
    x = torch.rand(1, 2, 4, 5, dtype=torch.float64)

    def run(*values: Tensor) -> Tensor:
        return functional_call(module, dict(zip(NAMES, values[:-1], strict=True)), (values[-1],))

    inputs = [value.requires_grad_() for value in (*parameters, x)]
    assert torch.autograd.gradcheck(run, inputs)


def impulse_response(module: LearnableMagicKernelSharp2021Upsample) -> Tensor:
    """The filter of the plane: scale 1 learns the deviation from the identity, so this is all of it."""
    image = torch.zeros(1, 1, 15, 15, dtype=torch.float64)
    image[0, 0, 7, 7] = 1
    with torch.no_grad():
        return module.double()(image)[0, 0]


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_stays_symmetric_unit_gain_and_bounded_under_any_optimizer(scale: int) -> None:
    torch.manual_seed(scale)
    module = LearnableMagicKernelSharp2021Upsample(scale, 1.2)
    optimizer = torch.optim.SGD(module.parameters(), lr=1e3, momentum=0.9)
    for _ in range(1000):
        for parameter in module.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()

    taps = module.taps().detach()
    # The middle tap follows from the others; three of them at their bounds are far from where they started.
    assert float(taps.sum()) == pytest.approx(1, abs=1e-6)
    assert torch.equal(taps, taps.flip(0))
    start = 0.0 if scale == 1 else 1.2
    base = torch.tensor(sharp_taps()[:3])
    allowed = ALPHA_BOUND * base.abs() + torch.tensor(TAP_BOUNDS) + 1e-6
    assert bool(((taps[:3] - start * base).abs() <= allowed).all())
    assert float((taps[:3] - start * base).abs().max()) > 0.02
    assert abs(float(module.diagonal().detach())) <= BIAS_BOUND + 1e-6

    constant = torch.full((1, 1, 9, 9), 0.6)
    torch.testing.assert_close(module(constant), torch.full((1, 1, 9 * scale, 9 * scale), 0.6), rtol=0, atol=2e-6)
    x = torch.rand(1, 2, 10, 10)
    y = module(x)
    for turn in (lambda t: t.flip(2), lambda t: t.flip(3), lambda t: t.transpose(2, 3)):
        torch.testing.assert_close(module(turn(x)), turn(y), rtol=0, atol=2e-5)
    torch.testing.assert_close(module(x), y)
    assert float(y.detach().abs().max()) < 10


def test_plane_filter_is_the_documented_one() -> None:
    module = LearnableMagicKernelSharp2021Upsample(1, 1.0).double()
    with torch.no_grad():
        module.sharp_alpha.fill_(1.2)
        module.sharp_bias.fill_(0.05)
        module.sharp_kernel.sub_(torch.tensor([0.001, -0.002, 0.01], dtype=torch.float64))
    q, d = torch.zeros(15, dtype=torch.float64), torch.zeros(15, dtype=torch.float64)
    q[4:11] = module.taps().detach()
    d[6:9] = torch.tensor([1.0, -2.0, 1.0])
    bias = 0.1 * torch.tanh(torch.tensor(0.5, dtype=torch.float64))
    torch.testing.assert_close(impulse_response(module), torch.outer(q, q) + bias * torch.outer(d, d))


@pytest.mark.parametrize("scale", SCALES)
def test_shuffled_phases_are_the_image(scale: int) -> None:
    torch.manual_seed(0)
    module = LearnableMagicKernelSharp2021Upsample(scale, 1.2).double()
    for parameter in module.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    x = torch.rand(2, 3, 9, 7, dtype=torch.float64)
    y = torch.nn.functional.pixel_shuffle(module.phases(x), scale)
    torch.testing.assert_close(y, module(x), rtol=0, atol=1e-12)


def test_learns_an_unknown_sharpening() -> None:
    """Trained alone towards a stronger, unseparable filter it gets there, where the fixed kernel cannot."""
    torch.manual_seed(0)
    target = LearnableMagicKernelSharp2021Upsample(2, 1.0)
    with torch.no_grad():
        target.sharp_alpha.fill_(1.3)
        target.sharp_bias.fill_(0.05)
        target.sharp_kernel[1] += 0.02
    module = LearnableMagicKernelSharp2021Upsample(2, 1.0)
    optimizer = torch.optim.Adam(module.parameters(), lr=5e-3)
    x = torch.rand(4, 1, 16, 16)
    wanted = target(x).detach()
    before = float((module(x) - wanted).square().mean())
    for _ in range(300):
        optimizer.zero_grad()
        (module(x) - wanted).square().mean().backward()
        optimizer.step()
    assert float((module(x) - wanted).square().mean()) < before / 1000


@pytest.mark.parametrize("arguments", [(5,), (2, -1), (2, 2.5), (2, "1")])
def test_rejects_arguments(arguments: tuple) -> None:
    with pytest.raises(ValueError, match=str(arguments[-1])):
        LearnableMagicKernelSharp2021Upsample(*arguments)
