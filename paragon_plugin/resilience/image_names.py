"""Which files of a folder are images."""

import os
from pathlib import Path

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
"""Of images. Other files of a folder are passed over: a folder of photographs holds Thumbs.db as well."""


def names_in(root: Path) -> list[str]:
    """Names of the images in a folder and the folders below it, `sub/a.jpg`, sorted; hidden ones are passed over."""
    names: list[str] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS:
                names.append(Path(folder, name).relative_to(root).as_posix())
    return sorted(names)
