"""Tiles give the picture that the network gives at once."""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from paragon_plugin.inference import upscaling
from paragon_plugin.inference.images import Picture
from paragon_plugin.inference.reach import reach
from paragon_plugin.inference.tiling import spans
from paragon_plugin.inference.upscaling import Settings, passes, upscale_batch, upscale_picture
from paragon_plugin.nets.tier_attention import ChannelAttention

Build = Callable[..., nn.Module]
Photo = NDArray[np.uint8]
WHOLE = Settings(tile=10_000)


@given(st.integers(1, 700), st.integers(1, 300), st.integers(0, 100), st.sampled_from([1, 8, 16]))
def test_cores_cover_the_axis_once_and_boxes_surround_them(size: int, tile: int, halo: int, align: int) -> None:
    parts = spans(size, tile, halo, align)
    assert [i for p in parts for i in range(p.start, p.stop)] == list(range(size))
    for part in parts:
        assert part.stop - part.start <= max(tile, align)
        assert part.box_start % align == 0
        assert part.box_start == 0 or part.start - part.box_start >= halo
        assert part.box_stop == size or part.box_stop - part.stop >= halo


@pytest.mark.parametrize(
    ("variant", "attention"),
    [("nano", False), ("nano", True), ("micro", False), ("tiny", False), ("realtime", False), ("stream", False)],
)
def test_reach_bounds_what_an_output_pixel_depends_on(lively: Build, variant: str, attention: bool) -> None:
    net = (lively(variant, use_attention=True) if attention else lively(variant)).double()
    if hasattr(net, "content_gain"):
        net.content_gain = None  # pyright: ignore[reportArgumentType] (looks at the whole image; not what is measured)
    far = reach(net)
    side = 2 * far + 7
    x = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    middle = side // 2
    net(x)[0, :, 2 * middle, 2 * middle].sum().backward()
    assert x.grad is not None
    rows = x.grad[0].abs().sum((0, 2)).nonzero().flatten() - middle
    seen = int(rows.abs().max())
    assert seen <= far
    assert seen >= far - 6 - 7 * attention  # no margin to speak of is wasted (windows: 7 pixels at most)


@pytest.mark.parametrize(
    ("variant", "scale", "options"),
    [
        ("nano", 2, {}),
        ("micro", 1, {}),
        ("tiny", 3, {"use_learnable_magic_kernel": True}),
        ("nano", 4, {"use_attention": True}),
        ("realtime", 2, {}),
    ],
)
def test_tiled_equals_whole(lively: Build, photo: Photo, variant: str, scale: int, options: dict[str, Any]) -> None:
    net = lively(variant, scale, **options)
    batch = photo.transpose(2, 0, 1)[None].astype(np.uint16) * 257
    whole = upscale_batch(net, scale, batch, WHOLE)
    tiled = upscale_batch(net, scale, batch, Settings(tile=64))
    assert np.abs(tiled.astype(int) - whole.astype(int)).max() <= 1  # of 65,535: rounding


def test_a_network_that_looks_past_the_widest_margin(
    lively: Build, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """xs reaches 26 pixels; a margin of 12 must already be enough, on weights that carry further than trained ones."""
    net = lively("xs")
    for name, parameter in net.named_parameters():
        if name.startswith("body") and name.endswith("weight"):
            parameter.data.mul_(1.3)
    monkeypatch.setattr(upscaling, "MAX_HALO", 12)
    batch = photo.transpose(2, 0, 1)[None].astype(np.uint16) * 257
    difference = np.abs(
        upscale_batch(net, 2, batch, Settings(tile=64)).astype(int) - upscale_batch(net, 2, batch, WHOLE)
    )
    assert difference.max() <= 2


@pytest.fixture
def modulated(lively: Build) -> nn.Module:
    """tiny with attention and, as in tier pro, with squeeze and excite that answers strongly to the means."""
    net = lively("tiny", use_attention=True)
    torch.manual_seed(1)
    modulation = ChannelAttention(16)
    modulation.fc[0].weight.data.mul_(100)  # pyright: ignore
    modulation.fc[2].weight.data.mul_(8)  # pyright: ignore
    net.body.append(modulation)  # pyright: ignore
    return net


def test_squeeze_and_excite_sees_the_whole_image(
    modulated: nn.Module, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the tiles' own means the seams are many times stronger than what is left of them."""
    batch = photo.transpose(2, 0, 1)[None].astype(np.uint16) * 257
    whole = upscale_batch(modulated, 2, batch, WHOLE).astype(int)

    def difference() -> int:
        return np.abs(upscale_batch(modulated, 2, batch, Settings(tile=64)) - whole).max()

    ours = difference()
    monkeypatch.setattr(upscaling, "means_of", lambda *_: contextlib.nullcontext())
    with_tile_means = difference()
    assert with_tile_means > 257  # more than an 8-bit step: the test can fail
    assert ours * 8 < with_tile_means


def test_hooks_are_gone_afterwards(lively: Build, photo: Photo) -> None:
    net = lively("nano")
    batch = photo.transpose(2, 0, 1)[None]
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        before = net(x)
        upscale_batch(net, 2, batch, Settings(tile=64))
        assert torch.equal(net(x), before)


def test_images_smaller_than_the_network_takes(lively: Build) -> None:
    batch = np.full((1, 3, 3, 5), 200, np.uint8)
    assert upscale_batch(lively("nano"), 2, batch, WHOLE).shape == (1, 3, 6, 10)


def test_progress_is_announced(lively: Build, modulated: nn.Module, photo: Photo) -> None:
    for net in (lively("nano"), modulated):
        steps: list[int] = []
        settings = Settings(tile=128, progress=steps.append)
        picture = Picture(photo[:40])
        upscale_picture(net, 2, picture, settings)
        assert len(steps) == passes(net, picture, settings) > 1


def test_half_precision_falls_back_where_it_overflows(lively: Build, photo: Photo) -> None:
    net = lively("nano")
    batch = photo[:64, :64].transpose(2, 0, 1)[None]
    full = upscale_batch(net, 2, batch, WHOLE).astype(int)
    half = upscale_batch(net, 2, batch, Settings(half=True)).astype(int)
    assert np.abs(half - full).sum() > 0
    assert np.abs(half - full).max() <= 1
    net.conv_in.weight.data *= 1e6  # pyright: ignore
    net.conv_out.weight.data *= 1e-6  # pyright: ignore
    overflowing = upscale_batch(net, 2, batch, Settings(half=True))
    assert np.array_equal(overflowing, upscale_batch(net, 2, batch, WHOLE))
