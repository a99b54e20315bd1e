"""Every repair of BasicSR: the host is broken without it and works with it."""

import subprocess
import sys
import types
from typing import Any

import numpy as np
import pytest
import torch


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


def test_basicsr_imports_after_install_and_only_then() -> None:
    if python("import torchvision.transforms.functional_tensor").returncode == 0:
        pytest.skip("this torchvision still has functional_tensor: nothing to repair")
    if sys.version_info >= (3, 13):
        pytest.skip("this BasicSR, of May 2024, does not ask for functional_tensor: nothing to repair")
    alone = python("import basicsr")
    assert alone.returncode != 0
    assert "functional_tensor" in alone.stderr
    installed = python("import paragon_plugin; paragon_plugin.install(); import basicsr; print(basicsr.__version__)")
    assert installed.returncode == 0, installed.stderr
    assert installed.stdout.strip() == "1.4.2"


def test_install_twice_registers_once() -> None:
    code = (
        "import paragon_plugin as p; p.install(); p.install();"
        "from basicsr.utils.registry import ARCH_REGISTRY as A, MODEL_REGISTRY as M, DATASET_REGISTRY as D;"
        "print(sum(k.startswith('paragonsr2_') for k in A.keys()), 'ParagonSRModel' in M, 'SamplePhotosDataset' in D)"
    )
    result = python(code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["12", "True", "True"]


def test_importing_the_package_does_not_touch_the_host() -> None:
    result = python("import sys, paragon_plugin; print('basicsr' in sys.modules, 'torch' in sys.modules)")
    assert result.stdout.split() == ["False", "False"]


@pytest.mark.usefixtures("host")
def test_jpeg_degradation_takes_a_fractional_quality() -> None:
    from basicsr.data.degradations import random_add_jpg_compression

    rng = np.random.default_rng(0)
    image = rng.random((32, 32, 3), dtype=np.float32)
    np.random.seed(0)
    compressed = random_add_jpg_compression(image, (30, 31))
    assert compressed.shape == image.shape
    assert 0.01 < np.abs(compressed - image).mean() < 0.3  # compressed, and still that image


def test_distributed_without_gpu_starts_gloo() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU: NCCL is the right backend")
    code = (
        "import os; os.environ.update(RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1', MASTER_PORT='0');"
        "import paragon_plugin; paragon_plugin.install();"
        "from basicsr.utils.dist_util import init_dist; init_dist('pytorch');"
        "import torch.distributed as d; print(d.get_backend()); d.destroy_process_group()"
    )
    result = python(code)
    assert result.stdout.strip() == "gloo", result.stderr


@pytest.mark.usefixtures("host")
def test_a_part_with_the_suffix_is_found_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    from basicsr.archs import build_network
    from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY

    options = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4}
    assert type(build_network(options)).__name__ == "UNetDiscriminatorSN"
    assert DATASET_REGISTRY.get("RealESRGANDataset") is DATASET_REGISTRY.get("RealESRGANDataset_basicsr")
    with pytest.raises(KeyError, match="No object named 'UNet' found in 'arch' registry!"):
        ARCH_REGISTRY.get("UNet")
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("host")
def test_wandb_begins_though_it_makes_no_id_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the package as it is today, as far as BasicSR asks for it."""
    import basicsr.train

    begun: list[dict[str, Any]] = []
    wandb = types.ModuleType("wandb")
    vars(wandb).update(util=types.ModuleType("wandb.util"), init=lambda **options: begun.append(options))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    options = {"name": "a", "logger": {"wandb": {"project": "mine"}, "use_tb_logger": True}}
    for _ in range(2):
        basicsr.train.init_wandb_logger(options)
    assert [run["project"] for run in begun] == ["mine", "mine"]
    assert all(run["sync_tensorboard"] and len(run["id"]) == 8 for run in begun)
    assert begun[0]["id"] != begun[1]["id"]
