"""redux's own scripts, unmodified, as processes: linked and through the launcher. They need some minutes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from redux_runs import GAN, options
from safetensors.torch import load_file

from paragon_plugin.cli.main import main
from paragon_plugin.hosts.trainner_redux.link import LINK
from paragon_plugin.resilience.checkpoints import read_network

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
WITHOUT_GPU = Path(__file__).with_name("without_gpu.py")
LAUNCHER = ("-m", "paragon_plugin.hosts.trainner_redux")

THEIRS = {"type": "span_s", "feature_channels": 8}
"""One of redux's own networks."""

Script = Callable[..., subprocess.Popen[bytes]]
Done = Callable[..., str]


@pytest.fixture
def site(copied: Path) -> Path:
    """A checkout with a few small images."""
    random = np.random.default_rng(0)
    for kind, count in {"train": 4, "val": 2}.items():
        for number in range(count):
            smooth = Image.fromarray(random.integers(0, 256, (12, 12, 3), np.uint8)).resize(
                (96, 96), Image.Resampling.BICUBIC
            )
            for folder, side in {"hr": 96, "lr": 48}.items():
                (copied / "datasets" / kind / folder).mkdir(parents=True, exist_ok=True)
                smooth.resize((side, side)).save(copied / "datasets" / kind / folder / f"{number}.png")
    return copied


def write(site: Path, name: str = "run", **changes: Any) -> str:
    """An option file of the checkout; returns its path."""
    images = {"num_worker_per_gpu": 0, "prefetch_factor": None, "persistent_workers": False, "pin_memory": False}
    train = {"dataroot_gt": ["datasets/train/hr"], "dataroot_lq": ["datasets/train/lr"], **images}
    val = {
        "name": "Val",
        "type": "pairedimagedataset",
        "dataroot_gt": ["datasets/val/hr"],
        "dataroot_lq": ["datasets/val/lr"],
    }
    found = options(
        **{
            "name": name,
            "datasets__val": val,
            "train__total_iter": 30,
            "logger": {"print_freq": 1, "save_checkpoint_freq": 10, "use_tb_logger": True},
            "val": {"val_enabled": True, "val_freq": 15, "save_img": True, "pbar": False, "metrics_enabled": True,
                    "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": False}}},
            **changes,
        }
    )  # fmt: skip
    found["datasets"]["train"] |= train
    file = site / "options" / f"{name}.yml"
    file.write_text(json.dumps(found))
    return f"options/{name}.yml"


@pytest.fixture
def script(site: Path) -> Script:
    """Starts a script of redux in its checkout."""

    def start(*arguments: str, ranks: int = 1, **variables: str) -> subprocess.Popen[bytes]:
        launched = [sys.executable, str(WITHOUT_GPU)]
        if ranks > 1:
            launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}",
                        str(WITHOUT_GPU)]  # fmt: skip
        return subprocess.Popen(
            [*launched, *arguments],
            cwd=site,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables},
            stdout=(site / "told.log").open("w"),  # a pipe that nobody reads would stop the script
            stderr=subprocess.STDOUT,
        )

    return start


@pytest.fixture
def done(site: Path) -> Done:
    """Waits for a script; returns what it said."""

    def wait(process: subprocess.Popen[bytes], status: int = 0) -> str:
        process.wait(timeout=400)
        told = (site / "told.log").read_text()
        assert process.returncode == status, told[-3000:]
        return told

    return wait


def lines(site: Path, name: str = "run") -> list[dict[str, Any]]:
    file = site / "experiments" / name / "run_record.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def wait_for(site: Path, iteration: int, process: subprocess.Popen[bytes], name: str = "run") -> None:
    """Until a run has recorded an iteration."""
    for _ in range(3000):
        if any(line["iteration"] >= iteration for line in lines(site, name)) or process.poll() is not None:
            return
        time.sleep(0.1)


def weights_at(site: Path, iteration: int, name: str = "run") -> dict[str, float]:
    """Weights of the losses, as the record has them."""
    found = [line for line in lines(site, name) if (line["kind"], line["iteration"]) == ("scalars", iteration)]
    return {tag: value for tag, value in found[-1]["values"].items() if tag.startswith("loss_weights/")}


@pytest.mark.parametrize("network", [{"type": "paragonsr2_nano"}, THEIRS], ids=["ours", "theirs"])
def test_a_linked_run_is_killed_resumed_and_reported(
    network: dict[str, Any], site: Path, script: Script, done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["redux", "link", str(site)]) == 0
    file = write(site, **GAN, network_g=network)
    killed = script("train.py", "-opt", file)
    wait_for(site, 25, killed)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    before = weights_at(site, 20)
    state = torch.load(site / "experiments/run/training_states/20.state", weights_only=True)
    assert state["optimizers"][0]["paragon_loss_balance"]["iteration"] == 20
    told = done(script("train.py", "--auto_resume", "-opt", file))
    assert "calibration starts afresh" not in told
    assert before != weights_at(site, 1)
    assert weights_at(site, 21) == pytest.approx(before, rel=0.02)  # one step may move them by so much
    kinds = [(line["kind"], line["iteration"]) for line in lines(site)]
    assert ("started", 20) in kinds
    assert kinds[-1] == ("finished", 30)
    assert ("validation", 15) in kinds
    assert ("validation", 30) in kinds
    monkeypatch.chdir(site)
    assert main(["report", "run"]) == 0
    page = (site / "experiments/run/report.html").read_text()
    assert "l_g_mssim" in page
    assert "models/net_g_ema_latest.safetensors" in page
    assert "calibrated" in page
    if network["type"] == "paragonsr2_nano":
        weights = site / "experiments/run/models/net_g_ema_latest.safetensors"
        assert main(["upscale", str(site / "datasets/val/lr/0.png"), "-m", str(weights), "-o", "large.png"]) == 0
        assert Image.open("large.png").size == (96, 96)


