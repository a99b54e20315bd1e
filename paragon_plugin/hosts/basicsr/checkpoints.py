"""Writes checkpoints so that a kill or a full disk never leaves a broken file under a checkpoint's name."""

import os
from pathlib import Path
from typing import Any

import torch


def save_atomically(state: Any, path: str | Path) -> None:
    """`torch.save` to a temporary file beside the target, flush it to disk, rename it into place.

    Raises:
        OSError: The file cannot be written; nothing of it is left, and an older file of that name stands untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself must survive a power cut
    finally:
        os.close(folder)
