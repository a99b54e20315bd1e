"""Networks of other people: what spandrel builds, `load_network` builds, and `upscale` gives what spandrel gives."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from paragon_plugin.inference.images import Picture
from paragon_plugin.inference.load_network import load_network
from paragon_plugin.inference.upscaling import Settings, upscale_picture
from paragon_plugin.resilience.checkpoints import CheckpointError

spandrel = pytest.importorskip("spandrel", reason="needs the extra spandrel")
from spandrel.architectures.Compact import Compact  # noqa: E402
from spandrel.architectures.DAT import DAT  # noqa: E402
from spandrel.architectures.ESRGAN import ESRGAN  # noqa: E402
from spandrel.architectures.HAT import HAT  # noqa: E402
from spandrel.architectures.PLKSR import RealPLKSR  # noqa: E402
from spandrel.architectures.RGT import RGT  # noqa: E402
from spandrel.architectures.SPAN import SPAN  # noqa: E402
from spandrel.architectures.SwinIR import SwinIR  # noqa: E402

BUILD: dict[str, Callable[[], nn.Module]] = {
    "RealESRGAN Compact": lambda: Compact(num_feat=16, num_conv=2, upscale=2),
    "ESRGAN": lambda: ESRGAN(num_filters=8, num_blocks=1, scale=4),
    "SPAN": lambda: SPAN(num_in_ch=3, num_out_ch=3, feature_channels=16, upscale=2),
    "RealPLKSR": lambda: RealPLKSR(dim=16, n_blocks=2, upscaling_factor=2),
    "SwinIR": lambda: SwinIR(
        depths=[2], embed_dim=12, num_heads=[2], window_size=8, upscale=2, upsampler="pixelshuffle"
    ),
    "DAT": lambda: DAT(embed_dim=32, split_size=[2, 4], depth=[2], num_heads=[2], upscale=2),
    "HAT": lambda: HAT(depths=[2], embed_dim=60, num_heads=[2], window_size=8, upscale=2, upsampler="pixelshuffle"),
    "RGT": lambda: RGT(embed_dim=12, depth=[2], num_heads=[2], split_size=[8, 8], upscale=2),
}


@pytest.mark.parametrize("name", BUILD)
def test_upscales_as_spandrel_does(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = tmp_path / "theirs.pth"
    torch.save({"params": BUILD[name]().state_dict()}, file)
    loaded = load_network(file)
    theirs = spandrel.ModelLoader().load_from_file(str(file)).eval()
    assert (loaded.name, loaded.scale, loaded.in_chans) == (theirs.architecture.name, theirs.scale, 3)
    pixels = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    ours = upscale_picture(loaded.net, loaded.scale, Picture(pixels), Settings())
    image = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255)
    expected = (theirs(image)[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    off = np.abs(ours.colour.astype(int) - expected)
    assert off.max() <= 1  # where a value lies between two steps, the order of a sum tips it
    assert (off > 0).mean() < 1e-3


def test_a_network_that_nobody_knows_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    torch.save({"params": nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 3, 3)).state_dict()}, file)
    with pytest.raises(CheckpointError, match=r"not of a ParagonSR2 network.*nor is it of a network that spandrel"):
        load_network(file)


def test_weights_with_nan_are_refused(tmp_path: Path) -> None:
    state = BUILD["SPAN"]().state_dict()
    state["conv_1.eval_conv.weight"][0] = float("nan")
    torch.save({"params": state}, tmp_path / "nan.pth")
    with pytest.raises(CheckpointError, match="holds NaN"):
        load_network(tmp_path / "nan.pth")
