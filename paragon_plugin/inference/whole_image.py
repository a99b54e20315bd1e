"""Gives every tile the same values of the parts that use the whole image.

Two parts of ParagonSR2 use the whole image. The content gain (an option of the sizes) follows from the input alone.
Channel attention (tier pro) takes means of features. If each tile had its own values, every seam would be visible as a
step.

- The content gain is computed once, from the whole input. This is exact.
- The means are collected in a first pass over the tiles. In a second pass every tile gets them. This has one
  approximation: in the first pass the features of a tile depend on the tile's own means in earlier layers.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..nets.content_gain import ContentGain
from ..nets.tier_attention import ChannelAttention
from .tiling import Tile


def has_means(net: nn.Module) -> bool:
    """Whether the network takes means over the whole image. Tiles then need a first pass."""
    return bool(_attentions(net))


def _attentions(net: nn.Module) -> list[ChannelAttention]:
    return [module for module in net.modules() if isinstance(module, ChannelAttention)]


@contextlib.contextmanager
def content_gain_of(net: nn.Module, image: Tensor) -> Iterator[None]:
    """Within the `with` block every tile gets the content gain of `image`, the whole input (B, C, H, W)."""
    with contextlib.ExitStack() as stack:
        for module in net.modules():
            if isinstance(module, ContentGain):
                gain = module(image)
                handle = module.register_forward_hook(lambda *_, gain=gain: gain)
                stack.callback(handle.remove)
        yield


@contextlib.contextmanager
def means_of(net: nn.Module, tiles: Sequence[Tile], run: Callable[[Tile], Any]) -> Iterator[None]:
    """Within the `with` block every tile gets the means of the whole image.

    Args:
        net: The network.
        tiles: The tiles of the image. Their cores cover it once.
        run: Runs the network on the box of a tile. It is not called if the network takes no means.
    """
    attentions = _attentions(net)
    if not attentions:
        yield
        return
    means = _collect(attentions, tiles, run)
    with contextlib.ExitStack() as stack:
        for attention in attentions:
            # The input of the first layer after the mean.
            stack.callback(attention.fc.register_forward_pre_hook(_giving(means[attention])).remove)
        yield


def _giving(mean: Tensor) -> Callable[[nn.Module, tuple[Tensor]], Tensor]:
    def replace(_: nn.Module, args: tuple[Tensor]) -> Tensor:
        return mean.reshape(args[0].shape).to(args[0].dtype)

    return replace


def _collect(
    attentions: Sequence[nn.Module], tiles: Sequence[Tile], run: Callable[[Tile], Any]
) -> dict[nn.Module, Tensor]:
    sums: dict[nn.Module, Tensor] = {}
    pixels = 0
    rows = columns = slice(None)

    def record(module: nn.Module, args: tuple[Tensor]) -> None:
        core = args[0][:, :, rows, columns]
        total = core.sum((2, 3), keepdim=True, dtype=torch.promote_types(core.dtype, torch.float32))
        sums[module] = sums[module] + total if module in sums else total

    with contextlib.ExitStack() as stack:
        for attention in attentions:
            stack.callback(attention.register_forward_pre_hook(record).remove)
        for tile in tiles:
            rows, columns = tile.core_in_box()
            run(tile)
            pixels += (rows.stop - rows.start) * (columns.stop - columns.start)
    return {module: total / pixels for module, total in sums.items()}
