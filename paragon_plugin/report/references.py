"""The file that a first validation leaves for the report; `hosts.basicsr.run.validation_record` writes it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..resilience.atomic_file import atomic_file

FOLDER = "report"
FILE_NAME = "references.json"


@dataclass(frozen=True)
class CropPlace:
    """Where a crop of an image was taken, in HR pixels."""

    image: str
    top: int
    left: int
    side: int


@dataclass(frozen=True)
class SetRecord:
    """What is recorded of one validation set."""

    images: int
    scale: int
    wanted: Mapping[str, Any]
    """The option file's `val: metrics:` when it was recorded."""
    metrics: dict[str, dict[str, float]]
    """{upscaler: {metric: mean over the set}}."""
    crops: list[CropPlace] = field(default_factory=list)


def read_records(path: Path) -> dict[str, SetRecord]:
    """The records by validation set; empty where there are none or they cannot be read."""
    try:
        data = json.loads(path.read_text("utf-8"))
        return {
            name: SetRecord(**{**values, "crops": [CropPlace(**crop) for crop in values["crops"]]})
            for name, values in data.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def write_records(path: Path, records: Mapping[str, SetRecord]) -> None:
    """Write the file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        file.write(json.dumps({name: asdict(record) for name, record in records.items()}, indent=1).encode())
