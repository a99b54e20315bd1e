"""What is known of a folder of photographs and of the machine, before a plan is made."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from ..resilience.image_damage import image_damage
from ..resilience.image_names import names_in
from ..resilience.image_size import image_size


@dataclass(frozen=True)
class Photograph:
    """An image of the folder, from its header."""

    name: str
    width: int
    height: int
    problem: str = ""
    """Why it cannot be used; empty where it can."""


@dataclass(frozen=True)
class Machine:
    """What trains."""

    gpu_gb: float | None = None
    """Memory of the first GPU; None without one."""
    cores: int = 1
    memory_gb: float = 8.0


def photographs(root: Path) -> list[Photograph]:
    """The images of a folder and the folders below it, sorted by name."""
    return [_photograph(root, name) for name in names_in(root)]


def this_machine() -> Machine:
    """The machine that this runs on."""
    gpu = torch.cuda.get_device_properties(0).total_memory / 1e9 if torch.cuda.is_available() else None
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        memory = 8.0
    return Machine(gpu, os.cpu_count() or 1, memory)


def _photograph(root: Path, name: str) -> Photograph:
    try:
        name.encode()
    except UnicodeEncodeError:
        return Photograph(name, 0, 0, "has a name that is not UTF-8")
    problem = image_damage(root / name)
    if problem:
        return Photograph(name, 0, 0, problem)
    try:
        size = image_size(root / name)
    except Exception as error:  # Pillow raises nearly anything on what is no image
        return Photograph(name, 0, 0, f"cannot be read as an image ({type(error).__name__})")
    return Photograph(name, *size) if size else Photograph(name, 0, 0, "is too large to be read")
