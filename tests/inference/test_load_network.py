"""A network comes back from its file alone, or the file is refused in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from paragon_plugin.inference.load_network import load_network
from paragon_plugin.resilience.checkpoints import CheckpointError, network_metadata

Build = Callable[..., nn.Module]
X = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(0))


def output(net: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return net(X)


@pytest.mark.parametrize(
    ("variant", "scale", "options"),
    [("nano", 2, {}), ("tiny", 4, {"use_attention": True}), ("xs", 1, {}), ("realtime", 2, {}), ("stream", 3, {})],
)
def test_detected_from_the_weights_alone(
    lively: Build, tmp_path: Path, variant: str, scale: int, options: dict[str, Any]
) -> None:
    net = lively(variant, scale, **options)
    file = tmp_path / "a.safetensors"
    save_file(net.state_dict(), file)
    loaded = load_network(file)
    assert (loaded.name, loaded.scale, loaded.in_chans) == (f"paragonsr2_{variant}", scale, 3)
    assert not loaded.net.training
    assert torch.equal(output(loaded.net), output(net))


def test_params_ema_is_preferred(checkpoint: Path) -> None:
    assert output(load_network(checkpoint).net).std() > 0.01
    assert load_network(checkpoint).net.state_dict()["conv_out.weight"].std() > 0.1


def test_metadata_wins_over_detection(lively: Build, tmp_path: Path) -> None:
    """`upsampler_alpha` leaves no trace in the weights: only the description can tell it."""
    net = lively("nano", 2, upsampler_alpha=0.3)
    file = tmp_path / "a.pth"
    torch.save({"params": net.state_dict()}, file)
    assert not torch.allclose(output(load_network(file).net), output(net), atol=1e-3)
    metadata = network_metadata({"type": "paragonsr2_nano"}, net, 2).plain()
    torch.save({"params": net.state_dict(), "paragon": metadata}, file)
    assert torch.equal(output(load_network(file).net), output(net))


GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"


@pytest.mark.parametrize("tier", ["realtime", "stream", "photo", "pro"])
def test_a_released_checkpoint_gives_its_released_image(tmp_path: Path, tier: str) -> None:
    golden = GOLDEN / f"paragonsr2_{tier}_x2.safetensors"
    if not golden.is_file():
        pytest.skip("needs the golden checkpoints in ../shared/golden, which are not part of the project")
    tensors = load_file(golden)
    weights = {k.removeprefix("checkpoint."): v for k, v in tensors.items() if k.startswith("checkpoint.")}
    torch.save({"params": weights}, tmp_path / "a.pth")
    loaded = load_network(tmp_path / "a.pth")
    with torch.no_grad():
        assert torch.allclose(loaded.net(tensors["input"]), tensors["output"], atol=1e-4)


def _without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda state: state["params"].pop(key)


def _meta(**change: Any) -> Callable[[dict[str, Any]], None]:
    description = {"type": "paragonsr2_nano", "scale": 2, "options": {}, **change}
    return lambda state: state.update(paragon=description)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without("conv_in.bias"), "is not of a ParagonSR2 network"),
        (lambda s: s["params"].update(extra=torch.ones(1)), "is not of a ParagonSR2 network"),
        (lambda s: s["params"]["conv_in.bias"].fill_(torch.nan), "conv_in.bias holds NaN"),
        (_meta(type="RRDBNet"), "it holds RRDBNet; known are"),
        (_meta(scale=4), "does not fit paragonsr2_nano x4: conv_out"),
        (_meta(scale=None), "scale must be one of"),
        (_meta(options={"in_chans": 10**9}), "does not fit paragonsr2_nano x2"),
        (_meta(options={"scale": 2}), "is not of a ParagonSR2 network"),
        (_meta(options={"atention": True}), "unknown option 'atention'"),
        (_meta(type="paragonsr2_xl"), "paragonsr2_xl x2"),
    ],
)
def test_what_does_not_fit_is_refused(
    lively: Build, tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    state: dict[str, Any] = {"params": dict(lively("nano").state_dict())}
    change(state)
    file = tmp_path / "a.pth"
    torch.save(state, file)
    with pytest.raises(CheckpointError, match=message) as error:
        load_network(file)
    assert "\n" not in str(error.value)
    assert "a.pth: " in str(error.value)


@pytest.mark.parametrize("described", [False, True])
def test_a_size_of_version_0_1_is_refused_by_its_version(tmp_path: Path, described: bool) -> None:
    names = ("conv_in.weight", "conv_out.weight", "gain", "body.0.blocks.0.context.row.gamma")
    state: dict[str, Any] = {"params": {name: torch.zeros(12, 3, 3, 3) for name in names}}
    if described:
        state["paragon"] = {"type": "paragonsr2_nano", "scale": 2, "options": {"use_content_aware": True}}
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth: .* version 0\.1") as error:
        load_network(tmp_path / "a.pth")
    assert "\n" not in str(error.value)
