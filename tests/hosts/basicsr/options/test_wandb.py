"""BasicSR's block `logger: wandb:` is checked without the package being imported, and without a network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("host")

Checked = Callable[[Path], tuple[int, list[str]]]


@pytest.fixture
def installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of that name which must not be imported."""
    folder = tmp_path_factory.mktemp("packages")
    (folder / "wandb.py").write_text("raise AssertionError('check imports wandb')")
    monkeypatch.syspath_prepend(folder)


def wandb(**options: Any) -> dict[str, Any]:
    return {"logger__wandb": options, "val": ..., "datasets__val": ..., "logger__use_tb_logger": True}


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("block", [{"project": "mine"}, {"project": "mine", "resume_id": "1a2b"}, {"project": None}])
def test_a_project_passes_the_check(checked: Checked, short_options: Callable[..., Path], block: Any) -> None:
    status, lines = checked(short_options(**wandb(**block)))
    assert status == 0, lines


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (wandb(project=5), "error: logger.wandb.project: must be text, is 5"),
        (
            {**wandb(project="mine"), "logger__use_tb_logger": False},
            "error: logger.use_tb_logger: must be true for wandb, which copies what goes to TensorBoard",
        ),
    ],
)
def test_what_the_host_could_not_start_with_is_one_line(
    checked: Checked, short_options: Callable[..., Path], changes: dict[str, Any], line: str
) -> None:
    status, lines = checked(short_options(**changes))
    assert status == 2
    assert line in lines
