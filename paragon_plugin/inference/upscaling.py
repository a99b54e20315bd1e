"""Upscales a picture of any size within bounded memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..nets.option_checks import MIN_SIDE
from ..ops.magic_kernel import MagicKernelSharp2021Upsample
from .hidden_colours import hidden_colours_filled
from .images import Picture
from .reach import alignment, reach
from .tiling import Tile, tiles
from .whole_image import content_gain_of, has_means, means_of

MAX_HALO = 48
"""Largest margin of a tile in pixels. The sizes from s up can reach further, but hardly use it: 16 pixels were as good
(tests/inference/test_tiling.py)."""

TILE = 256
"""Default side of a tile's core in pixels of the input."""


@dataclass(frozen=True)
class Settings:
    """How to compute."""

    device: torch.device | str = "cpu"
    """Device of the computation."""
    tile: int = TILE
    """Side of the part that is computed at once, in pixels of the input, without the margin. An image of at most this
    height and width is computed whole."""
    half: bool = False
    """Whether the convolutions of the network run in half precision. The classical upscale stays in float32."""
    progress: Callable[[int], Any] = lambda _: None
    """Called with 1 for each pass over a tile. `passes` gives the number of calls in advance."""


def passes(net: nn.Module, picture: Picture, settings: Settings) -> int:
    """Number of calls of `settings.progress` for a picture."""
    height, width = picture.colour.shape[:2]
    count = len(_tiles(net, max(height, MIN_SIDE), max(width, MIN_SIDE), settings.tile))
    return count * 2 if count > 1 and has_means(net) else count


def upscale_picture(net: nn.Module, scale: int, picture: Picture, settings: Settings) -> Picture:
    """Enlarge a picture: colours by the network, alpha by Magic Kernel Sharp 2021.

    A network of three channels gets a grey picture as three equal channels, and the result is grey again. A network of
    one channel computes each channel of a picture separately.

    The colours of fully transparent pixels are invisible and often black. Each is replaced by the colour of the nearest
    visible pixel, so that it does not bleed into the edge.

    Args:
        net: A network in evaluation mode, on `settings.device`, with the attribute `in_chans` 1 or 3.
        scale: Enlargement of the network.
        picture: The picture.
        settings: How to compute.

    Raises:
        ValueError: `in_chans` is neither 1 nor 3.
    """
    channels = getattr(net, "in_chans", 3)
    if channels not in (1, 3):
        raise ValueError(f"takes images of {channels} channels; pictures have 1 or 3")
    colour = picture.colour if picture.alpha is None else hidden_colours_filled(picture.colour, picture.alpha)
    grey = colour.shape[2] == 1
    batch = colour.transpose(2, 0, 1)[None]
    if channels == 1:
        batch = batch.swapaxes(0, 1)
    elif grey:
        batch = np.broadcast_to(batch, (1, 3, *batch.shape[2:]))
    out = upscale_batch(net, scale, batch, settings)
    if channels == 1:
        out = out.swapaxes(0, 1)
    elif grey:
        out = np.rint(out.mean(1, keepdims=True)).astype(out.dtype)
    alpha = None
    if picture.alpha is not None:
        kernel = MagicKernelSharp2021Upsample(scale).to(settings.device)
        alpha = upscale_batch(kernel, scale, picture.alpha[None, None], Settings(settings.device, settings.tile))[0, 0]
    return Picture(np.ascontiguousarray(out[0].transpose(1, 2, 0)), alpha, picture.icc_profile, picture.exif)


def upscale_batch(net: nn.Module, scale: int, batch: NDArray[Any], settings: Settings) -> NDArray[Any]:
    """Enlarge images (B, C, H, W) of uint8 or uint16 tile by tile.

    Returns:
        Images (B, C, s H, s W) of the same type, rounded and clipped.
    """
    height, width = batch.shape[2:]
    short = (max(MIN_SIDE - height, 0), max(MIN_SIDE - width, 0))
    batch = np.pad(batch, ((0, 0), (0, 0), (0, short[0]), (0, short[1])), mode="edge")
    peak = np.iinfo(batch.dtype).max
    out = np.empty((*batch.shape[:2], batch.shape[2] * scale, batch.shape[3] * scale), batch.dtype)
    plan = _tiles(net, batch.shape[2], batch.shape[3], settings.tile)

    def load(rows: slice, columns: slice) -> Tensor:
        part = np.ascontiguousarray(batch[:, :, rows, columns], dtype=np.float32)
        return torch.from_numpy(part).to(settings.device).div_(peak)

    def run(tile: Tile) -> Tensor:
        result = _run(net, load(*tile.box), settings)
        settings.progress(1)
        return result

    with torch.inference_mode(), contextlib.ExitStack() as stack:
        if len(plan) > 1:
            stack.enter_context(content_gain_of(net, load(slice(None), slice(None))))
            stack.enter_context(means_of(net, plan, run))
        for tile in plan:
            rows, columns = tile.core_in_box(scale)
            core = run(tile)[:, :, rows, columns].clamp(0, 1).mul(peak).round()
            out[(slice(None), slice(None), *tile.core(scale))] = core.cpu().numpy()
    return out[:, :, : height * scale, : width * scale]


def _run(net: nn.Module, part: Tensor, settings: Settings) -> Tensor:
    if settings.half:
        with torch.autocast(part.device.type, torch.float16):
            result = net(part).float()
        if result.isfinite().all():
            return result
        # After an overflow of half precision the part is computed again without it.
    return net(part)


def _tiles(net: nn.Module, height: int, width: int, tile: int) -> list[Tile]:
    return tiles(height, width, tile, min(reach(net), MAX_HALO), alignment(net))
