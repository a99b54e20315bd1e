"""Scheduling, options, kernels and networks are of use without BasicSR."""

import subprocess
import sys

import pytest

_BLOCKED_IMPORT = """
import importlib, importlib.abc, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[2].split():
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
importlib.import_module(sys.argv[1])
try:
    import basicsr
except ImportError as error:
    assert "blocked" in str(error)
else:
    raise AssertionError("the blocker does not block")
assert not [name for name in sys.modules if name.split(".")[0] == "basicsr"]
"""


@pytest.mark.parametrize(
    "package", ["errors", "scheduling", "resilience", "losses", "ops", "nets", "inference.load_network", "report.page"]
)
def test_imports_without_the_host(package: str):
    # torchmetrics, which the losses stand on, looks at torchvision where it is installed
    blocked = "basicsr cv2" if package == "losses" else "basicsr torchvision cv2"
    result = subprocess.run(
        [sys.executable, "-c", _BLOCKED_IMPORT, f"paragon_plugin.{package}", blocked],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_every_module_of_scheduling_imports_without_the_host():
    code = _BLOCKED_IMPORT + (
        "import pkgutil, paragon_plugin.scheduling as package\n"
        "names = [m.name for m in pkgutil.iter_modules(package.__path__)]\n"
        "assert len(names) > 10\n"
        "[importlib.import_module(f'{package.__name__}.{name}') for name in names]\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "paragon_plugin.scheduling", "basicsr torchvision cv2"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
