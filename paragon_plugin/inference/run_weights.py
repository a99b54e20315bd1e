"""The weights of a run, from its folder."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import OptionError

SUFFIXES = (".pth", ".safetensors")
_NUMBERED = re.compile(r"net_g_(?:ema_)?(\d+)")


def weights_file(model: Path) -> Path:
    """The checkpoint to use: `model` itself if it is a file. In a run's folder, the best weights, or the latest if
    there are no best ones.

    Args:
        model: A checkpoint, or a folder that a training has made (`experiments/NAME`, or its `models`).

    Raises:
        OptionError: The folder holds no weights of a generator.
    """
    if not model.is_dir():
        return model
    folder = model / "models" if (model / "models").is_dir() else model
    files = {file.stem: file for file in sorted(folder.iterdir()) if file.suffix in SUFFIXES and file.is_file()}
    numbers = {int(found[1]): stem for stem in files if (found := _NUMBERED.fullmatch(stem))}
    last = [numbers[max(numbers)]] if numbers else []
    for stem in ("net_g_best", "net_g_latest", "net_g_ema_latest", *last):
        if stem in files:
            return files[stem]
    raise OptionError(str(model), "holds no weights of a run: no models/net_g_*.pth or .safetensors")
