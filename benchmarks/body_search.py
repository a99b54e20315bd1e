"""Which body for the networks: dense convolutions on the Magic Kernel base, trained with one small budget.

    python benchmarks/body_search.py --data DATA --json FILE

x2, the budget of `architectures.py`. A body `CxGxN` has C features and G residual groups of N 3x3 convolutions; what
follows a comma is an option of `Body`. Runs found in the JSON are not repeated.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from architectures import SCALE, Images, read_images
from bsds500 import data_folder, scores, train
from torch import Tensor, nn

import paragon_plugin
from paragon_plugin.ops.magic_kernel import MagicKernelSharp2021Upsample
from paragon_plugin.resilience.atomic_file import atomic_file

BODIES: tuple[tuple[str, float, int], ...] = (
    *(("16x1x3", rate, 600) for rate in (4e-3, 8e-3)),
    *(("16x1x3,skip=post", rate, 600) for rate in (8e-3, 1.6e-2)),
    *(
        (f"16x1x3,{options}", 8e-3, 600)
        for options in (
            *("act=relu", "act=silu", "form=branched", "act=silu,skip=post", "form=branched,skip=post"),
            *("last=0,skip=post", "init=he,skip=post", "form=gate,act=silu,skip=post", "act=leaky2,skip=post"),
            *("act=prelu,skip=post", "gain=0.3,skip=post"),
        )
    ),
    *((f"24x{groups},skip=post", 4e-3, 600) for groups in ("2x3", "1x6", "3x2")),
    *((f"24x{options}", 4e-3, 600) for options in ("1x6,init=he,skip=post", "2x3,skip=post,act=silu")),
    *(("24x2x3,skip=post", 8e-3, 600), ("32x1x4,skip=post", 4e-3, 600)),
    *(
        (f"{shape},skip=post", 4e-3, iterations)
        for shape in ("32x1x3", "16x3x3", "16x4x3")
        for iterations in (600, 2400)
    ),
    *((f"{shape},skip=post", 4e-3, 2400) for shape in ("32x4x3", "16x8x3")),
)
"""Body, learning rate and iterations of each run."""


class Branched(nn.Module):
    """A 3x3 convolution trained as 3x3 + 1x1 + identity (Ding et al., 2021)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.point = nn.Conv2d(channels, channels, 1, bias=False)
        self.same = nn.Parameter(torch.ones(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        point = self.point.weight + torch.diag_embed(self.same[:, 0])[:, :, None, None]
        return F.conv2d(x, self.conv.weight + F.pad(point, (1,) * 4), self.conv.bias, padding=1)


class Body(nn.Module):
    """A candidate. Options, as `name=value`:

    act: leaky (slope 0.1), leaky2 (0.2), relu, prelu or silu.
    skip: `group`, activation before each convolution of a group; `post`, activation between two, as in the networks.
    form: plain; `branched`, 3x3 + 1x1 + identity, folded; `gate`, SPAN's product with a centred sigmoid.
    init: torch or he. gain: first factor of the detail.
    last: 1 for an activation before the last convolution, else 0.
    """

    def __init__(self, spec: str) -> None:
        super().__init__()
        shape, *options = spec.split(",")
        channels, groups, convs = (int(n) for n in shape.split("x"))
        o = {"act": "leaky", "gain": "0.1", "init": "torch", "skip": "group", "form": "plain", "last": "1"}
        o |= dict(option.split("=") for option in options)
        self.o = o
        self.base = MagicKernelSharp2021Upsample(SCALE, 1.2)
        self.conv_in = nn.Conv2d(3, channels, 3, padding=1)
        make = Branched if o["form"] == "branched" else (lambda c: nn.Conv2d(c, c, 3, padding=1))
        self.groups = nn.ModuleList(nn.ModuleList(make(channels) for _ in range(convs)) for _ in range(groups))
        self.conv_out = nn.Conv2d(channels, 3 * SCALE**2, 3, padding=1)
        for p in self.conv_out.parameters():
            nn.init.zeros_(p)
        if o["init"] == "he":
            for name, parameter in self.groups.named_parameters():
                if name.endswith("weight"):
                    nn.init.kaiming_normal_(parameter, a=0.1)
        self.gain = nn.Parameter(torch.tensor(float(o["gain"])))
        self.slopes = nn.ParameterList(
            nn.Parameter(torch.full((channels,), 0.1)) for _ in range(groups * convs + 1) if o["act"] == "prelu"
        )

    def act(self, x: Tensor, index: int) -> Tensor:
        match self.o["act"]:
            case "relu":
                return F.relu(x)
            case "leaky":
                return F.leaky_relu(x, 0.1)
            case "leaky2":
                return F.leaky_relu(x, 0.2)
            case "silu":
                return F.silu(x)
            case _:
                return F.prelu(x, self.slopes[index])

    def forward(self, x: Tensor) -> Tensor:
        base = self.base(x)
        y = self.conv_in(x.contiguous(memory_format=torch.channels_last))
        index, o = 0, self.o
        for group in self.groups.children():
            skip = y
            for number, conv in enumerate(group.children()):
                if o["skip"] != "post" or number:
                    y = self.act(y, index)
                index += 1
                y = conv(y)
            y = (y + skip) * (torch.sigmoid(y) - 0.5) if o["form"] == "gate" else skip + y
        if o["last"] == "1":
            y = self.act(y, index)
        return base + self.gain * F.pixel_shuffle(self.conv_out(y), SCALE)


def trained(images: Images, spec: str, rate: float, iterations: int, seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    net = Body(spec)
    start = time.process_time()
    train(net.train(), images.training, SCALE, seed=seed, iterations=iterations, rate=rate)
    seconds = round(time.process_time() - start, 1)
    found = {key: scores(net.eval(), pairs, SCALE) for key, pairs in images.tests.items()}
    held_out = scores(net, images.held_out, SCALE)["psnr"]
    found = {key: round(value["psnr"], 3) for key, value in found.items()}
    key = {"body": spec, "rate": rate, "seed": seed, "iterations": iterations}
    return key | {"kodak": round(held_out, 3), **found, "cpu_seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=data_folder, required=True)
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    paragon_plugin.install()
    torch.set_num_threads(1)
    runs: list[dict[str, Any]] = json.loads(args.json.read_text()) if args.json.exists() else []
    done = {(run["body"], run["rate"], run["iterations"]) for run in runs}
    images = read_images(args.data, None)
    for spec, rate, iterations in BODIES:
        if (spec, rate, iterations) in done:
            continue
        runs.append(trained(images, spec, rate, iterations))
        print(runs[-1], flush=True)
        with atomic_file(args.json) as out:
            out.write((json.dumps(runs, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
