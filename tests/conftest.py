"""Shared by all tests: the host made ready, short option files, real images."""

import copy
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two processes share the cores

# The same examples at every run: a new one is found by whoever looks for it, not by whoever happens to run the tests.
settings.register_profile("same_examples", derandomize=True, deadline=None)
settings.load_profile("same_examples")


@pytest.fixture(scope="session")
def host() -> None:
    """BasicSR, repaired and with our parts registered. The extra `test` brings it; the core alone has tests as well."""
    import paragon_plugin

    if importlib.util.find_spec("basicsr") is None:
        pytest.skip("needs the extra basicsr")
    paragon_plugin.install()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Benchmark images that stand beside the repository on machines that have them."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the benchmark images in ../shared/data, which are not part of the project")
    return SHARED_DATA


@pytest.fixture
def short_options(tmp_path: Path) -> Callable[..., Path]:
    """Writes the quickstart's option file cut down to seconds; keyword `a__b=value` sets an option over it."""
    base = yaml.safe_load((ROOT / "options" / "quickstart.yml").read_text())

    def write(**overrides: Any) -> Path:
        options = copy.deepcopy(base)
        short = {
            "name": "short",
            "network_g__type": "paragonsr2_nano",
            "datasets__train__gt_size": 32,
            "datasets__train__batch_size_per_gpu": 4,
            "datasets__train__dataset_enlarge_ratio": 8,
            "train__total_iter": 40,
            "train__optim_g__lr": 2e-3,
            "train__ema_decay": 0.9,
            "train__scheduler__eta_min": 1e-5,
            "val__val_freq": 1000,
            "val__save_img": False,
            "logger__print_freq": 10,
            "logger__save_checkpoint_freq": 20,
        }
        for path, value in {**short, **overrides}.items():
            *blocks, key = path.split("__")
            target = options
            for block in blocks:
                target = target.setdefault(block, {})
            if value is ...:
                target.pop(key, None)
            else:
                target[key] = value
        train = options["train"]
        scheduler, total = train["scheduler"], train.get("total_iter")
        if isinstance(scheduler, dict) and scheduler.get("periods") == [1000] and isinstance(total, int):
            scheduler["periods"] = [max(1000, total)]  # the host fails where they end
        file = tmp_path / "short.yml"
        file.write_text(yaml.safe_dump(options, sort_keys=False))
        return file

    return write


@pytest.fixture
def paragon(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `paragon ...` as a process of its own in an empty folder."""

    def run(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "import sys; from paragon_plugin.cli.main import main; sys.exit(main())"]
        options.setdefault("cwd", tmp_path)
        return subprocess.run(
            [*command, *map(str, arguments)], capture_output=True, text=True, timeout=300, check=False, **options
        )

    return run
