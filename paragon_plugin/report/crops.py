"""The same small crop of a validation image as LR, bicubic, the network's at several iterations, and HR."""

import math
from base64 import b64encode
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
    """Strips of all images with a recorded place; without any, the middle of what images the first run saved.

    With two runs each has its last crop in the strip. A run that saved no images (`val: save_img: false`) leaves LR,
    bicubic and HR.
    """
    found: list[Strip] = []
    for dataset, record in runs[0].references.items():
        for place in record.crops:
            if strip := _strip(runs, dataset, place):
                found.append(strip)
    if found:
        return found
    plain = [_unrecorded(runs[0], image) for image in list(runs[0].images)[:4]]
    return [strip for strip in plain if strip]


def _strip(runs: list[RunHistory], dataset: str, place: CropPlace) -> Strip | None:
    folder = runs[0].folder / FOLDER / dataset
    known = {what: _read(folder / f"{place.image}_{what}.png") for what in ("lr", "bicubic", "hr")}
    lr, enlarged, hr = known["lr"], known["bicubic"], known["hr"]
    if lr is None or enlarged is None or hr is None:
        return None
    tiles = [Tile("lr", "LR, the input", lr), Tile("bicubic", "bicubic", enlarged, psnr(enlarged, hr))]
    for run in runs:
        saved = run.images.get(f"{dataset}/{place.image}") or run.images.get(place.image, {})
        for iteration in chosen(list(saved), MOST_ITERATIONS if len(runs) == 1 else 1):
            picture = _read(saved[iteration])
            if picture is not None:
                crop = picture[place.top : place.top + place.side, place.left : place.left + place.side]
                who = "ours" if len(runs) == 1 else run.name
                if crop.shape == hr.shape:
                    tiles.append(Tile("ours", f"{who}, {iteration:,}", crop, psnr(crop, hr)))
    image = place.image if len(runs[0].references) == 1 else f"{dataset}/{place.image}"
    return Strip(image, [*tiles, Tile("hr", "HR, the original", hr)])


def _unrecorded(run: RunHistory, image: str) -> Strip | None:
    tiles = []
    for iteration in chosen(list(run.images[image]), MOST_ITERATIONS):
        picture = _read(run.images[image][iteration])
        if picture is not None:
            side = min(128, *picture.shape[:2])
            top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
            tiles.append(Tile("ours", f"ours, {iteration:,}", picture[top : top + side, left : left + side]))
    return Strip(image, tiles) if tiles else None


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
