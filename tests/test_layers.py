"""Imports point one way: read from every file, those inside functions and under TYPE_CHECKING as well."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "paragon_plugin"
ROOT = Path(__file__).resolve().parent.parent / PACKAGE

BELOW: dict[str, set[str]] = {
    "version": set(),
    "errors": set(),
    "ops": set(),
    "nets": {"ops"},
    "losses": set(),
    "resilience": {"errors"},
    "inference": {"nets", "ops", "resilience", "errors"},
    "first_file": {"resilience", "errors"},
    "scheduling": {"resilience", "errors", "version"},
    "report": {"scheduling", "resilience", "errors", "version"},
}
"""What each part may import of the package; a part that is not named (`hosts`, `cli`) may import all of these."""

WINGS: dict[str, set[str]] = {
    "options": set(),
    "recipe": {"options"},
    "models": {"options", "recipe"},
    "data": set(),
    "checks": {"options", "recipe", "data"},
    "run": {"options", "recipe", "models", "checks", "stock_run"},
    "stock_run": {"options"},
}
"""The same within `hosts/basicsr`."""


def modules() -> dict[str, Path]:
    return {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Every imported name, absolute: `paragon_plugin.ops.magic_kernel.SCALES`, `torch`."""
    package = name_of(path).split(".")
    package = package if path.name == "__init__.py" else package[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def parts(path: Path) -> Iterator[tuple[str, str]]:
    """(part of the package, what it takes from there) of each import of our own."""
    for name in imports(path):
        first, _, rest = name.partition(".")
        if first == PACKAGE and rest:
            yield rest.split(".")[0], rest


@pytest.mark.parametrize("part", BELOW)
def test_a_part_imports_only_what_stands_below_it(part: str) -> None:
    for name, path in modules().items():
        if name.split(".")[1:2] == [part]:
            upward = {other for other, _ in parts(path) if other != part} - BELOW[part]
            assert not upward, f"{name} imports {upward}"


@pytest.mark.parametrize(("adapter", "host"), [("basicsr", "basicsr"), ("trainner_redux", "traiNNer")])
def test_only_its_adapter_knows_the_host(adapter: str, host: str) -> None:
    for name, path in modules().items():
        if not name.startswith(f"{PACKAGE}.hosts.{adapter}"):
            assert not [other for other in imports(path) if other.split(".")[0] == host], name


def test_no_host_imports_another() -> None:
    for name, path in modules().items():
        host = name.split(".")[2:3]
        if name.startswith(f"{PACKAGE}.hosts.") and path.parent.name != "hosts":
            others = {rest.split(".")[1] for part, rest in parts(path) if part == "hosts" and "." in rest}
            assert others <= set(host), name


@pytest.mark.parametrize("wing", WINGS)
def test_the_wings_of_the_adapter_stand_in_one_order(wing: str) -> None:
    start = f"{PACKAGE}.hosts.basicsr."
    for name, path in modules().items():
        if name.startswith(start) and name[len(start) :].split(".")[0] == wing:
            inside = {other[len(start) :].split(".")[0] for other in imports(path) if other.startswith(start)}
            upward = (inside & set(WINGS)) - WINGS[wing] - {wing}
            assert not upward, f"{name} imports {upward}"


def test_no_circle() -> None:
    known = modules()
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        targets = set()
        for other in imports(path):
            target = other if other in known else other.rpartition(".")[0]
            # A package's face hands on what stands inside it: that is no way back.
            if target in known and target != name and not name.startswith(f"{target}."):
                targets.add(target)
        graph[name] = targets
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, [*trail, name])
            done.add(name)

    for name in graph:
        visit(name, [])
