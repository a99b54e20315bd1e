"""Links of README, CONTRIBUTING, CHANGELOG and docs/ lead somewhere, on GitHub as on the site."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *PAGES]


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them: lower case, no punctuation but `-` and `_`, a hyphen for each space."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> Iterator[tuple[str, str]]:
    """(file, anchor) of each link and image inside the project; file is empty for the page itself."""
    text = prose(page)
    for target in [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'(?:src|href)="([^"]+)"', text)]:
        if "://" not in target:
            file, _, anchor = target.partition("#")
            yield file, anchor


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_links_and_anchors_lead_somewhere(page: Path) -> None:
    for file, anchor in links(page):
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name} links to {file}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {file}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_link_to_nothing_outside_the_site(page: Path) -> None:
    for file, _ in links(page):
        assert (page.parent / file).resolve().is_relative_to(page.parent), f"{page.name} links to {file}"


def test_navigation_holds_every_page_once() -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]

    def files(entries: list[dict[str, str | list[dict[str, str]]]]) -> Iterator[str]:
        for entry in entries:
            (value,) = entry.values()
            yield from [value] if isinstance(value, str) else files(value)  # type: ignore[arg-type]

    assert sorted(files(project["nav"])) == [page.name for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lists_hold_together_on_the_site(page: Path) -> None:
    """The site's Markdown ends a list at a block that is indented by less than four, and misses one without a gap."""
    assert not re.findall(r"^ {1,3}```.*", page.read_text("utf-8"), re.M)
    assert not re.findall(r"^(?!- |\d+\. | {1,3}\S|\n).+\n(?:- |\d+\. ).*", prose(page), re.M)
