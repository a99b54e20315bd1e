"""Pages that list what the code has: the names of the design notes, and the options of the scheduler."""

import re
from pathlib import Path
from typing import get_args

import pytest

import paragon_plugin
from paragon_plugin.scheduling.decisions import Kind
from paragon_plugin.scheduling.options import REPLACED, DynamicLossScheduling

PACKAGE = Path(paragon_plugin.__file__).parent
DOCS = Path(__file__).parents[2] / "docs"
ROWS = [line for line in (DOCS / "notes.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]


@pytest.mark.parametrize("row", [row for row in ROWS if ".py`" in row], ids=lambda row: row.split("|")[1].strip()[:40])
def test_each_row_of_the_notes_page_names_what_is_there(row: str) -> None:
    for path, names in re.findall(r"`([\w/]+\.py)`(?: \(([^)]*)\))?", row):
        source = (PACKAGE / path).read_text(encoding="utf-8")
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"\b{name}\b", source), f"{path} has no {name}"


def test_each_option_of_the_scheduler_has_a_row_and_each_row_an_option() -> None:
    page = (DOCS / "scheduler.md").read_text(encoding="utf-8")
    _, _, rest = page.partition("## Options of `train: dynamic_loss_scheduling:`")
    section, _, _ = rest.partition("### The other two signals")
    rows = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert sorted(rows) == sorted(DynamicLossScheduling.__struct_fields__)
    _, _, deprecated = section.partition("Three options go away")
    assert set(re.findall(r"^\| `(\w+)` \|", deprecated, re.MULTILINE)) == set(REPLACED)


def test_each_kind_of_decision_is_on_the_page() -> None:
    page = (DOCS / "scheduler.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| `loss_schedule.jsonl` .*$", page, re.MULTILINE)
    assert set(get_args(Kind)) <= set(re.findall(r"`(\w+)`", row))
