"""The preset follows the built network, through any wrapper."""

from typing import cast

import pytest
import torch
from torch import nn


@pytest.mark.parametrize("size", ["nano", "s"])
def test_paragonsr2_is_recognised_through_wrappers(host: None, size: str) -> None:
    from paragon_plugin.hosts.basicsr.models.size_detection import detect_size
    from paragon_plugin.nets.paragonsr2 import build_paragonsr2

    net = build_paragonsr2(size, scale=2)
    compiled = cast(nn.Module, torch.compile(net))
    for wrapped in (net, nn.DataParallel(net), compiled, nn.DataParallel(compiled)):
        assert detect_size(wrapped)[0] == size


def test_other_architectures_take_the_nearest_size(host: None) -> None:
    from basicsr.archs.srvgg_arch import SRVGGNetCompact

    from paragon_plugin.hosts.basicsr.models.size_detection import detect_size, size_table

    net = SRVGGNetCompact(num_feat=64, num_conv=16, upscale=2)
    count = sum(p.numel() for p in net.parameters())
    size, reason = detect_size(net)
    ratios = {name: max(count / n, n / count) for name, n in size_table().items()}
    assert ratios[size] == min(ratios.values())
    assert f"SRVGGNetCompact has {count:,} trainable parameters" in reason


def test_a_released_tier_is_named_and_takes_the_nearest_size(host: None) -> None:
    from paragon_plugin.hosts.basicsr.models.size_detection import detect_size
    from paragon_plugin.nets.released import build_released

    size, reason = detect_size(build_released("realtime", scale=2))
    assert size == "micro"
    assert reason == "paragonsr2_realtime has 16,708 trainable parameters, the nearest size is paragonsr2_micro"
