"""`paragon init PHOTOS`: writes an option file that fits a folder of photographs, with a reason for each choice."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OptionError, whole_number

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_parser(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `paragon`."""
    parser = commands.add_parser("init", help="write an option file for a folder of photographs")
    parser.add_argument("photos", metavar="PHOTOS", type=Path, help="folder of HR images; folders below it count too")
    parser.add_argument("--scale", type=int, default=2, help="2, 3, 4 or 8 (default 2)")
    parser.add_argument("--recipe", default="fidelity", help="fidelity (default), perceptual, gan or realesrgan")
    parser.add_argument("--size", default="tiny", help="size of the network, nano to xl (default tiny)")
    parser.add_argument("--iterations", type=int, help="length of the training; default: by size and machine")
    parser.add_argument("-o", "--output", type=Path, help="option file to write (default: by folder, scale and recipe)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the file; an existing one is never overwritten."""
    import paragon_plugin

    paragon_plugin.install()
    import torch

    from ..hosts.basicsr.first_file.option_file import VGG, option_file
    from ..hosts.basicsr.first_file.photographs import photographs, this_machine
    from ..hosts.basicsr.first_file.plan import RECIPES, SCALES, Wish, make_plan
    from ..nets.sizes import SIZES
    from ..resilience.atomic_file import atomic_file

    for option, value, known in (
        ("--scale", args.scale, SCALES),
        ("--recipe", args.recipe, RECIPES),
        ("--size", args.size, SIZES),
    ):
        if value not in known:
            raise OptionError(option, f"must be one of {', '.join(map(str, known))}, is {value}")
    if args.iterations is not None:
        whole_number("--iterations", args.iterations, 20)
    root = args.photos.expanduser()
    if not root.is_dir():
        raise OptionError("PHOTOS", f"{root} is no folder")
    wish = Wish(args.scale, args.recipe, args.size, args.iterations)
    found = photographs(root)
    plan = make_plan(found, this_machine(), wish)
    folder = re.sub(r"[^A-Za-z0-9_-]+", "_", root.resolve().name).strip("_-") or "photographs"
    name = f"{folder}_{wish.size}_x{wish.scale}_{wish.recipe}"
    file = args.output or Path(f"{name}.yml")
    if os.path.lexists(file):
        raise OptionError("--output", f"{file} is there already and is not overwritten; give another name with -o")
    has_vgg = (Path(torch.hub.get_dir()) / "checkpoints" / VGG).is_file()
    text = option_file(plan, root, name, file=file, has_vgg=has_vgg)
    try:
        with atomic_file(file) as target:
            target.write(text.encode())
    except OSError as error:
        raise OptionError("--output", f"{file} cannot be written: {error.strerror}") from error
    print(f"{len(plan.training)} images train, {len(plan.validation)} validate: {plan.split}.")
    for photo in plan.unusable:
        print(f"left out: {photo.name} {photo.problem}")
    print(f"{file} written. Next:\n  paragon check -opt {file}\n  paragon train -opt {file}")
    return 0
