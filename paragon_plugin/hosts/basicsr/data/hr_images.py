"""Which image files of a folder a data set of HR images consists of."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....errors import OptionError, shown, suggestion

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
"""What the host decodes. Other files of a folder are passed over: a folder of photographs holds Thumbs.db as well."""


def hr_images(root: Any, images: Any, exclude: Any, path: str) -> list[Path]:
    """The files of a data set, sorted by their names inside its folder.

    Args:
        root: The option `dataroot_gt`: the folder.
        images: The option of that name: names of the only files to take; None for all.
        exclude: The option of that name: names of files to leave out; None for none.
        path: Where the data set stands in the option file (`datasets.train`).

    Raises:
        OptionError: There is no such folder, a name is not in it, or nothing is left.
    """
    if not isinstance(root, str | os.PathLike) or not os.path.isdir(root):
        raise OptionError(f"{path}.dataroot_gt", f"must be a folder of images, is {shown(root)}")
    found = names_in(Path(root))
    if not found:
        raise OptionError(f"{path}.dataroot_gt", f"{root} holds no images ({', '.join(EXTENSIONS)})")
    chosen = _listed(images, f"{path}.images", root, found)
    left_out = set(_listed(exclude, f"{path}.exclude", root, found) or ())
    names = [name for name in (found if chosen is None else sorted(chosen)) if name not in left_out]
    if not names:
        raise OptionError(path, f"no image of {root} is left by the options images and exclude")
    return [Path(root) / name for name in names]


def names_in(root: Path) -> list[str]:
    """Names of the images in a folder and the folders below it, `sub/a.jpg`, sorted; hidden ones are passed over."""
    names: list[str] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS:
                names.append(Path(folder, name).relative_to(root).as_posix())
    return sorted(names)


def _listed(names: Any, path: str, root: Any, found: Sequence[str]) -> list[str] | None:
    """A list of names as it is written, each of which is there; None where there is no list."""
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise OptionError(path, f"must be a list of file names, is {shown(names)}")
    known = set(found)
    for name in names:
        if name not in known:
            raise OptionError(path, f"no image '{name}' in {root}{suggestion(name, found)}")
    return list(dict.fromkeys(names))
