"""The four released tiers: the released images, and what every one must do at every scale."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from golden_tiers import golden
from torch import Tensor

from paragon_plugin.nets.released import TIERS, ReleasedParagonSR2, build_released
from paragon_plugin.nets.released_base import ReleasedBase
from paragon_plugin.nets.tier_attention import CyclicWindowAttention, cyclic_windows
from paragon_plugin.nets.tier_blocks import ImageRMSNorm, StreamBlock
from paragon_plugin.ops.magic_kernel import SCALES, MagicKernelSharp2021Upsample, magic_kernel_sharp_2021_upsample

PARAMETERS = {"realtime": 16_708, "stream": 110_020, "photo": 745_220, "pro": 1_993_348}
ATTENDING = ["photo", "pro"]


@pytest.mark.parametrize("tier", TIERS)
def test_released_checkpoint_gives_the_released_image(tier: str) -> None:
    file = golden(tier)
    net = build_released(tier, scale=file.scale).eval()
    net.load_state_dict(file.checkpoint, strict=True)
    assert {k: v.shape for k, v in net.state_dict().items()} == {k: v.shape for k, v in file.checkpoint.items()}
    assert net.upsampler_alpha == file.alpha
    tensors = file.tensors
    with torch.no_grad():
        output, features = net(tensors["input"], feature_tap=True)
        following = net(tensors["next_input"], prev_feat=features, alpha=0.2)
        torch.testing.assert_close(net.base(tensors["input"]), tensors["base"], rtol=0, atol=1e-6)
    torch.testing.assert_close(output, tensors["output"], rtol=0, atol=1e-5)
    torch.testing.assert_close(following, tensors["next_output_prev_feat_alpha_0.2"], rtol=0, atol=1e-5)


# Pixels of the same networks with weights from a formula: what the released images pin where their files are not.
PINNED = {
    "realtime": [0.21493, 0.3208, 0.45739, -0.04328, 0.26141, 0.08654, 0.22472, 0.17087, 0.51646],
    "stream": [0.48506, 0.79858, 0.68321, 0.32861, 0.79602, 0.87682, 1.00037, 0.18632, 1.35554],
    "photo": [0.37671, 1.29144, 0.38809, 0.31345, 0.25839, 0.29994, 0.75041, 1.19457, 0.1907],
    "pro": [-0.22022, -0.04369, -0.04825, 0.30657, -0.00761, 0.48221, 0.24727, -0.26682, 0.40226],
}


def noise(count: int, number: int) -> Tensor:
    """Numbers between -1 and 1 without a pattern, the same everywhere."""
    i = torch.arange(count, dtype=torch.float64)
    return 2 * torch.frac((torch.sin(12.9898 * (i % 1000) + 78.233 * (i // 1000) + number + 1) + 1) * 4375.85) - 1


def filled(net: ReleasedParagonSR2) -> ReleasedParagonSR2:
    """Every parameter from a formula, about the size of trained ones."""
    for number, parameter in enumerate(net.parameters()):
        fan = parameter[0].numel() if parameter.dim() in (2, 4) else 1
        values = 1.7 * noise(parameter.numel(), number) / fan**0.5
        parameter.data = values.to(parameter.dtype).view(parameter.shape)
    torch.nn.init.constant_(net.detail_gain, 0.2)
    return net.eval()


@pytest.mark.parametrize("tier", TIERS)
def test_pinned_pixels(tier: str) -> None:
    net = filled(build_released(tier, scale=2, base="released"))
    x = (noise(3 * 19 * 37, 0).float().view(1, 3, 19, 37) + 1) / 2
    with torch.no_grad():
        y = net(x)
    assert [round(float(v), 5) for v in y[0, :, ::15, ::29].flatten()[:9]] == pytest.approx(PINNED[tier], abs=2e-5)


@pytest.mark.parametrize("tier", TIERS)
def test_parameter_count(tier: str) -> None:
    net = build_released(tier, scale=2)
    assert sum(parameter.numel() for parameter in net.parameters()) == PARAMETERS[tier]
    released = build_released(tier, scale=2, base="released")
    assert sum(parameter.numel() for parameter in released.parameters()) == PARAMETERS[tier]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("tier", TIERS)
def test_every_size_of_input(tier: str, scale: int) -> None:
    """Detail on top of the base at every scale, and an image's result is its own."""
    torch.manual_seed(0)
    net = build_released(tier, scale=scale, detail_gain=1.0).eval()
    for height, width in ((8, 8), (9, 21)):
        x = torch.rand(2, 3, height, width) * torch.tensor([1.0, 0.2]).view(2, 1, 1, 1)
        with torch.no_grad():
            y, alone = net(x), net(x[1:])
        assert y.shape == (2, 3, scale * height, scale * width)
        assert float((y - net.base(x)).abs().max()) > 1e-3
        torch.testing.assert_close(y[1:], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tier", TIERS)
def test_every_parameter_gets_a_gradient(tier: str) -> None:
    torch.manual_seed(0)
    net = build_released(tier, scale=2)
    F.mse_loss(net(torch.rand(1, 3, 9, 18)), torch.rand(1, 3, 18, 36)).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        # The softmax over tokens does not see what is added to all keys.
        if not name.endswith("token_ca.k_proj.bias"):
            assert float(parameter.grad.abs().max()) > 1e-9, name


@pytest.mark.parametrize("tier", TIERS)
def test_checkpointing_gives_the_same_gradients(tier: str) -> None:
    torch.manual_seed(0)
    plain = build_released(tier, scale=2, base="released")
    saving = build_released(tier, scale=2, base="released", use_checkpointing=True)
    saving.load_state_dict(plain.state_dict())
    x = torch.rand(1, 3, 12, 19)
    kept = []
    for net in (plain, saving):
        count = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, c=count: (c.append(t.numel()), t)[1], lambda t: t):
            loss = net(x).square().mean()
        kept.append(sum(count))
        loss.backward()
    assert kept[1] < 0.6 * kept[0]
    for (name, a), (_, b) in zip(plain.named_parameters(), saving.named_parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name  # pyright: ignore[reportArgumentType]


# -- the base ------------------------------------------------------------------------------------------------------


def nearest_and_blur(base: ReleasedBase, x: Tensor) -> Tensor:
    """The base as the released code has it: through an enlarged image, with the library's convolutions."""

    def separable(x: Tensor, horizontal: Tensor, vertical: Tensor) -> Tensor:
        reach, groups = horizontal.shape[3] // 2, x.shape[1]
        x = F.conv2d(x, horizontal, padding=(0, reach), groups=groups)
        return F.conv2d(x, vertical, padding=(reach, 0), groups=groups)

    if base.alpha > 0:
        x = x + base.alpha * (separable(x, base.sharp.h.weight, base.sharp.v.weight) - x)
    x = F.interpolate(x, scale_factor=base.scale, mode="nearest")
    return separable(x, base.blur.h.weight, base.blur.v.weight)


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.7])
@pytest.mark.parametrize("scale", SCALES)
def test_polyphase_base_is_nearest_and_blur(scale: int, alpha: float) -> None:
    torch.manual_seed(0)
    base = ReleasedBase(3, scale, alpha).double()
    x = torch.rand(2, 3, 9, 14, dtype=torch.float64)
    torch.testing.assert_close(base(x), nearest_and_blur(base, x), rtol=0, atol=1e-12)
    # Any taps a checkpoint may bring: of each channel, of each axis, without symmetry.
    for buffer in base.buffers():
        buffer.normal_()
    torch.testing.assert_close(base(x), nearest_and_blur(base, x), rtol=0, atol=1e-10)


