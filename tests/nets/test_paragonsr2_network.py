"""The eight sizes: what every one of them must do at every scale."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from paragon_plugin.nets.layers import MultiScaleContext, ScaledConv2d, sub_pixel
from paragon_plugin.nets.paragonsr2 import SIZES, ParagonSR2, build_paragonsr2
from paragon_plugin.ops.learnable_kernel import LearnableMagicKernelSharp2021Upsample
from paragon_plugin.ops.magic_kernel import SCALES, magic_kernel_sharp_2021_upsample

PARAMETERS = {
    "nano": 4921,
    "micro": 11363,
    "tiny": 32107,
    "xs": 107943,
    "s": 319127,
    "m": 1644399,
    "l": 7065071,
    "xl": 20385583,
}

ALL_ON = {"use_attention": True, "use_content_aware": True, "use_learnable_magic_kernel": True}
SMALL = [name for name, row in SIZES.items() if row.features <= 48]


def awaken(net: ParagonSR2) -> ParagonSR2:
    """Give the zero-initialised last convolution weights, as one step of training would."""
    torch.nn.init.normal_(net.conv_out.weight, std=0.05)
    return net.eval()


@pytest.fixture(scope="module")
def nets() -> dict[str, ParagonSR2]:
    torch.manual_seed(0)
    return {name: awaken(build_paragonsr2(name, scale=2, use_attention=True, use_content_aware=True)) for name in SIZES}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", SCALES)
def test_starts_as_the_base_exactly(size: str, scale: int) -> None:
    if size in SMALL:
        net = build_paragonsr2(size, scale=scale).eval()
    else:
        # Drawing millions of random weights is most of the time of a large network, and they do not matter here.
        with torch.device("meta"):
            net = build_paragonsr2(size, scale=scale)
        net = net.to_empty(device="cpu").eval()
        for name, parameter in net.named_parameters():
            torch.nn.init.constant_(parameter, 0.0 if name.startswith("conv_out") else 1e-3)
    for batch, height, width in [(1, 8, 8), (3, 8, 8)] + [(1, 37, 53)] * (size in SMALL):
        x = torch.rand(batch, 3, height, width)
        with torch.no_grad():
            y = net(x)
        assert y.shape == (batch, 3, scale * height, scale * width)
        assert torch.equal(y, net.base(x))
        assert torch.equal(y, magic_kernel_sharp_2021_upsample(x, scale, net.upsampler_alpha))


@pytest.mark.parametrize("size", SIZES)
def test_every_parameter_gets_a_gradient(size: str) -> None:
    """With all options on, on the second step: the first one moves the last convolution off zero."""
    torch.manual_seed(0)
    net = build_paragonsr2(size, scale=2, **ALL_ON)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)
    x, target = torch.rand(1, 3, 8, 9), torch.rand(1, 3, 16, 18)
    F.mse_loss(net(x), target).backward()
    optimizer.step()
    optimizer.zero_grad()
    F.mse_loss(net(x), target).backward()
    for name, parameter in net.named_parameters():
        gradient = parameter.grad
        assert gradient is not None, name
        assert bool(torch.isfinite(gradient).all()), name
        assert float(gradient.abs().max()) > 0, name


@pytest.mark.parametrize("size", SIZES)
def test_features_neither_vanish_nor_explode(size: str, nets: dict[str, ParagonSR2]) -> None:
    net = nets[size]
    with torch.no_grad():
        first = net.conv_in(torch.rand(1, 3, 16, 16))
        last = net.body(first)
    assert 0.5 < float(last.std() / first.std()) < 8


@pytest.mark.parametrize("size", SIZES)
def test_images_of_a_batch_are_independent(size: str, nets: dict[str, ParagonSR2]) -> None:
    net = nets[size]
    x = torch.rand(3, 3, 13, 18) * torch.tensor([1.0, 0.3, 0.02]).view(3, 1, 1, 1)
    with torch.no_grad():
        together = net(x)
        alone = torch.cat([net(image[None]) for image in x])
    assert float((together - net.base(x)).abs().max()) > 1e-4
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", ["nano", "tiny", "s"])
def test_detail_follows_the_image(size: str) -> None:
    """Without what depends on the whole image, a shifted image gives the shifted result away from the borders."""
    torch.manual_seed(0)
    net = awaken(build_paragonsr2(size, scale=2, use_content_aware=False, use_attention=False))
    image = torch.rand(1, 3, 160, 24)
    with torch.no_grad():
        whole, below = net(image), net(image[:, :, 3:])
    middle = slice(150, 160)
    torch.testing.assert_close(below[:, :, middle], whole[:, :, 156:166], rtol=1e-4, atol=1e-5)


def test_no_detail_in_a_constant_image_away_from_its_border() -> None:
    torch.manual_seed(0)
    net = awaken(build_paragonsr2("tiny", scale=2))
    with torch.no_grad():
        y = net(torch.full((1, 3, 80, 80), 0.4))[:, :, 70:90, 70:90]
    for pixel in (y[:, :, ::2, ::2], y[:, :, 1::2, ::2], y[:, :, 1::2, 1::2]):
        assert float((pixel - pixel[:, :, :1, :1]).abs().max()) < 1e-5


@pytest.mark.parametrize("size", SIZES)
def test_parameter_count(size: str) -> None:
    count = sum(parameter.numel() for parameter in build_paragonsr2(size, scale=2).parameters())
    assert count == PARAMETERS[size]


def test_a_seed_decides_everything() -> None:
    states = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        states.append(build_paragonsr2("tiny", scale=3, **ALL_ON).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])


def test_half_precision() -> None:
    torch.manual_seed(0)
    net = awaken(build_paragonsr2("tiny", scale=2, **ALL_ON))
    x = torch.rand(1, 3, 24, 24)
    with torch.no_grad():
        exact = net(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = net(x)
        short = copy.deepcopy(net).bfloat16()(x.bfloat16())
    assert mixed.dtype == torch.float32
    assert short.dtype == torch.bfloat16
    detail = float((exact - net.base(x)).detach().abs().max())
    assert float((mixed - exact).abs().max()) < 0.05 * detail
    assert float((short - exact).abs().max()) < 0.05 * detail + 0.02


def test_autocast_training_step_is_finite() -> None:
    torch.manual_seed(0)
    net = build_paragonsr2("m", scale=2)
    awaken(net).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = net(torch.rand(1, 3, 16, 16)).square().mean()
    loss.backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name


def test_content_gain_is_per_image_and_bounded() -> None:
    torch.manual_seed(0)
    net = build_paragonsr2("tiny", scale=2)
    assert net.content_gain is not None
    busy, smooth = torch.rand(1, 3, 32, 32), torch.linspace(0.4, 0.41, 32).expand(1, 3, 32, 32)
    gain = net.content_gain(torch.cat((busy, smooth))).detach()
    assert gain.shape == (2, 1, 1, 1)
    assert 0.5 < float(gain[0]) < float(gain[1]) < 1.5
    constant = torch.full((1, 3, 8, 8), 0.5, requires_grad=True)
    (slope,) = torch.autograd.grad(net.content_gain(constant).sum(), constant)
    assert bool(torch.isfinite(slope).all())


def test_options_take_effect() -> None:
    net = build_paragonsr2(
        "nano", scale=4, upsampler_alpha=0.5, detail_gain=0.3, in_chans=1, use_content_aware=True, use_attention=True
    )
    assert (net.variant, net.scale, net.upsampler_alpha, net.detail_gain, net.in_chans) == ("nano", 4, 0.5, 0.3, 1)
    assert (net.use_content_aware, net.use_attention, net.use_learnable_magic_kernel) == (True, True, False)
    x = torch.rand(1, 1, 8, 10)
    assert torch.equal(net(x), magic_kernel_sharp_2021_upsample(x, 4, 0.5))
    assert float(net.gain.detach()) == pytest.approx(0.3)

    learnable = build_paragonsr2("nano", scale=2, use_learnable_magic_kernel=True)
    assert isinstance(learnable.base, LearnableMagicKernelSharp2021Upsample)
    assert set(dict(learnable.base.named_parameters())) == {"sharp_alpha", "sharp_bias", "sharp_kernel"}

    for size, row in SIZES.items():
        default = build_paragonsr2(size, scale=2)
        assert default.use_attention is row.use_attention
        assert default.use_content_aware is row.use_content_aware
        assert default.detail_gain == row.detail_gain
        for attention in (False, True):
            names = dict(build_paragonsr2(size, scale=2, use_attention=attention).named_parameters())
            assert any("attention" in name for name in names) is attention


def test_gain_scales_the_detail() -> None:
    torch.manual_seed(0)
    net = awaken(build_paragonsr2("micro", scale=2))
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        detail = net(x) - net.base(x)
        net.gain.mul_(2)
        torch.testing.assert_close(net(x) - net.base(x), 2 * detail, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"use_atention": True}, ["use_atention", "did you mean 'use_attention'", "detail_gain", "in_chans"]),
        ({"foo": 1}, ["foo", "valid ones"]),
        ({"variant": "nano"}, ["multiple values"]),
        ({"use_attention": "yes"}, ["use_attention", "'yes'"]),
        ({"use_content_aware": 1}, ["use_content_aware", "1"]),
        ({"use_learnable_magic_kernel": "false"}, ["use_learnable_magic_kernel", "'false'"]),
        ({"upsampler_alpha": 3.0}, ["upsampler_alpha", "3.0"]),
        ({"upsampler_alpha": True}, ["upsampler_alpha", "True"]),
        ({"detail_gain": 0}, ["detail_gain", "got 0"]),
        ({"detail_gain": "0.1"}, ["detail_gain", "'0.1'"]),
        ({"detail_gain": float("nan")}, ["detail_gain", "nan"]),
        ({"in_chans": 0}, ["in_chans", "0"]),
        ({"in_chans": 3.0}, ["in_chans", "3.0"]),
        ({"scale": 5}, ["scale", "(1, 2, 3, 4, 8)", "5"]),
        ({"scale": True}, ["scale", "True"]),
    ],
)
def test_rejects_options(options: dict, words: list[str]) -> None:
    error = TypeError if "variant" in options else ValueError
    with pytest.raises(error) as caught:
        build_paragonsr2("nano", **{"scale": 2, **options})
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(("size", "hint"), [("nanno", "'nano'"), ("XL", "'xl'"), ("huge", "valid ones"), (3, "valid")])
def test_rejects_size(size: object, hint: str) -> None:
    with pytest.raises(ValueError, match="unknown size") as caught:
        build_paragonsr2(size, scale=2)  # pyright: ignore[reportArgumentType]
    assert hint in str(caught.value)
    assert all(name in str(caught.value) for name in SIZES)


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (3, 16, 16), (1, 3, 7, 16), (1, 3, 16, 4)])
def test_rejects_input(shape: tuple[int, ...]) -> None:
    net = build_paragonsr2("nano", scale=2)
    with pytest.raises(ValueError, match=str(shape[-1])):
        net(torch.rand(shape))


def test_scaled_convolution() -> None:
    """gamma on the weights is gamma on the output."""
    layer = ScaledConv2d(8, 8, (3, 5), gamma=0.3, groups=4)
    x = torch.rand(2, 8, 9, 9)
    plain = F.conv2d(x, layer.weight, layer.bias, padding=(1, 2), groups=4)
    torch.testing.assert_close(layer(x), 0.3 * plain)


def test_context_touches_its_channels_only() -> None:
    context = MultiScaleContext(24, 9, gamma=0.5)
    x = torch.rand(1, 24, 21, 21)
    y = context(x)
    assert torch.equal(y[:, :15], x[:, :15])
    reach = torch.zeros(1, 24, 21, 21)
    reach[:, :, 10, 10] = 1
    seen = (context(reach) - context(torch.zeros_like(reach)) - reach).abs() > 0
    for start, height, width in ((15, 3, 3), (18, 1, 9), (21, 9, 1)):
        for channel in range(start, start + 3):
            rows, columns = seen[0, channel].nonzero().unbind(1)
            assert int(rows.max() - rows.min()) + 1 == height
            assert int(columns.max() - columns.min()) + 1 == width


@pytest.mark.parametrize("scale", SCALES)
def test_sub_pixel_is_pixel_shuffle(scale: int) -> None:
    x = torch.rand(2, 3 * scale**2, 5, 7)
    for form in (x, x.contiguous(memory_format=torch.channels_last)):
        assert torch.equal(sub_pixel(form, scale), F.pixel_shuffle(x, scale))


def test_exports_with_dynamic_shapes() -> None:
    """One graph for every batch, height and width, with all options on: nothing depends on values or on fixed sizes."""
    torch.manual_seed(0)
    net = awaken(build_paragonsr2("tiny", scale=2, **ALL_ON))
    dims = {
        0: torch.export.Dim("batch", max=8),
        2: torch.export.Dim("h", min=9, max=512),
        3: torch.export.Dim("w", min=9, max=512),
    }
    program = torch.export.export(net, (torch.rand(2, 3, 24, 31),), dynamic_shapes=(dims,))
    for shape in ((1, 3, 9, 16), (3, 3, 37, 53)):
        x = torch.rand(shape)
        with torch.no_grad():
            torch.testing.assert_close(program.module()(x), net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_compiles(size: str) -> None:
    torch.manual_seed(0)
    net = awaken(build_paragonsr2(size, scale=2, **ALL_ON))
    torch._dynamo.reset()  # what other networks left counts against a limit
    compiled = torch.compile(net, fullgraph=True, dynamic=True)
    for side in (16, 21):
        x = torch.rand(1, 3, side, side + 3)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), net(x), rtol=1e-3, atol=1e-4)