def test_an_interrupted_run_is_stopped_and_one_with_an_error_failed(site: Path, script: Script, done: Done) -> None:
    file = write(site, train__total_iter=1000)
    running = script(*LAUNCHER, "train.py", "-opt", file)
    wait_for(site, 3, running)
    running.send_signal(signal.SIGINT)
    done(running)
    assert lines(site)[-1]["kind"] == "stopped"
    failing = script(*LAUNCHER, "train.py", "-opt", write(site, "broken", train__total_iter=1000))
    wait_for(site, 3, failing, "broken")
    shutil.rmtree(site / "datasets/train")
    done(failing)
    last = lines(site, "broken")[-1]
    assert last["kind"] == "failed"
    assert "datasets/train" in last["reason"]


@pytest.mark.parametrize("block", [..., {"enabled": False}, {"enabled": True, "observe": True}])
def test_weights_are_those_of_an_unlinked_checkout(block: Any, site: Path, script: Script, done: Done) -> None:
    changes = {"train__total_iter": 20, "network_g": THEIRS}
    done(script("train.py", "-opt", write(site, "plain", **changes, train__dynamic_loss_scheduling=...)))
    assert main(["redux", "link", str(site)]) == 0
    done(script("train.py", "-opt", write(site, **changes, train__dynamic_loss_scheduling=block)))
    plain, ours = (
        load_file(site / f"experiments/{name}/models/net_g_ema_latest.safetensors") for name in ("plain", "run")
    )
    assert all(torch.equal(plain[key], ours[key]) for key in plain)


def test_the_launcher_needs_no_file(site: Path, script: Script, done: Done) -> None:
    done(script(*LAUNCHER, "train.py", "-opt", write(site)))
    assert not (site / LINK).exists()
    assert lines(site)[-1]["kind"] == "finished"
    trained = "experiments/run/models/net_g_ema_latest.safetensors"
    file = site / write(site, "tested", path__pretrain_network_g=trained, train=...)
    settings = json.loads(file.read_text())
    settings["datasets"].pop("train")
    file.write_text(json.dumps(settings))
    done(script(*LAUNCHER, "test.py", "-opt", str(file)))
    assert len(list((site / "results/tested/visualization").rglob("*.png"))) == 2


def test_two_processes_train_and_the_first_keeps_the_record(site: Path, script: Script, done: Done) -> None:
    assert main(["redux", "link", str(site)]) == 0
    file = write(site, **GAN, datasets__train__batch_size_per_gpu=2)
    done(script("train.py", "--launcher", "pytorch", "-opt", file, ranks=2))
    assert lines(site)[-1]["kind"] == "finished"
    assert len([line for line in lines(site) if line["kind"] == "scalars"]) >= 30
    assert read_network(site / "experiments/run/models/net_g_ema_latest.safetensors")


def test_a_bad_block_ends_the_script_with_one_line_and_no_folder(site: Path, script: Script, done: Done) -> None:
    assert main(["redux", "link", str(site)]) == 0
    file = write(site, train__dynamic_loss_scheduling={"enabled": True, "momentun": 0.9})
    told = done(script("train.py", "-opt", file), status=2)
    assert told.splitlines()[-1].startswith("paragon-plugin: train.dynamic_loss_scheduling.momentun: unknown option")
    assert "Traceback" not in told
    assert not (site / "experiments").exists()


def test_disabled_redux_knows_nothing_of_the_block(site: Path, script: Script, done: Done) -> None:
    assert main(["redux", "link", str(site)]) == 0
    told = done(script("train.py", "-opt", write(site), PARAGON_DISABLE="1"), status=1)
    assert "unknown field `dynamic_loss_scheduling`" in told
    done(script("train.py", "-opt", write(site, network_g=THEIRS,
                                          train__dynamic_loss_scheduling=...), PARAGON_DISABLE="1"))  # fmt: skip


@pytest.mark.parametrize("where", ["linked", "launched"])
def test_a_redux_that_has_changed_is_refused_in_one_line(where: str, site: Path, script: Script, done: Done) -> None:
    if where == "linked":
        assert main(["redux", "link", str(site)]) == 0
    model = site / "traiNNer/models/sr_model.py"
    model.write_text(model.read_text().replace("init_training_settings", "set_up"))
    told = done(script(*(LAUNCHER if where == "launched" else ()), "train.py", "-opt", write(site)), status=2)
    assert "traiNNer/models/sr_model.py has no SRModel.init_training_settings" in told.splitlines()[-1]


def test_the_launcher_refuses_what_is_no_script_of_redux(
    site: Path, script: Script, done: Done, tmp_path: Path
) -> None:
    shutil.copy(site / "train.py", tmp_path)
    for arguments, told in {
        (): "SCRIPT: is missing",
        ("none.py",): "none.py: is no file",
        (str(tmp_path / "train.py"),): "is no script of traiNNer-redux",
    }.items():
        assert told in done(script(*LAUNCHER, *arguments), status=2).splitlines()[-1]
