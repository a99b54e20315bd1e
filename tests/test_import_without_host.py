"""Without BasicSR: networks, scheduling and kernels import, pictures are enlarged, runs reported, training refused."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from runs_on_disk import write_recorded_run, write_run

from paragon_plugin.nets.paragonsr2 import build_paragonsr2
from paragon_plugin.resilience.checkpoints import network_metadata

BLOCKED = "basicsr torchvision cv2 skimage scipy tensorboard torchmetrics piq onnx spandrel lmdb"
"""What the extras bring."""

REMEDY = 'needs BasicSR: pip install "paragon-plugin[basicsr]"'

_BLOCKED_IMPORT = """
import importlib, sys

class Without:
    \"\"\"A finder that does not find what is blocked.\"\"\"
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in sys.argv[2].split() else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
importlib.import_module(sys.argv[1])
for name in sys.argv[2].split():
    assert name not in sys.modules, name
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        assert error.name == name
    else:
        raise AssertionError("the blocker does not block")
"""

_COMMAND = _BLOCKED_IMPORT + "sys.exit(importlib.import_module('paragon_plugin.cli.main').main(sys.argv[3:]))\n"


def run(
    code: str, module: str, *arguments: str | Path, blocked: str = BLOCKED, cwd: Path | None = None
) -> tuple[int, str, str]:
    """Exit status and both outputs of a process that cannot import what is blocked."""
    command = [sys.executable, "-c", code, f"paragon_plugin.{module}", blocked, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "package",
    [
        "errors",
        "scheduling",
        "resilience",
        "losses",
        "ops",
        "nets",
        "inference.upscaling",
        "inference.load_network",
        "report.page",
        "hosts.run_reading",
        "hosts.trainner_redux.models",
        "hosts.trainner_redux.link",
    ],
)
def test_imports_without_the_host(package: str) -> None:
    status, _, said = run(_BLOCKED_IMPORT, package)
    assert status == 0, said


def test_every_module_of_scheduling_imports_without_the_host() -> None:
    code = _BLOCKED_IMPORT + (
        "import pkgutil, paragon_plugin.scheduling as package\n"
        "names = [m.name for m in pkgutil.iter_modules(package.__path__)]\n"
        "assert len(names) > 10\n"
        "[importlib.import_module(f'{package.__name__}.{name}') for name in names]\n"
    )
    status, _, said = run(code, "scheduling")
    assert status == 0, said


@pytest.mark.parametrize("bits", [8, 16])
def test_a_picture_is_enlarged_without_the_host(bits: int, tmp_path: Path) -> None:
    net = build_paragonsr2("nano", scale=2)
    metadata = network_metadata({"type": "paragonsr2_nano"}, net, 2)
    torch.save({"params": net.state_dict(), "paragon": metadata.plain()}, tmp_path / "net.pth")
    if bits == 8:  # with transparent pixels, whose colours are replaced
        Image.fromarray(np.full((12, 16, 4), (9, 8, 7, 0), np.uint8)).save(tmp_path / "a.png")
    else:
        Image.fromarray(np.full((12, 16), 40000, np.uint16)).save(tmp_path / "a.png")
    status, told, said = run(_COMMAND, "errors", "upscale", "a.png", "-m", "net.pth", cwd=tmp_path)
    assert (status, said) == (0, ""), said
    assert told.splitlines()[-1] == "a.png -> a_x2.png  32 x 24"
    assert Image.open(tmp_path / "a_x2.png").size == (32, 24)


@pytest.mark.parametrize("write", [write_recorded_run, write_run])
def test_a_run_is_reported_without_the_host(write: Callable[..., Path], tmp_path: Path) -> None:
    folder = write(tmp_path, "mine")
    status, _, said = run(_COMMAND, "errors", "report", folder, cwd=tmp_path)
    assert (status, said) == (0, ""), said
    assert "fft_loss" in (folder / "report.html").read_text()


def test_what_needs_the_host_says_so_in_one_line(tmp_path: Path) -> None:
    code = _BLOCKED_IMPORT + (
        "from paragon_plugin.cli.main import main\n"
        "for command in ('train', 'check', 'test'):\n"
        "    assert main([command, '-opt', 'any.yml']) == 2\n"
        "try:\n"
        "    sys.modules['paragon_plugin'].install()\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    status, told, said = run(code, "errors", cwd=tmp_path)
    assert (status, told) == (0, f"{REMEDY}\n"), said
    assert said.splitlines() == [f"paragon {command}: {REMEDY}" for command in ("train", "check", "test")]
    assert not list(tmp_path.iterdir())


def test_an_incomplete_host_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    if importlib.util.find_spec("basicsr") is None:
        pytest.skip("needs BasicSR, of which a part is hidden here")
    status, told, said = run(_COMMAND, "errors", "train", "-opt", "any.yml", blocked="cv2", cwd=tmp_path)
    remedy = 'pip install "paragon-plugin[basicsr]"'
    assert (status, told, said) == (2, "", f"paragon train: BasicSR needs the module cv2: {remedy}\n")


def test_help_needs_no_host() -> None:
    status, told, said = run(_COMMAND, "errors", "train", "--help")
    assert (status, said) == (0, "")
    assert "--auto_resume" in told


def test_a_loss_of_an_extra_names_it() -> None:
    code = _BLOCKED_IMPORT + (
        "for loss in ('SSIMLoss', 'MSSSIMLoss', 'LPIPSLoss'):\n"
        "    try:\n"
        "        getattr(sys.modules['paragon_plugin.losses'], loss)()\n"
        "    except ValueError as error:\n"
        "        print(error)\n"
    )
    told = "needs the package {}: pip install 'paragon-plugin[metrics]'\n"
    packages = ("torchmetrics", "torchmetrics", "piq")
    assert run(code, "losses") == (0, "".join(map(told.format, packages)), "")
