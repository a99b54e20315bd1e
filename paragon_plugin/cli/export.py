"""`paragon export MODEL -o model.onnx`: write a trained network for other programs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OptionError

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parser(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `paragon`."""
    parser = commands.add_parser(
        "export",
        help="write a trained network as ONNX",
        description="Write a trained network as ONNX with dynamic batch, height and width, compared with PyTorch in "
        "onnxruntime before it counts as done.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="checkpoint (.pth, .safetensors), or a run's folder")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="target (default: MODEL with .onnx)")
    parser.add_argument("--fp16", action="store_true", help="weights, input and output in half precision")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export; 1 if the network cannot be exported, or the result differs from it."""
    from ..inference.load_network import load_network
    from ..inference.onnx_export import CHECKED_SHAPES, ExportError, export_onnx
    from ..inference.run_weights import weights_file

    model = weights_file(args.model)
    target = args.output or model.with_suffix(".onnx")
    if target.suffix != ".onnx":
        raise OptionError(str(target), "must end in .onnx")
    if not target.parent.is_dir():
        raise OptionError(str(target), f"the folder {target.parent} does not exist")
    network = load_network(model)
    try:
        difference = export_onnx(network.net, network.in_chans, target, half=args.fp16)
    except ExportError as error:
        print(f"paragon export: {target}: {error}", file=sys.stderr)
        return 1
    kind = "float16" if args.fp16 else "float32"
    print(f"{network.name}, x{network.scale} -> {target}  ({_size(target)}, {kind} in and out)")
    print(f"checked in onnxruntime at {len(CHECKED_SHAPES)} sizes: at most {difference:.1e} from PyTorch")
    return 0


def _size(file: Path) -> str:
    size = file.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
