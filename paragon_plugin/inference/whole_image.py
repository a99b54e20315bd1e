"""What a network takes from the image as a whole, made the same for every tile.

Two parts of ParagonSR2 look at all of an image: the content gain, which follows from the input alone, and squeeze and
excite (sizes m, l and xl, tier pro), which takes means of features. Computed per tile, both would step at every seam.

- The content gain is computed once, from the whole input: exact.
- The means are collected in a first pass over the tiles, then given to every tile in a second. In the first, a tile's
  features still follow from the tile's own means further up the network, which is the one approximation.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..nets.content_gain import ContentGain
from ..nets.layers import ChannelModulation
from ..nets.tier_attention import ChannelAttention
from .tiling import Tile


def has_means(net: nn.Module) -> bool:
    """Whether the network takes means over the whole image, so that tiles need a first pass."""
    return bool(_modulations(net))


def _modulations(net: nn.Module) -> list[ChannelModulation | ChannelAttention]:
    return [module for module in net.modules() if isinstance(module, ChannelModulation | ChannelAttention)]


def _mean_reader(modulation: ChannelModulation | ChannelAttention) -> nn.Module:
    """The layer whose input is the mean."""
    return modulation.squeeze if isinstance(modulation, ChannelModulation) else modulation.fc


@contextlib.contextmanager
def content_gain_of(net: nn.Module, image: Tensor) -> Iterator[None]:
    """Within the block every tile gets the content gain of `image`, the whole input (B, C, H, W)."""
    with contextlib.ExitStack() as stack:
        for module in net.modules():
            if isinstance(module, ContentGain):
                gain = module(image)
                handle = module.register_forward_hook(lambda *_, gain=gain: gain)
                stack.callback(handle.remove)
        yield


@contextlib.contextmanager
def means_of(net: nn.Module, tiles: Sequence[Tile], run: Callable[[Tile], Any]) -> Iterator[None]:
    """Within the block every tile gets the whole image's means.

    Args:
        net: the network.
        tiles: of the image; their cores cover it once.
        run: runs the network on a tile's box; not called where the network takes no means.
    """
    modulations = _modulations(net)
    if not modulations:
        yield
        return
    means = _collect(modulations, tiles, run)
    with contextlib.ExitStack() as stack:
        for modulation in modulations:
            reader = _mean_reader(modulation)
            stack.callback(reader.register_forward_pre_hook(_giving(means[modulation])).remove)
        yield


def _giving(mean: Tensor) -> Callable[[nn.Module, tuple[Tensor]], Tensor]:
    def replace(_: nn.Module, args: tuple[Tensor]) -> Tensor:
        return mean.reshape(args[0].shape).to(args[0].dtype)

    return replace


def _collect(
    modulations: Sequence[nn.Module], tiles: Sequence[Tile], run: Callable[[Tile], Any]
) -> dict[nn.Module, Tensor]:
    sums: dict[nn.Module, Tensor] = {}
    pixels = 0
    rows = columns = slice(None)

    def record(module: nn.Module, args: tuple[Tensor]) -> None:
        core = args[0][:, :, rows, columns]
        total = core.sum((2, 3), keepdim=True, dtype=torch.promote_types(core.dtype, torch.float32))
        sums[module] = sums[module] + total if module in sums else total

    with contextlib.ExitStack() as stack:
        for modulation in modulations:
            stack.callback(modulation.register_forward_pre_hook(record).remove)
        for tile in tiles:
            rows, columns = tile.core_in_box()
            run(tile)
            pixels += (rows.stop - rows.start) * (columns.stop - columns.start)
    return {module: total / pixels for module, total in sums.items()}
