"""spandrel's own loader takes our files by their keys alone, and everybody else's as before."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spandrel
import torch
from safetensors.torch import save_file
from torch import nn

from paragon_plugin.inference.spandrel_support import ARCHITECTURE_ID, install
from paragon_plugin.nets.paragonsr2 import SIZES, build_paragonsr2
from paragon_plugin.nets.released import TIERS, build_released

Build = Callable[..., nn.Module]
STOCK = spandrel.MAIN_REGISTRY.copy()
"""spandrel's architectures as they come: taken before any test installs ours."""


@pytest.fixture
def registry() -> spandrel.ArchRegistry:
    """A registry like the one every loader uses, which the other tests do not see."""
    own = STOCK.copy()
    install(own)
    return own


@pytest.fixture
def load(registry: spandrel.ArchRegistry) -> Callable[[Path], Any]:
    return spandrel.ModelLoader(registry=registry).load_from_file


def image(channels: int = 3, side: int = 24) -> torch.Tensor:
    return torch.rand(1, channels, side, side + 3, generator=torch.Generator().manual_seed(0))


def expected(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """spandrel promises outputs in [0, 1]."""
    with torch.no_grad():
        return net(x).clamp(0, 1)


SMALL = [name for name, row in SIZES.items() if row.features <= 48]


@pytest.mark.parametrize("variant", [*SMALL, *TIERS])
@pytest.mark.parametrize("form", ["params", "params_ema", "safetensors"])
def test_a_file_alone_gives_the_networks_image(
    lively: Build, load: Callable[[Path], Any], tmp_path: Path, variant: str, form: str
) -> None:
    net = lively(variant, 2)
    weights = net.state_dict()
    if form == "safetensors":
        file = tmp_path / "net.safetensors"
        save_file(weights, file)
    else:
        file = tmp_path / "net.pth"
        state: dict[str, Any] = {"params": {k: torch.zeros_like(v) for k, v in weights.items()}} | {form: weights}
        torch.save(state | {"paragon": {"type": f"paragonsr2_{variant}", "scale": 2, "options": {}}}, file)
    model = load(file)
    assert isinstance(model, spandrel.ImageModelDescriptor)
    assert (model.architecture.id, model.scale, model.purpose) == (ARCHITECTURE_ID, 2, "SR")
    assert model.tags[0] == variant
    assert torch.equal(model(image()), expected(net, image()))


@pytest.mark.parametrize(
    ("variant", "scale", "options", "tags"),
    [
        ("nano", 1, {"use_content_aware": True}, {"nano", "use_content_aware"}),
        ("micro", 3, {"in_chans": 1, "use_content_aware": True}, {"micro", "use_content_aware"}),
        ("tiny", 4, {"use_attention": True}, {"tiny", "use_attention"}),
        ("nano", 8, {"use_learnable_magic_kernel": True}, {"use_learnable_magic_kernel"}),
        ("realtime", 4, {"base": "released"}, {"realtime"}),
        ("photo", 2, {"export_safe": True}, {"photo", "export_safe"}),
    ],
)
def test_scale_and_options_are_detected(
    lively: Build,
    load: Callable[[Path], Any],
    tmp_path: Path,
    variant: str,
    scale: int,
    options: dict[str, Any],
    tags: set[str],
) -> None:
    net = lively(variant, scale, **options)
    channels = options.get("in_chans", 3)
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    model = load(tmp_path / "net.safetensors")
    assert model.scale == scale
    assert model.purpose == ("Restoration" if scale == 1 else "SR")
    assert (model.input_channels, model.output_channels) == (channels, channels)
    assert tags <= set(model.tags)
    assert (model.tiling is spandrel.ModelTiling.DISCOURAGED) == ("use_content_aware" in tags)
    assert torch.equal(model(image(channels)), expected(net, image(channels)))


def test_an_image_smaller_than_the_least_is_padded(lively: Build, load: Callable[[Path], Any], tmp_path: Path) -> None:
    save_file(lively("nano", 2).state_dict(), tmp_path / "net.safetensors")
    assert load(tmp_path / "net.safetensors")(torch.rand(1, 3, 3, 20)).shape == (1, 3, 6, 40)


@pytest.mark.parametrize("variant", [*SMALL, *TIERS])
@pytest.mark.parametrize(("dtype", "mean", "most"), [(torch.float16, 0.06, 0.5), (torch.bfloat16, 0.5, 4.0)])
def test_the_short_types_it_promises(
    lively: Build, registry: spandrel.ArchRegistry, variant: str, dtype: torch.dtype, mean: float, most: float
) -> None:
    """Off by that many 8-bit steps, most of which is the rounding of input and output."""
    net = lively(variant, 2)
    with torch.no_grad():  # a detail as large as a trained one's; the random head of pro gives ten times that
        detail = net(image()) - net.get_submodule("base")(image())
        net.get_parameter("gain" if variant in SIZES else "detail_gain").mul_(0.3 / detail.abs().max())
    model = registry.load({k: v.clone() for k, v in net.state_dict().items()})
    assert isinstance(model, spandrel.ImageModelDescriptor)
    error = model.to(dtype)(image().to(dtype)).float() - expected(net, image())
    assert 255 * float(error.abs().mean()) < mean
    assert 255 * float(error.abs().max()) < most


def test_none_of_the_stock_architectures_takes_our_files_and_ours_none_of_theirs() -> None:
    ours = spandrel.ArchRegistry()
    install(ours)
    mine = ours[ARCHITECTURE_ID].architecture
    # Names that a diffusion network has too, and that a tier shares with half the field.
    assert not mine.detect(dict.fromkeys(("conv_in.weight", "conv_out.weight", "up_blocks.0.conv.weight")))
    assert not mine.detect(dict.fromkeys(("conv_in.weight", "body.0.weight", "up.0.weight", "conv_out.weight")))
    for name, build in [*((n, build_paragonsr2) for n in SIZES), *((n, build_released) for n in TIERS)]:
        for options in ({}, {"use_attention": True, "use_learnable_magic_kernel": True} if name in SIZES else {}):
            with torch.device("meta"):
                weights = build(name, scale=2, **options).state_dict()
            assert mine.detect(weights)
            assert [support.architecture.id for support in STOCK if support.detect(weights)] == [], name


@pytest.mark.usefixtures("host")
def test_other_peoples_files_load_as_before(load: Callable[[Path], Any], tmp_path: Path) -> None:
    from basicsr.archs.rrdbnet_arch import RRDBNet
    from basicsr.archs.srvgg_arch import SRVGGNetCompact

    torch.manual_seed(0)
    theirs: list[nn.Module] = [
        SRVGGNetCompact(num_feat=8, num_conv=2, upscale=2),
        RRDBNet(3, 3, num_feat=8, num_block=1, scale=4),
    ]
    for net in theirs:
        torch.save({"params": net.state_dict()}, tmp_path / "net.pth")
        before = spandrel.ModelLoader(registry=STOCK.copy()).load_from_file(tmp_path / "net.pth")
        assert isinstance(before, spandrel.ImageModelDescriptor)
        after = load(tmp_path / "net.pth")
        assert after.architecture.id == before.architecture.id != ARCHITECTURE_ID
        assert torch.equal(after(image()), before(image()))
    with pytest.raises(spandrel.UnsupportedModelError):
        spandrel.ModelLoader(registry=STOCK.copy()).load_from_state_dict(build_paragonsr2("nano", scale=2).state_dict())


def test_installing_twice_adds_once_and_a_taken_name_changes_nothing(registry: spandrel.ArchRegistry) -> None:
    count = len(registry)
    assert count == len(STOCK) + 1
    install(registry)
    assert len(registry) == count

    class Foreign(spandrel.Architecture[nn.Module]):
        def __init__(self) -> None:
            super().__init__(id=ARCHITECTURE_ID, name="another", detect=lambda _: False)

        def load(self, state_dict: spandrel.StateDict) -> Any:
            raise NotImplementedError

    taken = STOCK.copy()
    taken.add(spandrel.ArchSupport.from_architecture(Foreign()))
    with pytest.raises(spandrel.DuplicateArchitectureError):
        install(taken)
    assert len(taken) == len(STOCK) + 1
    assert taken[ARCHITECTURE_ID].architecture.name == "another"


def test_a_foreign_network_under_our_keys_is_named(registry: spandrel.ArchRegistry) -> None:
    weights = dict(build_paragonsr2("nano", scale=2).state_dict())
    weights["body.0.convs.1.weight"] = torch.zeros(3, 3, 3, 3)
    with pytest.raises(ValueError, match=r"looks like paragonsr2_nano at x2, but body\.0\.convs\.1\.weight has shape"):
        registry.load(weights)


def test_a_size_of_version_0_1_is_refused_by_its_version(registry: spandrel.ArchRegistry) -> None:
    names = ("conv_in.weight", "conv_out.weight", "gain", "body.0.blocks.0.context.row.gamma")
    with pytest.raises(ValueError, match=r"version 0\.1"):
        registry.load({name: torch.zeros(12, 3, 3, 3) for name in names})


_USE = """
import sys
from spandrel import ModelLoader
from paragon_plugin.inference.spandrel_support import install
install()
model = ModelLoader().load_from_file(sys.argv[1])
print(model.architecture.id, model.scale)
assert not [name for name in sys.modules if name.split(".")[0] == "basicsr"]
"""


def test_in_a_program_of_its_own_without_basicsr(checkpoint: Path) -> None:
    """The one call, on the registry that every loader uses."""
    command = [sys.executable, "-c", _USE, str(checkpoint)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stdout.split()) == (0, [ARCHITECTURE_ID, "2"]), result.stderr


def test_without_spandrel_the_error_names_the_extra() -> None:
    code = "import sys; sys.modules['spandrel'] = None; import paragon_plugin.inference.spandrel_support"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode != 0
    assert 'pip install "paragon-plugin[spandrel]"' in result.stderr
