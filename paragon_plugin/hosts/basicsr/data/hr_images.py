"""Which image files of a folder a data set of HR images consists of."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....errors import OptionError, shown, suggestion
from ....resilience.image_names import EXTENSIONS, names_in


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
