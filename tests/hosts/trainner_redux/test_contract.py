"""What is relied on in redux is there, and what is gone is named."""

import ast
import shutil
from pathlib import Path

import pytest

from paragon_plugin.hosts.trainner_redux.contract import PARTS, Part, changes


class Renamed(ast.NodeTransformer):
    """Gives a name another one, wherever a file has it."""

    def __init__(self, name: str):
        self.name = name

    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        for field in ("id", "attr", "name", "arg"):
            if getattr(node, field, None) == self.name:
                setattr(node, field, "renamed")
        if isinstance(node, ast.Constant) and node.value == self.name:
            node.value = "renamed"
        return node


def with_renamed(checkout: Path, folder: Path, file: str, name: str) -> Path:
    """The sources that are relied on, with a name changed in one of them."""
    for source in {part.file for part in PARTS}:
        (folder / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(checkout / source, folder / source)
    tree = Renamed(name).visit(ast.parse((checkout / file).read_text("utf-8")))
    (folder / file).write_text(ast.unparse(tree))
    return folder


def test_the_checkout_has_everything(checkout: Path) -> None:
    assert changes(checkout) == []


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part.name} {part.mentions or ''}".strip())
def test_what_is_gone_is_named(part: Part, checkout: Path, tmp_path: Path) -> None:
    gone = part.mentions or part.name.rpartition(".")[2]
    found = changes(with_renamed(checkout, tmp_path, part.file, gone))
    assert any(part.file in problem and part.name in problem and gone in problem for problem in found), found


@pytest.mark.parametrize("part", [part for part in PARTS if part.takes], ids=lambda part: part.name)
def test_other_parameters_are_named(part: Part, checkout: Path, tmp_path: Path) -> None:
    found = changes(with_renamed(checkout, tmp_path, part.file, part.takes[-1]))
    told = [problem for problem in found if f"{part.name} takes (" in problem]
    assert len(told) == 1
    assert "renamed" in told[0]


def test_a_file_that_is_gone_or_broken_is_named(checkout: Path, tmp_path: Path) -> None:
    folder = with_renamed(checkout, tmp_path, "train.py", "nothing")
    (folder / "train.py").unlink()
    (folder / "traiNNer/utils/misc.py").write_text("def (")
    assert changes(folder) == [
        f"{file} is missing or no Python that can be read" for file in ("train.py", "traiNNer/utils/misc.py")
    ]


def test_an_empty_folder_lacks_every_file(tmp_path: Path) -> None:
    assert len(changes(tmp_path)) == len({part.file for part in PARTS})
