"""Networks whose detail path matters, so that a seam or a wrong weight shows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from paragon_plugin.nets.paragonsr2 import SIZES, build_paragonsr2
from paragon_plugin.nets.released import build_released


@pytest.fixture(scope="session")
def lively() -> Callable[..., nn.Module]:
    """Builds a size or a tier with random weights on its last convolution, which starts at zero."""

    def build(variant: str, scale: int = 2, **options: Any) -> nn.Module:
        torch.manual_seed(0)
        net = (build_paragonsr2 if variant in SIZES else build_released)(variant, scale=scale, **options).eval()
        torch.nn.init.normal_(net.conv_out.weight, std=0.3)
        return net

    return build


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    """A part of a photograph, (H, W, 3): smooth on one side, busy on the other."""
    import paragon_plugin

    paragon_plugin.install()
    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import sample_photo

    return np.ascontiguousarray(sample_photo("coffee")[120:280, 60:304])


@pytest.fixture
def checkpoint(tmp_path: Path, lively: Callable[..., nn.Module]) -> Path:
    """A nano network in BasicSR's layout, with a worse `params` beside the `params_ema`."""
    net = lively("nano")
    weights = net.state_dict()
    path = tmp_path / "net.pth"
    torch.save({"params": {k: torch.zeros_like(v) for k, v in weights.items()}, "params_ema": weights}, path)
    return path
