"""The eight names in the host's registry: built from an option block as the host builds them, and run."""

import pytest
import torch

NAMES = [f"paragonsr2_{size}" for size in ("nano", "micro", "tiny", "xs", "s", "m", "l", "xl")]


@pytest.fixture(autouse=True)
def _host(host: None) -> None:
    pass


EVERY = [
    pytest.param(name, scale, marks=[pytest.mark.slow] if name[-2:] in ("_l", "xl") and scale != 2 else [])
    for name in NAMES
    for scale in (1, 2, 3, 4, 8)
]


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_every_name_builds_and_runs_at_every_scale(name: str, scale: int) -> None:
    """8 x 8 and 37 x 53, batch 3 and 1; each image's result is its own."""
    from basicsr.utils.registry import ARCH_REGISTRY

    torch.manual_seed(0)
    net = ARCH_REGISTRY.get(name)(scale=scale).eval()
    torch.nn.init.normal_(net.conv_out.weight, std=0.1)  # as if trained: it starts at zero
    with torch.no_grad():
        for height, width in ((8, 8), (37, 53)):
            x = torch.rand(3, 3, height, width)
            y = net(x)
            assert y.shape == (3, 3, scale * height, scale * width)
            assert torch.isfinite(y).all()
            assert not torch.equal(y, net.base(x))
            assert torch.allclose(net(x[1:2]), y[1:2], atol=1e-4)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_a_constant_image_stays_constant_through_the_base_borders_included(scale: int) -> None:
    from basicsr.archs import build_network

    net = build_network({"type": "paragonsr2_nano", "scale": scale, "upsampler_alpha": 1.0})
    for size in ((8, 8), (37, 53)):
        for value in (0.0, 0.25, 1.0):
            x = torch.full((1, 3, *size), value)
            assert (net.base(x) - value).abs().max() < 1e-6


def test_an_unknown_option_is_refused_with_the_list() -> None:
    from basicsr.archs import build_network

    with pytest.raises(ValueError, match=r"unknown option 'use_attentoin'.*did you mean 'use_attention'.*in_chans"):
        build_network({"type": "paragonsr2_s", "scale": 2, "use_attentoin": True})
