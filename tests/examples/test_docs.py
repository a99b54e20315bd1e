"""The python blocks of docs/own_loop.md and of the README's section run as they stand there."""

import copy
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paragon_plugin.losses import FFTLoss, SSIMLoss
from paragon_plugin.scheduling import LossBalance

ROOT = Path(__file__).resolve().parent.parent.parent


def blocks(file: str, section: str = "") -> list[tuple[str, str]]:
    """(nearest heading, code) of each python block; of one section, where that is named."""
    text = (ROOT / file).read_text("utf-8")
    heading, found = "", list[tuple[str, str]]()
    for match in re.finditer(r"^#+ ([^\n]+)$|^```python\n(.*?)^```$", text, re.M | re.S):
        if match[1]:
            heading = match[1]
        elif not section or heading == section:
            found.append((heading, match[2]))
    return found


def batches(count: int) -> list[tuple[Tensor, Tensor]]:
    """Inputs (2, 3, 12, 12) and targets (2, 3, 24, 24)."""
    random = torch.Generator().manual_seed(0)
    targets = [F.interpolate(torch.rand(2, 3, 6, 6, generator=random), size=24, mode="bicubic") for _ in range(count)]
    return [(F.avg_pool2d(gt, 2), gt) for gt in (target.clamp(0, 1) for target in targets)]


def surroundings() -> dict[str, Any]:
    """What the page takes for granted: a network, data, losses, an optimizer, and a balance in the middle of a run."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2))
    disc = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 3))
    l1, fft, loader = nn.L1Loss(), FFTLoss(), batches(40)
    balance = LossBalance({"l1": 1.0, "fft": 5.0}, total_iter=40, network=net)
    x, gt = loader[0]
    y = net(x)
    balance.backward({"l1": l1(y, gt), "fft": fft(y, gt)}, y)
    return {
        "torch": torch,
        "F": F,
        "LossBalance": LossBalance,
        "net": net,
        "average_net": copy.deepcopy(net),
        "disc": disc,
        "optimizer": torch.optim.Adam(net.parameters(), lr=1e-3),
        "loader": loader,
        "l1": l1,
        "fft": fft,
        "ssim": SSIMLoss(),
        "balance": balance,
        "device": "cpu",
        "x": x,
        "gt": gt,
        "y": net(x),
    }


def run(code: str, place: str) -> dict[str, Any]:
    names = surroundings()
    exec(compile(code, place, "exec"), names)
    return names


def blocks_with_names() -> list[Any]:
    pages = [("docs/own_loop.md", ""), ("README.md", "In your own loop")]
    return [
        pytest.param(code, f"{file}, {heading}", id=f"{Path(file).stem}: {heading} {number}")
        for file, section in pages
        for number, (heading, code) in enumerate(blocks(file, section))
    ]


@pytest.mark.parametrize(("code", "place"), blocks_with_names())
def test_block_runs(code: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "tensorboard" in code:
        pytest.importorskip("tensorboard")
    names = run(code, place)
    assert all(bool(p.isfinite().all()) for p in names["net"].parameters())
    assert all(math.isfinite(number) for number in names["balance"].log().values())


@pytest.mark.parametrize(
    "heading",
    ["The ten lines", "Mixed precision", "The record and the report", "A loop that belongs to somebody else"],
)
def test_loop_of_the_page_corrects_a_wrong_weight(
    heading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = next(code for found, code in blocks("docs/own_loop.md") if found == heading and "loader" in code)
    balance = run(code.replace('"fft": 0.05', '"fft": 5.0'), heading)["balance"]
    assert balance.iteration == 40
    pixel, structural, *_ = balance.losses.values()
    before, now = structural.base_weight / pixel.base_weight, balance.weights()
    assert now[structural.name] / now[pixel.name] < before / 2


def test_accumulation_of_the_page_counts_optimizer_steps() -> None:
    ((_, code),) = (block for block in blocks("docs/own_loop.md") if block[0] == "Gradient accumulation")
    assert run(code, "Gradient accumulation")["balance"].iteration == 10


def test_looking_first_changes_nothing() -> None:
    ((_, code),) = (block for block in blocks("docs/own_loop.md") if block[0] == "Look first")
    looked = run(code, "Look first")
    plain = surroundings()
    for x, gt in plain["loader"]:
        plain["optimizer"].zero_grad()
        y = plain["net"](x)
        (plain["l1"](y, gt) + 5.0 * plain["fft"](y, gt)).backward()
        plain["optimizer"].step()
    for p, q in zip(looked["net"].parameters(), plain["net"].parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_roles_of_the_page_are_those_of_the_code() -> None:
    from paragon_plugin.scheduling.roles import role_of

    text = (ROOT / "docs/own_loop.md").read_text("utf-8")
    rows = re.findall(r"^\| (adversarial|perceptual|regularization|structural) \| (.+) \|$", text, re.M)
    assert len(rows) == 4
    for role, words in rows:
        for word in words.split(", "):
            assert role_of(f"my_{word}_x") == role
