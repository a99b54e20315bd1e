"""Magic Kernel Sharp 2021 against libvips, against its slow form, and its invariants."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from paragon_plugin.ops.magic_kernel import (
    SCALES,
    MagicKernelSharp2021Upsample,
    magic_kernel,
    magic_kernel_sharp_2021_upsample,
    sharp_taps,
    spline_phases,
)

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.5e-2}


def blur_taps(scale: int) -> Tensor:
    """Taps that turn nearest enlargement into the spline's: its samples on the fine grid, divided by a box of s."""
    samples = [magic_kernel((n + 0.5) / scale - 1.5) for n in range(3 * scale)]
    taps: list[float] = []
    for n in range(2 * scale + 1):
        taps.append(samples[n] - sum(taps[max(0, n - scale + 1) : n]))
    return torch.tensor(taps, dtype=torch.float64)


def naive_upsample(x: Tensor, scale: int, alpha: float) -> Tensor:
    """Sharpen with a dense 7x7 filter, repeat pixels, blur with a dense filter at high resolution."""
    channels = x.shape[1]

    def plane(taps: Tensor) -> Tensor:
        return torch.outer(taps, taps).expand(channels, 1, -1, -1)

    sharp = torch.tensor([-1.0, 6, -35, 204, -35, 6, -1], dtype=torch.float64) / 144
    sharp = alpha * sharp + (1 - alpha) * torch.tensor([0.0, 0, 0, 1, 0, 0, 0], dtype=torch.float64)
    x = F.conv2d(F.pad(x, (7,) * 4, mode="replicate"), plane(sharp), groups=channels)
    x = x.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    x = F.conv2d(x, plane(blur_taps(scale)), groups=channels)
    trim = 4 * scale - scale
    return x[:, :, trim:-trim, trim:-trim]


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0, 1.7])
def test_equals_sharpen_nearest_blur(scale: int, alpha: float) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 11, 14, dtype=torch.float64)
    fast = magic_kernel_sharp_2021_upsample(x, scale, alpha)
    torch.testing.assert_close(fast, naive_upsample(x, scale, alpha), rtol=0, atol=1e-12)
    short = magic_kernel_sharp_2021_upsample(x.float(), scale, alpha)
    torch.testing.assert_close(short.double(), fast, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_adjoint_equals_libvips(scale: int) -> None:
    """Shrinking with a kernel is the transpose of enlarging with it, over s^2; libvips shrinks with mks2021."""
    pyvips = pytest.importorskip("pyvips")
    torch.manual_seed(scale)
    z = torch.rand(1, 1, 40 * scale, 33 * scale, dtype=torch.float64)
    x = torch.zeros(1, 1, 40, 33, dtype=torch.float64, requires_grad=True)
    (adjoint,) = torch.autograd.grad((magic_kernel_sharp_2021_upsample(x, scale) * z).sum(), x)
    image = pyvips.Image.new_from_array(z[0, 0].numpy()).cast("double")

    def distance(kernel: str) -> float:
        shrunk = torch.from_numpy(image.reduce(scale, scale, kernel=kernel).numpy()).double()
        return float((shrunk - adjoint[0, 0] / scale**2)[8:-8, 8:-8].abs().max())

    assert distance("mks2021") < 1e-12
    assert distance("mks2013") > 5e-3
    assert distance("cubic") > 5e-3


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("scale", SCALES)
def test_constant_stays_constant_everywhere(scale: int, dtype: torch.dtype) -> None:
    for value in (0.0, 0.37, 1.0, 255.0):
        x = torch.full((1, 2, 5, 8), value, dtype=dtype)
        y = magic_kernel_sharp_2021_upsample(x, scale, 1.3)
        assert y.dtype == dtype
        assert y.shape == (1, 2, 5 * scale, 8 * scale)
        assert float((y.double() - x.double().flatten()[0]).abs().max()) <= TOLERANCE[dtype] * max(value, 1.0)


@pytest.mark.parametrize("scale", SCALES)
def test_module_equals_function(scale: int) -> None:
    x = torch.rand(2, 3, 9, 8)
    module = MagicKernelSharp2021Upsample(scale, 0.7)
    assert torch.equal(module(x), magic_kernel_sharp_2021_upsample(x, scale, 0.7))
    assert torch.equal(MagicKernelSharp2021Upsample(scale, 0.0)(x), magic_kernel_sharp_2021_upsample(x, scale, 0.0))


def test_coefficients_are_constants() -> None:
    """Not trained, not saved, not rounded by a change of precision."""
    module = MagicKernelSharp2021Upsample(3, 1.1)
    assert not list(module.parameters())
    assert not module.state_dict()
    assert {name for name, _ in module.named_buffers()} == {"sharp_taps", "spline_phases"}
    x = torch.rand(1, 3, 12, 12, dtype=torch.float64)
    expected = magic_kernel_sharp_2021_upsample(x, 3, 1.1)
    assert torch.equal(module.double()(x), expected)
    assert torch.equal(module.half().float()(x.float()), magic_kernel_sharp_2021_upsample(x.float(), 3, 1.1))
    assert torch.equal(module.to_empty(device="cpu")(x.float()), magic_kernel_sharp_2021_upsample(x.float(), 3, 1.1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_types_are_computed_in_float32(dtype: torch.dtype) -> None:
    x = torch.rand(1, 3, 16, 16).to(dtype)
    exact = magic_kernel_sharp_2021_upsample(x.float(), 4)
    assert torch.equal(magic_kernel_sharp_2021_upsample(x, 4), exact.to(dtype))
    assert torch.equal(MagicKernelSharp2021Upsample(4).to(dtype)(x), exact.to(dtype))


def test_autocast_leaves_the_image_alone() -> None:
    x = torch.rand(1, 3, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = magic_kernel_sharp_2021_upsample(x, 2)
    assert torch.equal(y, magic_kernel_sharp_2021_upsample(x, 2))


@pytest.mark.parametrize("shape", [(2, 3, 9, 12), (1, 1, 1, 5)])
@pytest.mark.parametrize("scale", SCALES)
def test_shuffled_phases_are_the_image(scale: int, shape: tuple[int, ...]) -> None:
    for alpha, dtype in ((1.0, torch.float32), (0.0, torch.float64), (1.6, torch.float32)):
        x = torch.rand(shape, dtype=dtype)
        module = MagicKernelSharp2021Upsample(scale, alpha).to(dtype)
        with torch.autocast("cpu", torch.bfloat16):
            y = F.pixel_shuffle(module.phases(x), scale)
        tolerance = 1e-12 if dtype is torch.float64 else 2e-6
        torch.testing.assert_close(y, magic_kernel_sharp_2021_upsample(x, scale, alpha), rtol=0, atol=tolerance)


def test_scale_one_is_the_input() -> None:
    x = torch.rand(1, 3, 8, 8)
    assert magic_kernel_sharp_2021_upsample(x, 1, 2.0) is x


@pytest.mark.parametrize("scale", [2, 3])
def test_gradcheck(scale: int) -> None:
    x = torch.rand(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: magic_kernel_sharp_2021_upsample(t, scale, 0.8), x)


@settings(max_examples=25, deadline=None)
@given(
    scale=st.sampled_from([2, 3, 4, 8]),
    alpha=st.floats(0, 2),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    seed=st.integers(0, 1000),
)
def test_symmetries(scale: int, alpha: float, height: int, width: int, seed: int) -> None:
    """Commutes with flips and transposition, treats every image and channel alone, and is linear."""
    x = torch.rand(2, 2, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    y = magic_kernel_sharp_2021_upsample(x, scale, alpha)
    for turn in (
        lambda t: t.flip(2),
        lambda t: t.flip(3),
        lambda t: t.transpose(2, 3),
        lambda t: t.flip(0),
        lambda t: t.flip(1),
    ):
        torch.testing.assert_close(magic_kernel_sharp_2021_upsample(turn(x), scale, alpha), turn(y), rtol=0, atol=1e-12)
    torch.testing.assert_close(magic_kernel_sharp_2021_upsample(3 * x - 1, scale, alpha), 3 * y - 1, rtol=0, atol=1e-11)


def test_coefficients() -> None:
    assert sum(sharp_taps(1.0)) == pytest.approx(1, abs=1e-15)
    assert sharp_taps(1.0)[:4] == pytest.approx([-1 / 144, 6 / 144, -35 / 144, 204 / 144])
    assert sharp_taps(0.0) == (0, 0, 0, 1, 0, 0, 0)
    # x2: an output pixel lies a quarter of a pixel off centre, where the spline weighs 9/32, 22/32 and 1/32.
    assert spline_phases(2)[0] == pytest.approx([9 / 32, 22 / 32, 1 / 32])
    for scale in SCALES:
        for phase, mirrored in zip(spline_phases(scale), reversed(spline_phases(scale)), strict=True):
            assert sum(phase) == pytest.approx(1, abs=1e-15)
            assert phase == pytest.approx(mirrored[::-1], abs=1e-15)


@pytest.mark.parametrize("scale", [0, 5, 16, -2, 2.0, "2", True, None])
def test_rejects_scale(scale: object) -> None:
    with pytest.raises(ValueError, match="scale must be one of"):
        magic_kernel_sharp_2021_upsample(torch.rand(1, 3, 8, 8), scale)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("alpha", [-0.01, 2.01, float("nan"), float("inf"), "1", True])
def test_rejects_alpha(alpha: object) -> None:
    with pytest.raises(ValueError, match="alpha must be a number from 0"):
        MagicKernelSharp2021Upsample(2, alpha)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("x", [torch.rand(3, 8, 8), torch.rand(8, 8), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)])
def test_rejects_what_is_not_a_batch_of_images(x: Tensor) -> None:
    for call in (MagicKernelSharp2021Upsample(2), lambda t: magic_kernel_sharp_2021_upsample(t, 2)):
        with pytest.raises(ValueError, match=r"\(3, 8, 8\)|\(8, 8\)|uint8"):
            call(x)
