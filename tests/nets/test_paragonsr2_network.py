"""The eight sizes: what every one of them must do at every scale."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from paragon_plugin.nets.checkpoint_detection import detect
from paragon_plugin.nets.layers import sub_pixel
from paragon_plugin.nets.paragonsr2 import SIZES, ParagonSR2, build_paragonsr2
from paragon_plugin.ops.learnable_kernel import LearnableMagicKernelSharp2021Upsample
from paragon_plugin.ops.magic_kernel import SCALES, magic_kernel_sharp_2021_upsample

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
            trained = net.train()(x)
            net.eval()
        assert y.shape == (batch, 3, scale * height, scale * width)
        assert torch.equal(trained, magic_kernel_sharp_2021_upsample(x, scale, net.upsampler_alpha))
        assert torch.equal(trained, net.base(x))
        torch.testing.assert_close(y, trained, rtol=0, atol=2e-6)


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("scale", SCALES)
def test_the_form_for_use_is_the_form_for_training(scale: int, learnable: bool) -> None:
    torch.manual_seed(0)
    net = awaken(build_paragonsr2("nano", scale=scale, use_learnable_magic_kernel=learnable, use_content_aware=True))
    if learnable:
        for parameter in net.base.parameters():
            parameter.data.add_(0.02)
    with torch.no_grad():
        net.gain.mul_(7)
        for shape in ((2, 3, 37, 53), (1, 3, 8, 8)):
            x = torch.rand(shape)
            used, trained = net.eval()(x), net.train()(x)
            assert float((used - net.base(x)).abs().max()) > 1e-3
            torch.testing.assert_close(used, trained, rtol=0, atol=1e-5)


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
    net = build_paragonsr2("tiny", scale=2, use_content_aware=True)
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
    assert torch.equal(net.train()(x), magic_kernel_sharp_2021_upsample(x, 4, 0.5))
    assert float(net.gain.detach()) == pytest.approx(0.3)

    learnable = build_paragonsr2("nano", scale=2, use_learnable_magic_kernel=True)
    assert isinstance(learnable.base, LearnableMagicKernelSharp2021Upsample)
    assert set(dict(learnable.base.named_parameters())) == {"sharp_alpha", "sharp_bias", "sharp_kernel"}

    for size, row in SIZES.items():
        with torch.device("meta"):
            default = build_paragonsr2(size, scale=2)
            attending = build_paragonsr2(size, scale=2, use_attention=True)
        assert (default.use_attention, default.use_content_aware) == (False, False)
        assert default.detail_gain == 0.1
        assert not any("attention" in name for name, _ in default.named_parameters())
        assert sum(name.endswith("attention.gamma") for name, _ in attending.named_parameters()) == row.groups


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


# Names and shapes of a nano network of version 0.1.
NANO_0_1 = {
    "gain": (),
    "conv_in.weight": (12, 3, 3, 3),
    "conv_in.bias": (12,),
    "body.0.blocks.0.context.square.weight": (2, 1, 3, 3),
    "body.0.blocks.0.context.square.bias": (2,),
    "body.0.blocks.0.context.square.gamma": (2,),
    "body.0.blocks.0.context.row.weight": (2, 1, 1, 7),
    "body.0.blocks.0.context.row.bias": (2,),
    "body.0.blocks.0.context.row.gamma": (2,),
    "body.0.blocks.0.context.column.weight": (2, 1, 7, 1),
    "body.0.blocks.0.context.column.bias": (2,),
    "body.0.blocks.0.context.column.gamma": (2,),
    "body.0.blocks.0.expand.weight": (16, 12, 1, 1),
    "body.0.blocks.0.depthwise.weight": (16, 1, 3, 3),
    "body.0.blocks.0.depthwise.bias": (16,),
    "body.0.blocks.0.project.weight": (12, 16, 1, 1),
    "body.0.blocks.0.project.gamma": (12,),
    "body.0.blocks.0.mix.weight": (12, 12, 3, 3),
    "body.0.blocks.0.mix.bias": (12,),
    "body.0.out.weight": (12, 12, 3, 3),
    "body.0.out.bias": (12,),
    "body.0.out.gamma": (12,),
    "conv_out.weight": (12, 12, 3, 3),
    "conv_out.bias": (12,),
    "content_gain.slope": (),
    "content_gain.hidden.weight": (8, 2),
    "content_gain.hidden.bias": (8,),
    "content_gain.out.weight": (1, 8),
    "content_gain.out.bias": (1,),
}


@pytest.mark.parametrize("size", SIZES)
def test_weights_of_version_0_1_are_refused_in_one_line(size: str) -> None:
    old = {name: torch.zeros(shape) for name, shape in NANO_0_1.items()}
    with torch.device("meta"):
        net = build_paragonsr2(size, scale=2)
    for load in (lambda: net.load_state_dict(old), lambda: net.load_state_dict(old, strict=False), lambda: detect(old)):
        with pytest.raises(ValueError, match=r"version 0\.1") as caught:
            load()
        assert "\n" not in str(caught.value)


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


@pytest.mark.parametrize("size", SIZES)
def test_channels_last(size: str) -> None:
    torch.manual_seed(0)
    net = awaken(build_paragonsr2(size, scale=2)) if size in SMALL else build_paragonsr2(size, scale=2).eval()
    x = torch.rand(1, 3, 9, 8)
    with torch.no_grad():
        expected = net(x)
        net.to(memory_format=torch.channels_last)
        torch.testing.assert_close(net(x.contiguous(memory_format=torch.channels_last)), expected, rtol=1e-4, atol=1e-5)


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
