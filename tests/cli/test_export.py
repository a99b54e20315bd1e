"""`paragon export`: the file computes what the network does, or there is no file."""

import importlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from paragon_plugin.cli.main import main
from paragon_plugin.nets.paragonsr2 import SIZES, build_paragonsr2
from paragon_plugin.nets.released import TIERS, build_released

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")


def save(variant: str, scale: int, path: Path) -> torch.nn.Module:
    torch.manual_seed(0)
    net = (build_paragonsr2 if variant in SIZES else build_released)(variant, scale=scale).eval()
    torch.nn.init.normal_(net.conv_out.weight, std=0.05)
    torch.save({"params": net.state_dict()}, path)
    return net


def check(file: Path, net: Callable[[torch.Tensor], torch.Tensor], dtype: torch.dtype, tolerance: float) -> None:
    """Compare at sizes of our own choosing, a batch among them."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for shape in ((1, 3, 20, 100), (3, 3, 33, 31)):
        x = torch.rand(shape)
        (result,) = session.run(None, {"input": x.to(dtype).numpy()})
        with torch.no_grad():
            expected = net(x).numpy()
        assert result.dtype == x.to(dtype).numpy().dtype
        assert np.abs(result.astype(np.float32) - expected).max() < tolerance


# What converters of ncnn and TensorRT take: no shape arithmetic, no scatter, no loops. Cast is of the half files.
PLAIN = {"Conv", "LeakyRelu", "Add", "Pad", "DepthToSpace", "Cast"}


@pytest.mark.parametrize(
    ("variant", "scale", "options", "most"),
    [
        ("nano", 2, {}, 14),
        ("tiny", 4, {}, 26),
        ("micro", 1, {}, 16),
        ("nano", 3, {"use_learnable_magic_kernel": True}, 14),
    ],
)
def test_the_graph_is_a_chain_of_convolutions(
    tmp_path: Path, variant: str, scale: int, options: dict[str, bool], most: int
) -> None:
    import onnx

    from paragon_plugin.inference.onnx_export import export_onnx

    torch.manual_seed(0)
    net = build_paragonsr2(variant, scale=scale, **options).eval()
    for parameter in net.conv_out.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    for half in (False, True):
        export_onnx(net, 3, tmp_path / "net.onnx", half=half)
        nodes = [node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node]
        assert set(nodes) <= PLAIN, nodes
        assert nodes.count("DepthToSpace") == (scale > 1)
        assert len(nodes) - nodes.count("Cast") <= most, nodes


def test_nano(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = save("nano", 2, tmp_path / "net.pth")
    assert main(["export", str(tmp_path / "net.pth"), "-o", str(tmp_path / "net.onnx")]) == 0
    check(tmp_path / "net.onnx", net, torch.float32, 1e-5)
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 2
    assert "checked in onnxruntime at 3 sizes" in out[1]


FOREIGN: dict[str, dict[str, int]] = {
    "Compact": {"num_feat": 16, "num_conv": 2, "upscale": 2},
    "SPAN": {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 16, "upscale": 2},
}
ROOM = 8192
"""Bytes of a file for what is no weight: nodes, names, shapes."""


@pytest.mark.parametrize(
    ("kind", "half"), [("ours", False), ("ours", True), ("Compact", False), ("Compact", True), ("SPAN", False)]
)
def test_a_file_holds_weights_and_nodes_and_no_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, half: bool
) -> None:
    import onnx

    if kind == "ours":
        net = save("tiny", 2, tmp_path / "net.pth")
    else:
        pytest.importorskip("spandrel", reason="needs the extra spandrel")
        architecture = getattr(importlib.import_module(f"spandrel.architectures.{kind}"), kind)
        torch.manual_seed(0)
        net = architecture(**FOREIGN[kind]).eval()
        torch.save({"params": net.state_dict()}, tmp_path / "net.pth")
    file = tmp_path / "net.onnx"
    assert main(["export", str(tmp_path / "net.pth"), *["--fp16"] * half]) == 0
    computes = net if kind == "ours" else lambda x: net(x).clamp(0, 1)  # as spandrel does
    check(file, computes, torch.float16 if half else torch.float32, 1e-2 if half else 1e-4)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    assert file.stat().st_size <= parameters * (2 if half else 4) + ROOM
    model = onnx.load(file)
    assert not [node.name for node in model.graph.node if node.metadata_props or node.doc_string]
    for weight in model.graph.initializer:
        weight.ClearField("raw_data")  # chance alone spells paths there
    rest = model.SerializeToString()
    assert not re.findall(rb"(?<![\w.])/[\w.+-]+/[\w.+-]+|[A-Z]:\\|\.py\b", rest)
    assert "kB, " in capsys.readouterr().out


def test_a_network_that_torch_cannot_export_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save("nano", 2, tmp_path / "net.pth")

    def forward(_: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        large = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return large if x.mean() > 0.5 else 1 - large

    from paragon_plugin.nets.paragonsr2 import ParagonSR2

    monkeypatch.setattr(ParagonSR2, "forward", forward)
    assert main(["export", str(tmp_path / "net.pth")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "torch cannot export this network: " in line
    assert [p.name for p in tmp_path.iterdir()] == ["net.pth"]


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("variant", [*SIZES, *TIERS])
def test_every_size_and_tier(tmp_path: Path, variant: str, half: bool) -> None:
    net = save(variant, 2, tmp_path / "net.pth")
    assert main(["export", str(tmp_path / "net.pth"), *["--fp16"] * half]) == 0
    check(tmp_path / "net.onnx", net, torch.float16 if half else torch.float32, 1e-2 if half else 1e-4)


def test_a_file_that_computes_something_else_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save("nano", 2, tmp_path / "net.pth")

    class Wrong:
        def __init__(self, *_: object, **__: object) -> None: ...

        def run(self, _: object, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [inputs["input"].repeat(2, axis=2).repeat(2, axis=3) + np.float32(0.5)]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Wrong)
    assert main(["export", str(tmp_path / "net.pth")]) == 1
    assert "differs from the network by up to" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["net.pth"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("nowhere.pth", "nowhere.pth: does not exist"),
        ("net.pth -o net.pth", "must end in .onnx"),
        ("net.pth -o nowhere/net.onnx", "the folder nowhere does not exist"),
    ],
)
def test_what_cannot_work_leaves_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    message: str,
) -> None:
    save("nano", 2, tmp_path / "net.pth")
    monkeypatch.chdir(tmp_path)
    assert main(["export", *arguments.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert [p.name for p in tmp_path.iterdir()] == ["net.pth"]


def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    save("nano", 2, tmp_path / "net.pth")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["export", str(tmp_path / "net.pth")]) == 2
    assert 'onnxruntime: pip install "paragon-plugin[onnx]"' in capsys.readouterr().err
