"""The folder of images beside a first option file of traiNNer-redux.

redux trains on whole folders and validates pairs. So the images that train are linked into one folder, and the held-out
ones stand in another with their LR images.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import OptionError
from ...inference.images import Picture, read_picture, write_picture
from ...ops.bicubic_reduction import bicubic_reduction
from .first_file import TRAINING, VALIDATION_HR, VALIDATION_LR

UNREAD = (".bmp",)
"""What redux's reader (libvips) lacks: written anew as PNG instead of linked."""


def write_images(folder: Path, root: Path, training: Sequence[str], validation: Sequence[str], scale: int) -> None:
    """Make the folder; it is there completely or not at all.

    Args:
        folder: To be made; it must not be there.
        root: Folder of the photographs.
        training, validation: Names of images inside it.
        scale: Reduction of the LR images.

    Raises:
        OptionError: An image that validates cannot be read, or the folder cannot be written.
    """
    temporary = folder.with_name(f".{folder.name[:200]}.{os.getpid()}.tmp")
    try:
        for name in training:
            _linked(root / name, temporary / TRAINING / name)
        stems: set[str] = set()
        for name in validation:
            _paired(root / name, temporary, _free(Path(name).with_suffix(""), stems), scale)
        temporary.rename(folder)
    except OSError as error:
        raise OptionError(str(folder), f"cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _linked(file: Path, target: Path) -> None:
    """A link where the system has one, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix.lower() in UNREAD:
        write_picture(target.with_name(f"{target.name}.png"), Picture(_rgb(file)))
        return
    for make in (os.symlink, os.link, shutil.copy2):  # Windows grants the first to few, the second on one drive
        try:
            make(file.resolve(), target)
            return
        except OSError:
            if make is shutil.copy2:
                raise


def _paired(file: Path, folder: Path, name: Path, scale: int) -> None:
    """An HR image and its bicubic reduction, under one name, upright, RGB with 8 bits."""
    hr = _rgb(file)
    hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
    lr = bicubic_reduction(torch.from_numpy(hr.copy()), scale).numpy()
    for kind, pixels in ((VALIDATION_HR, hr), (VALIDATION_LR, lr)):
        target = folder / kind / name.with_name(f"{name.name}.png")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_picture(target, Picture(np.ascontiguousarray(pixels)))


def _rgb(file: Path) -> NDArray[np.uint8]:
    """Pixels (H, W, 3)."""
    colour = read_picture(file).colour
    if colour.dtype != np.uint8:
        colour = ((colour.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour


def _free(name: Path, taken: set[str]) -> Path:
    """The name, with a number where another image has it already: redux pairs files by it."""
    found, number = name, 1
    while found.as_posix().lower() in taken:
        number += 1
        found = name.with_name(f"{name.name}_{number}")
    taken.add(found.as_posix().lower())
    return found
