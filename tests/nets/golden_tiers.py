"""Checkpoints of the released tiers with random weights, and what the released architecture makes of an input."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from torch import Tensor

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "golden"


@dataclass
class Golden:
    """One file: the tensors `input`, `output`, `base`, ... and the state dict; `alpha` and `scale` from its header."""

    tensors: dict[str, Tensor]
    checkpoint: dict[str, Tensor]
    alpha: float
    scale: int


def golden(tier: str) -> Golden:
    """Read a tier's file; skips the test where there is none."""
    from safetensors import safe_open

    file = FOLDER / f"paragonsr2_{tier}_x2.safetensors"
    if not file.is_file():
        pytest.skip("needs the checkpoints in ../shared/golden, which are not part of the project")
    with safe_open(file, "pt") as opened:
        header = opened.metadata()
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    weights = {key.removeprefix("checkpoint."): value for key, value in tensors.items() if "checkpoint." in key}
    return Golden(tensors, weights, float(header["upsampler_alpha"]), int(header["scale"]))
