"""traiNNer-redux for the tests that need a checkout of it: `TRAINNER_REDUX=PATH pytest tests/hosts/trainner_redux`."""

import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = "TRAINNER_REDUX"
"""Environment variable: a checkout of traiNNer-redux whose dependencies are installed."""


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder of a checkout."""
    folder = os.environ.get(CHECKOUT)
    if not folder:
        pytest.skip(f"needs a checkout of traiNNer-redux and its dependencies; say where: {CHECKOUT}=PATH")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def redux(checkout: Path) -> Path:
    """The checkout, imported in this process, with our parts in it."""
    sys.path.insert(0, str(checkout))
    from paragon_plugin.hosts.trainner_redux import install

    install()
    importlib.import_module("traiNNer.models")
    return checkout


@pytest.fixture
def copied(checkout: Path, tmp_path: Path) -> Path:
    """A copy of the sources of the checkout, not linked, without its data sets and weights."""
    folder = tmp_path / "checkout"
    made = (".git", "experiments", "tb_logger", "results", "paragon_arch.py", "paragon.schema.json")
    skipped = shutil.ignore_patterns(*made, "datasets", "docs", "tests", "*.pt*")
    shutil.copytree(checkout, folder, ignore=skipped)
    return folder


@pytest.fixture
def train(redux: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Builds a training of redux's own model, see `redux_runs.Training`."""
    from redux_runs import Training

    monkeypatch.chdir(redux)
    made: list[Training] = []

    def build(**changes: Any) -> Training:
        made.append(Training(tmp_path / f"run{len(made)}", **changes))
        return made[-1]

    yield build
    for training in made:
        training.close()
