"""The four tier names in the host's registry: built, loaded and trained as the host does it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

TIERS = ("realtime", "stream", "photo", "pro")


@pytest.fixture(autouse=True)
def _host(host: None) -> None:
    pass


def model_of(file: Path, folder: Path, model_type: str) -> Any:
    """The host's model of an option file, its networks built and loaded."""
    from basicsr.models import build_model

    options = yaml.safe_load(file.read_text())
    options |= {"model_type": model_type, "is_train": True, "dist": False, "rank": 0, "world_size": 1, "num_gpu": 0}
    options["path"] = {**(options.get("path") or {}), "experiments_root": str(folder), "models": str(folder)}
    options["train"].pop("losses", None)
    options["train"].pop("dynamic_loss_scheduling", None)
    options["train"]["pixel_opt"] = {"type": "L1Loss", "loss_weight": 1.0}
    return build_model(options)


def released(tier: str) -> Any:
    """A network as released: random weights, the released base, which a fresh network does not have."""
    from paragon_plugin.nets.released import build_released

    torch.manual_seed(1)
    return build_released(tier, scale=2, base="released", detail_gain=1.0).eval()


@pytest.mark.parametrize("tier", TIERS)
def test_option_file_loads_a_released_checkpoint(tier: str, short_options: Callable[..., Path], tmp_path: Path) -> None:
    """`network_g: {type, scale}` and `path: {pretrain_network_g}`: stock model, strict, EMA too, the same image."""
    net, x = released(tier), torch.rand(1, 3, 19, 33)
    torch.save({"params_ema": net.state_dict()}, tmp_path / "released.pth")
    options = short_options(
        network_g={"type": f"paragonsr2_{tier}", "scale": 2},
        path={"pretrain_network_g": str(tmp_path / "released.pth"), "strict_load_g": True, "param_key_g": "params_ema"},
        train__ema_decay=0.9,
    )
    model = model_of(options, tmp_path, "SRModel")
    for loaded in (model.net_g, model.net_g_ema):
        assert loaded.state_dict().keys() == net.state_dict().keys()
        with torch.no_grad():
            assert torch.equal(loaded(x), net(x))


def test_fine_tuned_checkpoint_has_the_released_layout(short_options: Callable[..., Path], tmp_path: Path) -> None:
    """One step in the stock model: its file loads into the released network again, taps unchanged."""
    state = released("realtime").state_dict()
    torch.save({"params": state}, tmp_path / "released.pth")
    options = short_options(
        network_g={"type": "paragonsr2_realtime", "scale": 2},
        path={"pretrain_network_g": str(tmp_path / "released.pth")},
        train__ema_decay=0.9,
    )
    model = model_of(options, tmp_path, "SRModel")
    model.feed_data({"lq": torch.rand(2, 3, 16, 16), "gt": torch.rand(2, 3, 32, 32)})
    model.optimize_parameters(1)
    model.save_network([model.net_g, model.net_g_ema], "net_g", 1, ["params", "params_ema"])
    for saved in torch.load(tmp_path / "net_g_1.pth", weights_only=True).values():
        assert saved.keys() == state.keys()
        assert all(torch.equal(saved[key], state[key]) == key.startswith("base.") for key in state)


def test_training_from_scratch_is_resumed_on_its_own_base(short_options: Callable[..., Path], tmp_path: Path) -> None:
    block = {"network_g": {"type": "paragonsr2_realtime", "scale": 2}}
    first = model_of(short_options(**block), tmp_path, "SRModel")
    first.save_network(first.net_g, "net_g", 1)
    again = model_of(
        short_options(**block, path={"pretrain_network_g": str(tmp_path / "net_g_1.pth")}), tmp_path, "SRModel"
    )
    x = torch.rand(1, 3, 9, 12)
    assert torch.equal(again.net_g(x), first.net_g(x))
    flat = torch.full((1, 3, 8, 8), 0.3)
    assert float((again.net_g.base(flat) - 0.3).abs().max()) < 1e-6


def test_an_unknown_option_is_refused_with_the_list() -> None:
    from basicsr.archs import build_network

    with pytest.raises(ValueError, match=r"unknown option 'widow_size'.*did you mean 'window_size'.*in_chans"):
        build_network({"type": "paragonsr2_photo", "scale": 2, "widow_size": 8})
