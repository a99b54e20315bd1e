"""The preset follows the built network, through any wrapper."""

from typing import cast

import pytest
import torch
from torch import nn


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("size", ["nano", "s"])
def test_paragonsr2_is_recognised_through_wrappers(size: str) -> None:
    from paragon_plugin.nets.paragonsr2 import build_paragonsr2
    from paragon_plugin.scheduling.network_size import detect_size

    net = build_paragonsr2(size, scale=2)
    compiled = cast(nn.Module, torch.compile(net))
    for wrapped in (net, nn.DataParallel(net), compiled, nn.DataParallel(compiled)):
        assert detect_size(wrapped)[0] == size


@pytest.mark.usefixtures("host")
def test_other_architectures_take_the_nearest_size() -> None:
    from basicsr.archs.srvgg_arch import SRVGGNetCompact

    from paragon_plugin.scheduling.network_size import detect_size
    from paragon_plugin.scheduling.presets import PARAMETERS

    net = SRVGGNetCompact(num_feat=64, num_conv=16, upscale=2)
    count = sum(p.numel() for p in net.parameters())
    size, reason = detect_size(net)
    ratios = {name: max(count / n, n / count) for name, n in PARAMETERS.items()}
    assert ratios[size] == min(ratios.values())
    assert f"SRVGGNetCompact has {count:,} trainable parameters" in reason


@pytest.mark.usefixtures("host")
def test_a_released_tier_is_named_and_takes_the_nearest_size() -> None:
    from paragon_plugin.nets.released import build_released
    from paragon_plugin.scheduling.network_size import detect_size

    size, reason = detect_size(build_released("realtime", scale=2))
    assert size == "micro"
    assert reason == "paragonsr2_realtime has 16,708 trainable parameters, the nearest size is paragonsr2_micro"


def test_the_recorded_counts_are_those_of_the_networks() -> None:
    from paragon_plugin.nets.paragonsr2 import SIZES, build_paragonsr2
    from paragon_plugin.scheduling.network_size import trainable_parameters
    from paragon_plugin.scheduling.presets import PARAMETERS

    with torch.device("meta"):
        assert {size: trainable_parameters(build_paragonsr2(size, scale=2)) for size in SIZES} == PARAMETERS


def test_a_number_of_parameters_stands_for_the_nearest_size() -> None:
    from paragon_plugin.scheduling import DynamicLossScheduler, LossInfo
    from paragon_plugin.scheduling.options import parse_dynamic_loss_scheduling

    block = parse_dynamic_loss_scheduling({"enabled": True, "auto_calibrate": True})
    losses = [LossInfo("a", "pixel", 1.0), LossInfo("b", "perceptual", 1.0)]
    by_name, by_count = (
        DynamicLossScheduler(losses, block, total_iter=10**6, size=size).parameters(1) for size in ("xs", 100_000)
    )
    assert by_name == by_count