def test_base_is_computed_in_float32() -> None:
    x = torch.rand(1, 3, 16, 16)
    base = ReleasedBase(3, 2, 0.4)
    short = copy.deepcopy(base).half()(x.half())
    assert torch.equal(short, base(x.half().float()).half())
    exact = base(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(base(x), exact)


def test_a_fresh_network_stands_on_magic_kernel_sharp() -> None:
    net = build_released("realtime", scale=3)
    x = torch.rand(1, 3, 10, 12)
    assert torch.equal(net.base(x), magic_kernel_sharp_2021_upsample(x, 3, 1.2))
    assert not any(key.startswith("base.") for key in net.state_dict())
    flat = torch.full((1, 3, 9, 9), 0.7)
    assert float((net.base(flat) - 0.7).abs().max()) < 1e-6
    assert torch.equal(build_released("realtime", scale=1).base(x), x)


@pytest.mark.parametrize("strict", [True, False])
def test_a_checkpoint_brings_its_base(strict: bool) -> None:
    torch.manual_seed(0)
    ours, theirs = (build_released("photo", scale=2, base=base) for base in ("magic_kernel_sharp", "released"))
    theirs.base.get_submodule("blur.v").weight.mul_(0.9)  # pyright: ignore[reportCallIssue]
    x = torch.rand(1, 3, 11, 8)
    for source, kind in ((ours, MagicKernelSharp2021Upsample), (theirs, ReleasedBase)):
        net = build_released("photo", scale=2)
        net.load_state_dict(copy.deepcopy(source.state_dict()), strict=strict)
        assert isinstance(net.base, kind)
        assert net.upsampler_alpha == source.upsampler_alpha
        assert torch.equal(net(x), source(x))
        assert net.state_dict().keys() == source.state_dict().keys()
        inside = torch.nn.Sequential(build_released("photo", scale=2))
        inside.load_state_dict({f"0.{key}": value for key, value in source.state_dict().items()}, strict=strict)
        assert torch.equal(inside(x), source(x))


def test_a_given_base_stays() -> None:
    states = {base: build_released("realtime", scale=2, base=base).state_dict() for base in BASE_NAMES}
    for base in BASE_NAMES:
        net = build_released("realtime", scale=2, base=base)
        net.load_state_dict(states[base])
        other = next(name for name in BASE_NAMES if name != base)
        with pytest.raises(RuntimeError, match=r"base\.sharp\.kernel"):
            net.load_state_dict(states[other])
        before = type(net.base)
        net.load_state_dict(states[other], strict=False)
        assert type(net.base) is before


BASE_NAMES = ["magic_kernel_sharp", "released"]


@pytest.mark.parametrize("tier", TIERS)
def test_default_sharpening(tier: str) -> None:
    assert build_released(tier, scale=2).upsampler_alpha == 1.2
    assert build_released(tier, scale=2, base="released").upsampler_alpha == TIERS[tier].upsampler_alpha
    for base in (None, *BASE_NAMES):
        net = build_released(tier, scale=2, base=base, upsampler_alpha=0.7)
        assert net.upsampler_alpha == 0.7
        net.load_state_dict(net.state_dict())
        assert net.upsampler_alpha == 0.7
    fresh = build_released(tier, scale=2, upsampler_alpha=0.9)
    fresh.load_state_dict(build_released(tier, scale=2, base="released").state_dict())
    assert (type(fresh.base), fresh.upsampler_alpha) == (ReleasedBase, 0.9)


# -- layers --------------------------------------------------------------------------------------------------------


def window_by_window(layer: CyclicWindowAttention, x: Tensor, shift: int) -> Tensor:
    """Pad, rotate, then loop over images, windows and heads."""
    batch, height, width, channels = x.shape
    w, depth = layer.window, channels // layer.heads
    x = torch.roll(F.pad(x, (0, 0, 0, -width % w, 0, -height % w)), (-shift, -shift), (1, 2))
    out = torch.empty_like(x)
    for image in range(batch):
        for top in range(0, x.shape[1], w):
            for left in range(0, x.shape[2], w):
                place = (image, slice(top, top + w), slice(left, left + w))
                q, k, v = F.linear(x[place].reshape(w * w, channels), layer.qkv.weight, layer.qkv.bias).split(
                    channels, 1
                )
                heads = [
                    torch.softmax(q[:, part] @ k[:, part].T / depth**0.5, 1) @ v[:, part]
                    for part in (slice(head * depth, (head + 1) * depth) for head in range(layer.heads))
                ]
                out[place] = F.linear(torch.cat(heads, 1), layer.proj.weight, layer.proj.bias).view(w, w, channels)
    return torch.roll(out, (shift, shift), (1, 2))[:, :height, :width]


@pytest.mark.parametrize("window", [2, 5, 16])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 32), (9, 21), (37, 10)])
def test_equals_attention_window_by_window(height: int, width: int, window: int) -> None:
    torch.manual_seed(0)
    layer = CyclicWindowAttention(8, window=window).double()
    x = torch.randn(2, height, width, 8, dtype=torch.float64)
    for shift in (0, window // 2):
        y = layer(x, cyclic_windows(height, width, window, shift, x.device))
        torch.testing.assert_close(y, window_by_window(layer, x, shift), rtol=0, atol=1e-12)


@pytest.mark.parametrize("tier", ATTENDING)
def test_every_other_block_shifts_its_windows(tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted through the whole body, by `window_size`."""
    seen = []
    original = CyclicWindowAttention.forward
    monkeypatch.setattr(
        CyclicWindowAttention, "forward", lambda self, x, windows: (seen.append(windows), original(self, x, windows))[1]
    )
    net = build_released(tier, scale=2, window_size=6).eval()
    with torch.no_grad():
        net(torch.rand(1, 3, 13, 8))
    row = TIERS[tier]
    assert len(seen) == row.groups * row.blocks
    for number, windows in enumerate(seen):
        expected = cyclic_windows(13, 8, 6, 3 * (number % 2), torch.device("cpu"))
        assert torch.equal(windows.source, expected.source)
        assert torch.equal(windows.target, expected.target)


def test_rms_norm() -> None:
    torch.manual_seed(0)
    norm = ImageRMSNorm(8)
    torch.nn.init.normal_(norm.scale)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(2, 8, 3, 4)
    for image in range(2):
        pixel = x[image, :, 1, 2]
        expected = norm.scale.flatten() * pixel / (pixel.square().mean() + 1e-6) ** 0.5 + norm.bias.flatten()
        torch.testing.assert_close(norm(x)[image, :, 1, 2], expected)
    # The squares overflow half precision, their root does not.
    large = norm.half()(torch.full((1, 8, 1, 1), 300.0, dtype=torch.float16))
    torch.testing.assert_close(large, (norm.scale + norm.bias)[None], rtol=2e-3, atol=2e-3)


def test_stream_gate_stays_within_half_precision() -> None:
    block = StreamBlock(4, gamma=1.0)
    for parameter in block.parameters():
        torch.nn.init.constant_(parameter, 0.0)
    assert block.gate.bias is not None
    torch.nn.init.constant_(block.gate.bias, 1000.0)
    torch.nn.init.constant_(block.out.weight, 0.125)
    torch.nn.init.constant_(block.scale.gamma, 1.0)
    x = torch.zeros(1, 4, 8, 8)
    assert float(block(x).detach().max()) == 65504.0
    assert float(block.half()(x.half()).detach().max()) == 65504.0


# -- video ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", ["realtime", "photo"])
def test_video_blends_features(tier: str) -> None:
    torch.manual_seed(0)
    net = build_released(tier, scale=2, detail_gain=1.0).eval()
    first, second = torch.rand(2, 1, 3, 10, 12)
    with torch.no_grad():
        alone, features = net(first, feature_tap=True)
        assert torch.equal(alone, net(first))
        torch.testing.assert_close(features, net.conv_in(first), rtol=1e-5, atol=1e-6)
        assert torch.equal(net(second, features, 0.0), net(second))
        # Wholly of the previous frame: its detail on this frame's base.
        torch.testing.assert_close(net(second, features, 1.0) - net.base(second), alone - net.base(first))
        _, blended = net(second, features, 0.25, feature_tap=True)
        torch.testing.assert_close(blended, 0.75 * net.conv_in(second) + 0.25 * features, rtol=1e-5, atol=1e-6)
        assert torch.equal(net(second, features), net(second, features, 0.2))
        with pytest.raises(ValueError, match=r"prev_feat.*\(1, \d+, 8, 12\).*\(1, \d+, 10, 12\)"):
            net(second[:, :, :8], features)
        with pytest.raises(ValueError, match="alpha must be from 0 to 1, got"):
            net(second, features, 1.5)


# -- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", ATTENDING)
def test_export_safe_has_no_window_attention(tier: str) -> None:
    torch.manual_seed(0)
    whole = build_released(tier, scale=2)
    net = build_released(tier, scale=2, export_safe=True)
    missing = whole.state_dict().keys() - net.state_dict().keys()
    assert {key.split(".")[4] for key in missing} == (
        {"attn", "attn_norm"} if tier == "photo" else {"window_attn", "norm3", "scale3"}
    )
    net.load_state_dict({key: value for key, value in whole.state_dict().items() if key not in missing})
    for name, parameter in whole.named_parameters():
        if name.endswith(("attn.proj.weight", "attn.proj.bias")):
            torch.nn.init.zeros_(parameter)
    x = torch.rand(1, 3, 9, 17)
    torch.testing.assert_close(net(x), whole(x))


def test_options_take_effect() -> None:
    net = build_released("photo", scale=4, detail_gain=0.3, window_size=8, in_chans=1, use_checkpointing=True)
    assert float(net.detail_gain.detach()) == pytest.approx(0.3)
    assert (net.tier, net.scale, net.window_size, net.in_chans, net.use_checkpointing) == ("photo", 4, 8, 1, True)
    assert net(torch.rand(1, 1, 8, 10)).shape == (1, 1, 32, 40)
    for tier, row in TIERS.items():
        assert float(build_released(tier, scale=2).detail_gain.detach()) == pytest.approx(row.detail_gain)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"windowsize": 8}, ["unknown option 'windowsize'", "did you mean 'window_size'", "export_safe", "in_chans"]),
        ({"use_attention": True}, ["use_attention", "valid ones"]),
        ({"base": "mks"}, ["base", "'mks'", "magic_kernel_sharp", "released"]),
        ({"window_size": 1}, ["window_size", "at least 2", "got 1"]),
        ({"export_safe": "yes"}, ["export_safe", "'yes'"]),
        ({"use_checkpointing": 1}, ["use_checkpointing", "got 1"]),
        ({"upsampler_alpha": 2.5}, ["upsampler_alpha", "2.5"]),
        ({"detail_gain": 0}, ["detail_gain", "got 0"]),
        ({"in_chans": 0}, ["in_chans", "0"]),
        ({"scale": 5}, ["scale", "(1, 2, 3, 4, 8)", "5"]),
    ],
)
def test_rejects_options(options: dict, words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        build_released("photo", **{"scale": 2, **options})
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_rejects_tier() -> None:
    with pytest.raises(ValueError, match=r"unknown tier 'foto' \(did you mean 'photo'\?\); valid ones: realtime, str"):
        build_released("foto", scale=2)


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (3, 16, 16), (1, 3, 7, 16), (1, 3, 16, 4)])
def test_rejects_input(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=str(shape[-1])):
        build_released("realtime", scale=2)(torch.rand(shape))


# -- export --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", ["realtime", "stream", pytest.param("photo", marks=pytest.mark.slow)])
def test_exports_with_dynamic_shapes(tier: str) -> None:
    """One graph for every batch, height and width."""
    torch.manual_seed(0)
    net = build_released(tier, scale=2, detail_gain=1.0, base="released").eval()
    dims = {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    program = torch.export.export(net, (torch.rand(2, 3, 24, 31),), dynamic_shapes=(dims,))
    # torch.export takes photo's number of windows along a side, one for each 16 pixels, as at least 2.
    smallest = (1, 3, 17, 18) if tier == "photo" else (1, 3, 9, 16)
    for shape in (smallest, (3, 3, 37, 53)):
        x = torch.rand(shape)
        with torch.no_grad():
            torch.testing.assert_close(program.module()(x), net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("tier", TIERS)
def test_compiles(tier: str) -> None:
    torch.manual_seed(0)
    net = build_released(tier, scale=2, detail_gain=1.0).eval()
    torch._dynamo.reset()  # what other networks left counts against a limit
    compiled = torch.compile(net, fullgraph=True, dynamic=True)
    for side in (16, 21):
        x = torch.rand(1, 3, side, side + 3)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), net(x), rtol=1e-3, atol=1e-4)
