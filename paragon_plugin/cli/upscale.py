"""`paragon upscale INPUT -m MODEL`: enlarge a picture or a folder of pictures with a trained network."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OptionError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    import torch

    from ..inference.load_network import LoadedNetwork

Job = tuple[Path, Path]
"""A picture and where its enlargement goes."""


def add_parser(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `paragon`."""
    parser = commands.add_parser(
        "upscale",
        help="enlarge pictures with a trained network",
        description="Enlarge a picture or every picture of a folder (PNG, JPEG, WebP, TIFF, BMP; alpha, 16 bits, EXIF "
        "and colour profile are kept). Network and scale are read from the checkpoint, ours or one for spandrel.",
    )
    parser.add_argument("input", type=Path, metavar="INPUT", help="picture or folder of pictures")
    parser.add_argument(
        "-m", "--model", type=Path, required=True, help="checkpoint (.pth, .safetensors), or a run's folder"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="OUT", help="file, or folder if INPUT is one (default: INPUT_x2 beside it)"
    )
    parser.add_argument("-r", "--recursive", action="store_true", help="pictures in folders below INPUT as well")
    parser.add_argument("--skip-existing", action="store_true", help="pass over what was enlarged before")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default: auto)")
    parser.add_argument("--tile", type=int, metavar="N", help="side of the part computed at once (default: 256)")
    parser.add_argument("--full", action="store_true", help="full precision on a GPU, where the default is half")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Enlarge; 0 if every picture was, 2 if one could not be read or written (the others are done)."""
    from ..inference.load_network import load_network
    from ..inference.run_weights import weights_file

    if args.tile is not None and args.tile < 16:
        raise OptionError("--tile", f"must be at least 16, is {args.tile}")
    device = _device(args.device)
    if not args.input.exists():
        raise OptionError(str(args.input), "does not exist")
    network = load_network(weights_file(args.model))
    if network.in_chans not in (1, 3):
        raise OptionError(str(args.model), f"takes images of {network.in_chans} channels; pictures have 1 or 3")
    jobs, others = _jobs(args.input, args.output, network.scale, recursive=args.recursive)
    there = [job for job in jobs if args.skip_existing and job[1].exists()]
    jobs = [job for job in jobs if job not in there]
    folders = {target.parent for _, target in jobs}
    made = [made for folder in sorted(folders) if (made := _ready_folder(folder)) is not None]
    print(f"{network.name}, x{network.scale}, on {device}")
    failures = _upscale_all(jobs, network, device, args)
    for error in failures:
        print(f"paragon upscale: {error}", file=sys.stderr)
    for folder in reversed(made):
        if not any(folder.iterdir()):
            folder.rmdir()
    if args.input.is_dir():
        print(_closing_line(len(jobs) - len(failures), len(failures), len(there), others))
    return 2 if failures else 0


def _closing_line(written: int, failed: int, there: int, others: list[Path]) -> str:
    """`16 written, 3 failed, 4 passed over (2 .gif, 2 .txt)`."""
    kinds = Counter(path.suffix.lower() or path.name for path in others)
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    parts = [f"{written} written", *([f"{failed} failed"] if failed else [])]
    parts += [f"{there} there already"] if there else []
    parts += [f"{len(others)} passed over ({listed})"] if others else []
    return ", ".join(parts)


def _upscale_all(
    jobs: list[Job], network: LoadedNetwork, device: torch.device, args: argparse.Namespace
) -> list[OptionError]:
    """Work through the pictures; returns what went wrong."""
    import torch
    from tqdm import tqdm

    from ..inference.images import check_writable_as, read_picture, write_picture
    from ..inference.upscaling import TILE, Settings, passes, upscale_picture
    from ..report.progress import on_a_terminal

    net = network.net.to(device)
    tile = args.tile or TILE
    failures: list[OptionError] = []
    for number, (source, target) in enumerate(jobs, 1):
        try:
            picture = read_picture(source)
            check_writable_as(target, picture)
            settings = Settings(
                device, tile, half=device.type == "cuda" and not args.full and getattr(net, "supports_half", True)
            )
            title = f"{number}/{len(jobs)} {source.name}" if len(jobs) > 1 else source.name
            total = passes(net, picture, settings)
            with tqdm(total=total, desc=title, disable=not on_a_terminal(), ncols=80, leave=False) as bar:
                settings = Settings(device, tile, settings.half, bar.update)
                large = upscale_picture(net, network.scale, picture, settings)
            write_picture(target, large)
        except OptionError as error:
            if args.debug:
                raise
            failures.append(error)
            continue
        except (torch.OutOfMemoryError, MemoryError):
            raise OptionError("--tile", f"{tile} takes too much memory; try --tile {max(tile // 2, 16)}") from None
        height, width = large.colour.shape[:2]
        print(f"{source} -> {target}  {width} x {height}")
    return failures


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise OptionError("--device", f"{name} cannot be used: {str(error).splitlines()[0]}") from None
    if device.type not in ("cpu", "cuda"):
        raise OptionError("--device", f"must be auto, cpu or cuda, is {name}")
    return device


def _jobs(source: Path, output: Path | None, scale: int, *, recursive: bool) -> tuple[list[Job], list[Path]]:
    """What to enlarge and where to, and the other files of the folder.

    Raises:
        OptionError: Nothing to do; output and input are the same, or one a folder and the other not.
    """
    from ..inference.images import SUFFIXES

    if source.is_file():
        target = output or source.with_name(f"{source.stem}_x{scale}{source.suffix}")
        if target.is_dir():
            target = target / source.name
        if target.exists() and target.samefile(source):
            raise OptionError(str(target), "is the input; write to another file")
        if target.suffix.lower() not in SUFFIXES:
            raise OptionError(str(target), f"must end in {', '.join(SUFFIXES)}")
        return [(source, target)], []
    files = sorted(p for p in (source.rglob("*") if recursive else source.iterdir()) if p.is_file())
    pictures = [p for p in files if p.suffix.lower() in SUFFIXES]
    if not pictures:
        raise OptionError(str(source), f"holds no picture ({', '.join(SUFFIXES)})")
    folder = output or source.resolve().with_name(f"{source.resolve().name}_x{scale}")
    if folder.exists() and folder.samefile(source):
        raise OptionError(str(folder), "is the input; write to another folder")
    inside = folder.resolve()
    pictures = [p for p in pictures if inside not in p.resolve().parents]  # made by an earlier call
    others = [p for p in files if p.suffix.lower() not in SUFFIXES]
    return [(picture, folder / picture.relative_to(source)) for picture in pictures], others


def _ready_folder(folder: Path) -> Path | None:
    """Make sure that files can be written into a folder; returns it if it was made here."""
    import tempfile

    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OptionError(str(folder), f"cannot be written to: {error.strerror or error}") from error
    return folder if made else None
