"""The file that a first validation leaves for the report; `hosts.basicsr.run.validation_record` writes it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec

from ..resilience.atomic_file import atomic_file
from ..resilience.side_file import read_typed

Whole = Annotated[int, msgspec.Meta(ge=0, le=2**31)]

FOLDER = "report"
FILE_NAME = "references.json"


@dataclass(frozen=True)
class CropPlace:
    """Where a crop of an image was taken, in HR pixels."""

    image: str
    top: Whole
    left: Whole
    side: Whole


@dataclass(frozen=True)
class SetRecord:
    """What is recorded of one validation set."""

    images: Whole
    scale: Whole
    wanted: Mapping[str, Any]
    """The option file's `val: metrics:` when it was recorded."""
    metrics: dict[str, dict[str, float]]
    """{upscaler: {metric: mean over the set}}."""
    crops: list[CropPlace] = field(default_factory=list)


def read_records(path: Path, left_out: list[str] | None = None) -> dict[str, SetRecord]:
    """The records by validation set; empty where there are none or they cannot be read.

    Args:
        path: The file.
        left_out: Takes a line about a file that is damaged or of somebody else.
    """
    records, _ = read_typed(path, dict[str, SetRecord])
    if records is None and left_out is not None and path.exists():
        left_out.append(f"{FOLDER}/{FILE_NAME}: cannot be read")
    return records or {}


def write_records(path: Path, records: Mapping[str, SetRecord]) -> None:
    """Write the file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        file.write(json.dumps({name: asdict(record) for name, record in records.items()}, indent=1).encode())
