"""`paragon init PHOTOS`: writes an option file that fits a folder of photographs, with a reason for each choice."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..errors import OptionError, whole_number

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from ..first_file.plan import Plan


def add_parser(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `paragon`."""
    parser = commands.add_parser("init", help="write an option file for a folder of photographs")
    parser.add_argument("photos", metavar="PHOTOS", type=Path, help="folder of HR images; folders below it count too")
    parser.add_argument("--scale", type=int, default=2, help="2, 3, 4 or 8 (default 2)")
    parser.add_argument("--recipe", default="fidelity", help="fidelity (default), perceptual, gan or realesrgan")
    parser.add_argument("--size", default="tiny", help="size of the network, nano to xl (default tiny)")
    parser.add_argument("--host", default="basicsr", help="what trains: basicsr (default) or trainner-redux")
    parser.add_argument("--iterations", type=int, help="length of the training; default: by size and machine")
    parser.add_argument("-o", "--output", type=Path, help="option file to write (default: by folder, scale and recipe)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the file; an existing one is never overwritten."""
    import torch

    from ..first_file.photographs import photographs, this_machine
    from ..first_file.plan import RECIPES, SCALES, Wish, make_plan
    from ..first_file.text import VGG
    from ..nets.sizes import SIZES

    for option, value, known in (
        ("--scale", args.scale, SCALES),
        ("--recipe", args.recipe, RECIPES),
        ("--size", args.size, SIZES),
        ("--host", args.host, tuple(HOSTS)),
    ):
        if value not in known:
            raise OptionError(option, f"must be one of {', '.join(map(str, known))}, is {value}")
    if args.iterations is not None:
        whole_number("--iterations", args.iterations, 20)
    root = args.photos.expanduser()
    if not root.is_dir():
        raise OptionError("PHOTOS", f"{root} is no folder")
    wish = Wish(args.scale, args.recipe, args.size, args.iterations)
    found, machine = photographs(root), this_machine()
    if args.host == "trainner-redux" and machine.gpu_gb is None:
        machine = replace(machine, gpu_gb=wish.card_gb)
        print(f"No GPU is here, and traiNNer-redux needs one: the numbers are for one of {wish.card_gb:g} GB.")
    plan = make_plan(found, machine, wish)
    folder = re.sub(r"[^A-Za-z0-9_-]+", "_", root.resolve().name).strip("_-") or "photographs"
    name = f"{folder}_{wish.size}_x{wish.scale}_{wish.recipe}"
    file = args.output or Path(f"{name}.yml")
    if os.path.lexists(file):
        raise OptionError("--output", f"{file} is there already and is not overwritten; give another name with -o")
    has_vgg = (Path(torch.hub.get_dir()) / "checkpoints" / VGG).is_file()
    told = HOSTS[args.host](plan, root, name, file, has_vgg)
    print(f"{len(plan.training)} images train, {len(plan.validation)} validate: {plan.split}.")
    for photo in plan.unusable:
        print(f"left out: {photo.name} {photo.problem}")
    print(told)
    return 0


def _for_basicsr(plan: Plan, root: Path, name: str, file: Path, has_vgg: bool) -> str:
    """Write the file; returns what to do next."""
    import paragon_plugin

    paragon_plugin.install()
    from ..hosts.basicsr.first_file import option_file

    with _written(file) as target:
        target.write(option_file(plan, root, name, file=file, has_vgg=has_vgg).encode())
    return f"{file} written. Next:\n  paragon check -opt {file}\n  paragon train -opt {file}"


def _for_redux(plan: Plan, root: Path, name: str, file: Path, has_vgg: bool) -> str:
    """Write the file and the images that it names; returns what to do next."""
    import torch

    from ..hosts.trainner_redux.first_file import option_file
    from ..hosts.trainner_redux.first_images import write_images

    images = file.with_name(f"{file.stem}_images")
    if os.path.lexists(images):
        raise OptionError("--output", f"{images} is there already and is not overwritten; give another name with -o")
    bf16 = not torch.cuda.is_available() or torch.cuda.is_bf16_supported()
    with _written(file) as target:
        # redux is started in its own folder, so the paths are whole.
        place = file.absolute()
        text = option_file(plan, images.absolute(), name, file=place, has_vgg=has_vgg, bf16=bf16)
        target.write(text.encode())
        write_images(images, root, plan.training, plan.validation, plan.wish.scale)
    return (
        f"{images} written, for redux trains on whole folders and validates pairs: links to the images that train, the "
        f"others with their LR images.\n{file} written. Next, in the folder of traiNNer-redux:\n"
        f"  paragon redux link .\n  python train.py --auto_resume -opt {place}"
    )


@contextlib.contextmanager
def _written(file: Path) -> Iterator[BinaryIO]:
    """A file that is there completely or not at all."""
    from ..resilience.atomic_file import atomic_file

    try:
        with atomic_file(file) as target:
            yield target
    except OSError as error:
        raise OptionError("--output", f"{file} cannot be written: {error.strerror}") from error


HOSTS: dict[str, Callable[[Plan, Path, str, Path, bool], str]] = {
    "basicsr": _for_basicsr,
    "trainner-redux": _for_redux,
}
"""Who writes the file, by `--host`."""
