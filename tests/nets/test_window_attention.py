"""Batched, masked window attention against attention computed window by window."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from paragon_plugin.nets.attention import ChannelRMSNorm, WindowAttention


def window_by_window(layer: WindowAttention, x: Tensor) -> Tensor:
    """Loop over images, windows and heads; a window is cut off where the image ends."""
    out = x.clone()
    batch, channels, height, width = x.shape
    depth = channels // layer.heads
    for image in range(batch):
        for top in range(-layer.lead, height, layer.window):
            for left in range(-layer.lead, width, layer.window):
                rows = slice(max(top, 0), min(top + layer.window, height))
                columns = slice(max(left, 0), min(left + layer.window, width))
                pixels = x[image, :, rows, columns]
                tokens = pixels.flatten(1).T
                normed = tokens / (tokens.square().mean(1, keepdim=True) + 1e-6).sqrt() * layer.norm.weight
                q, k, v = (normed @ layer.qkv.weight.T + layer.qkv.bias).split(channels, 1)
                heads = []
                for head in range(layer.heads):
                    part = slice(head * depth, (head + 1) * depth)
                    weights = torch.softmax(q[:, part] @ k[:, part].T / depth**0.5, 1)
                    heads.append(weights @ v[:, part])
                result = torch.cat(heads, 1) @ layer.proj.weight.T + layer.proj.bias
                out[image, :, rows, columns] = pixels + (layer.gamma * result).T.reshape(pixels.shape)
    return out


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 24), (9, 12), (13, 20), (37, 11)])
def test_equals_attention_window_by_window(height: int, width: int, shifted: bool) -> None:
    torch.manual_seed(0)
    layer = WindowAttention(12, heads=3, shifted=shifted, gamma=0.7).double()
    torch.nn.init.normal_(layer.norm.weight)
    x = torch.randn(2, 12, height, width, dtype=torch.float64)
    torch.testing.assert_close(layer(x), window_by_window(layer, x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shifted", [False, True])
def test_nothing_crosses_a_window(shifted: bool) -> None:
    """The gradient of one pixel stays in its window: no wrap-around, no leak through the padding."""
    torch.manual_seed(0)
    layer = WindowAttention(8, heads=2, shifted=shifted, gamma=1.0)
    x = torch.randn(1, 8, 19, 22, requires_grad=True)
    (slope,) = torch.autograd.grad(layer(x)[0, :, 18, 0].sum(), x)
    rows, columns = slope[0].abs().sum(0).nonzero().unbind(1)
    top, right = (12, 3) if shifted else (16, 7)
    assert (int(rows.min()), int(rows.max())) == (top, 18)
    assert (int(columns.min()), int(columns.max())) == (0, right)


def test_rms_norm_ignores_brightness() -> None:
    torch.manual_seed(0)
    norm = ChannelRMSNorm(16)
    x = torch.randn(4, 5, 16)
    torch.testing.assert_close(norm(100 * x), norm(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm(x).square().mean(-1), torch.ones(4, 5), rtol=1e-3, atol=1e-3)
    assert norm(x.bfloat16()).dtype == torch.bfloat16
