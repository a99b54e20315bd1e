"""The same small crop of a validation image as LR, bicubic, the network's at several iterations, and HR."""

import math
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .drawing import DAY
from .references import FOLDER, CropPlace
from .run_history import RunHistory

Kind = Literal["lr", "bicubic", "ours", "hr"]
Picture = NDArray[np.uint8]

MOST_ITERATIONS = 3
TILE = 256


@dataclass(frozen=True)
class Tile:
    """One crop: RGB (side, side, 3), and its PSNR over all channels against HR in dB where there is one."""

    kind: Kind
    label: str
    picture: Picture
    psnr: float | None = None
    run: str = ""
    """Whose network made it, where there are several."""

    def uri(self) -> str:
        """The crop as a `data:` address, pixels as they are."""
        buffer = BytesIO()
        Image.fromarray(self.picture).save(buffer, "PNG", optimize=True)
        return "data:image/png;base64," + b64encode(buffer.getvalue()).decode("ascii")


@dataclass(frozen=True)
class Strip:
    """The tiles of one image."""

    image: str
    tiles: list[Tile]


def strips(runs: list[RunHistory]) -> list[Strip]:
    """Strips of all images with a recorded place; without any, the middle of what images were saved.

    Of several runs each has its last crop in the strip. A run that saved no images (`val: save_img: false`) leaves LR,
    bicubic and HR.
    """
    found: dict[str, Strip] = {}
    several = len({dataset for run in runs for dataset in run.references}) > 1
    for owner in runs:
        for dataset, record in owner.references.items():
            for place in record.crops:
                image = f"{dataset}/{place.image}" if several else place.image
                if image not in found and (strip := _strip(runs, owner, dataset, place, image)):
                    found[image] = strip
    if found:
        return list(found.values())
    names = dict.fromkeys(image for run in runs for image in run.images)
    plain = [_unrecorded(runs, image) for image in list(names)[:4]]
    return [strip for strip in plain if strip]


def _strip(runs: list[RunHistory], owner: RunHistory, dataset: str, place: CropPlace, image: str) -> Strip | None:
    folder = owner.folder / FOLDER / dataset
    known = {what: _read(folder / f"{place.image}_{what}.png") for what in ("lr", "bicubic", "hr")}
    lr, enlarged, hr = known["lr"], known["bicubic"], known["hr"]
    if lr is None or enlarged is None or hr is None:
        return None
    tiles = [Tile("lr", "LR, the input", lr), Tile("bicubic", "bicubic", enlarged, psnr(enlarged, hr))]
    for run in runs:
        saved = run.images.get(f"{dataset}/{place.image}") or run.images.get(place.image, {})
        for iteration, picture in _pictures(saved, runs):
            crop = picture[place.top : place.top + place.side, place.left : place.left + place.side]
            if crop.shape == hr.shape:
                tiles.append(_ours(runs, run, iteration, crop, psnr(crop, hr)))
    return Strip(image, [*tiles, Tile("hr", "HR, the original", hr)])


def _unrecorded(runs: list[RunHistory], image: str) -> Strip | None:
    tiles: list[Tile] = []
    for run in runs:
        for iteration, picture in _pictures(run.images.get(image, {}), runs):
            side = min(128, *picture.shape[:2])
            top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
            tiles.append(_ours(runs, run, iteration, picture[top : top + side, left : left + side]))
    return Strip(image, tiles) if tiles else None


def _pictures(saved: Mapping[int, Path], runs: Sequence[RunHistory]) -> Iterator[tuple[int, Picture]]:
    """The saved pictures of a run that are shown, with their iterations."""
    for iteration in chosen(list(saved), MOST_ITERATIONS if len(runs) == 1 else 1):
        picture = _read(saved[iteration])
        if picture is not None:
            yield iteration, picture


def _ours(
    runs: Sequence[RunHistory], run: RunHistory, iteration: int, crop: Picture, decibels: float | None = None
) -> Tile:
    who = "ours" if len(runs) == 1 else run.name
    return Tile("ours", f"{who}, {iteration:,}", crop, decibels, "" if len(runs) == 1 else run.name)


def chosen(iterations: list[int], most: int) -> list[int]:
    """At most that many iterations: the first, the last, and between them evenly in log, for most happens early."""
    if len(iterations) <= most:
        return iterations
    if most == 1:
        return iterations[-1:]
    low, high = math.log(max(iterations[0], 1)), math.log(max(iterations[-1], 2))
    wanted = [low + (high - low) * i / (most - 1) for i in range(most)]
    return sorted({min(iterations, key=lambda i: abs(math.log(max(i, 1)) - aim)) for aim in wanted})


def psnr(picture: Picture, hr: Picture) -> float | None:
    """10 log10(255^2 / mean squared difference) over all channels, in dB; None for equal pictures."""
    error = float(np.mean((picture.astype(np.float64) - hr) ** 2))
    return 10 * math.log10(255**2 / error) if error > 0 else None


def strip_png(strip: Strip) -> bytes:
    """A strip as one picture, labels over the crops, by day."""
    gap, head = 8, 26
    sheet = Image.new("RGB", (gap + (TILE + gap) * len(strip.tiles), TILE + head + gap), DAY["paper"])
    pen = ImageDraw.Draw(sheet)
    for number, tile in enumerate(strip.tiles):
        left = gap + (TILE + gap) * number
        sheet.paste(Image.fromarray(tile.picture).resize((TILE, TILE), Image.Resampling.NEAREST), (left, head))
        text = tile.label + (f"   {tile.psnr:.1f} dB" if tile.psnr is not None else "")
        pen.text((left, head - 8), text, fill=DAY["text"], font=ImageFont.load_default(15), anchor="ls")
    buffer = BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _read(path: Path) -> Picture | None:
    """An RGB picture; None where it is missing or was cut off in writing."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError):
        return None
