"""`paragon train` as a user runs it: real processes, real photographs, real files read back."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from training_parts import paired_folders

pytestmark = pytest.mark.usefixtures("host")

Paragon = Callable[..., subprocess.CompletedProcess[str]]
Options = Callable[..., Path]


def test_a_run_from_start_to_summary(paragon: Paragon, short_options: Options, tmp_path: Path) -> None:
    result = paragon("train", "-opt", short_options(val__val_freq=20, val__save_img=True))
    assert result.returncode == 0, result.stderr
    assert "\r" not in result.stdout + result.stderr  # in a file: plain lines
    root = tmp_path / "experiments" / "short"
    assert {p.name for p in (root / "models").iterdir()} == {
        f"net_g_{label}.pth" for label in (20, 40, "latest", "best")
    }
    assert {p.name for p in (root / "training_states").iterdir()} == {"20.state", "40.state"}
    assert len(list((root / "visualization").glob("*/*/*.png"))) == 4
    assert (root / "short.yml").is_file()
    assert "Network: ParagonSR2" in next(root.glob("train_*.log")).read_text()
    decisions = [json.loads(line) for line in (root / "loss_schedule.jsonl").read_text().splitlines()]
    assert {d["losses"][0] for d in decisions if d["kind"] == "calibrated"} == {"l1_loss", "fft_loss"}
    for where in re.findall(r"^  \w+ +((?:experiments|tb_logger)/\S+)$", result.stdout, re.MULTILINE):
        assert (tmp_path / where).exists()

    # the closing figure is the PSNR of the saved weights, computed here on its own
    table = dict(re.findall(r"^  (bicubic|Magic Kernel Sharp 2021|this network) +([\d.]+)$", result.stdout, re.M))
    assert len(table) == 3
    assert float(table["this network"]) == pytest.approx(
        validation_psnr(root / "models" / "net_g_latest.pth"), abs=0.02
    )


def validation_psnr(checkpoint: Path) -> float:
    import numpy as np

    import paragon_plugin

    paragon_plugin.install()
    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import SamplePhotosDataset
    from paragon_plugin.nets.paragonsr2 import build_paragonsr2

    net = build_paragonsr2("nano", scale=2).eval()
    net.load_state_dict(torch.load(checkpoint, weights_only=True)["params_ema"])
    values = []
    for item in SamplePhotosDataset({"phase": "val", "scale": 2}):  # type: ignore[attr-defined]
        with torch.no_grad():
            sr = net(item["lq"][None])[0].clamp(0, 1).mul(255).round().numpy()
        luma = np.array([65.481, 128.553, 24.966])[:, None, None] / 255
        difference = ((sr - np.round(item["gt"].numpy() * 255)) * luma).sum(0)[2:-2, 2:-2]
        values.append(10 * np.log10(255**2 / np.mean(difference**2)))
    return float(np.mean(values))


def test_tensorboard_holds_losses_weights_and_shares(paragon: Paragon, short_options: Options, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert paragon("train", "-opt", short_options()).returncode == 0
    events = EventAccumulator(str(tmp_path / "tb_logger" / "short"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {f"losses/l_{n}" for n in ("l1_loss", "fft_loss")} <= tags
    assert {f"{kind}/{n}" for kind in ("loss_weights", "loss_shares") for n in ("l1_loss", "fft_loss")} <= tags
    shares = [[e.value for e in events.Scalars(f"loss_shares/{n}")] for n in ("l1_loss", "fft_loss")]
    assert len(shares[0]) == 4
    assert all(a + b == pytest.approx(1, abs=1e-5) for a, b in zip(*shares, strict=True))


def test_the_stock_pipeline_trains_our_model_from_the_same_file(short_options: Options, tmp_path: Path) -> None:
    code = (
        "import sys, paragon_plugin; paragon_plugin.install();"
        "from basicsr.train import train_pipeline; train_pipeline(sys.argv.pop(1))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), "-opt", str(short_options())],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    root = tmp_path / "experiments" / "short"
    assert (root / "models" / "net_g_latest.pth").is_file()
    assert "calibrated" in (root / "loss_schedule.jsonl").read_text()
    assert "End of training" in result.stderr


def test_resume_goes_on_and_passes_over_a_damaged_state(
    paragon: Paragon, short_options: Options, tmp_path: Path
) -> None:
    assert paragon("train", "-opt", short_options()).returncode == 0
    root = tmp_path / "experiments" / "short"
    damaged = root / "training_states" / "40.state"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    result = paragon("train", "-opt", short_options(), "--auto_resume")
    assert result.returncode == 0, result.stderr
    assert "40.state is damaged" in result.stderr
    assert "Resuming from iteration 20 " in result.stdout
    assert "Trained to iteration 40 " in result.stdout
    assert torch.load(damaged, weights_only=True)["iter"] == 40


def test_a_signal_ends_the_run_with_a_checkpoint_to_go_on_from(
    paragon: Paragon, short_options: Options, tmp_path: Path
) -> None:
    file = short_options(train__total_iter=100_000, logger__save_checkpoint_freq=100_000)
    command = [sys.executable, "-u", "-m", "paragon_plugin.train", "-opt", str(file)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "iter:" in line:
            break
    process.send_signal(signal.SIGTERM)
    rest = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + signal.SIGTERM
    stopped = re.search(r"Stopped at iteration ([\d,]+) with a checkpoint", rest)
    assert stopped, rest
    iteration = int(stopped[1].replace(",", ""))
    states = tmp_path / "experiments" / "short" / "training_states"
    assert [p.name for p in states.iterdir()] == [f"{iteration}.state"]
    result = paragon("train", "-opt", short_options(train__total_iter=iteration + 5), "--auto_resume")
    assert f"Resuming from iteration {iteration:,} " in result.stdout


def test_a_loss_that_stays_nan_ends_the_run_with_its_name(
    paragon: Paragon, short_options: Options, tmp_path: Path
) -> None:
    """From the eighth step on, a learning rate of 1e27 makes the weights so large that every loss is NaN."""
    schedule = {"type": "CosineAnnealingRestartLR", "periods": [7, 33], "restart_weights": [1, 1e30]}
    result = paragon("train", "-opt", short_options(train__scheduler=schedule))
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(
        "paragon train: l1_loss, fft_loss gave NaN or infinity for 10 steps"
    )
    assert result.stderr.splitlines()[-1].endswith("No checkpoint yet.")
    assert "Traceback" not in result.stderr
    log = (tmp_path / "experiments" / "short" / "loss_schedule.jsonl").read_text()
    assert [json.loads(line)["kind"] for line in log.splitlines()].count("nonfinite") == 9


def test_two_processes_train_together(short_options: Options, tmp_path: Path) -> None:
    """With data workers, which are spawned in distributed runs and must find the host repaired."""
    file = short_options(train__total_iter=12, num_gpu=0, datasets__train__num_worker_per_gpu=1)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--standalone"]
    command += ["-m", "paragon_plugin.train", "-opt", str(file)]
    result = subprocess.run(
        [*command, "--launcher", "pytorch"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("Trained to iteration 12 ") == 1
    assert "Trained" not in result.stderr


def test_live_line_on_a_terminal(short_options: Options, tmp_path: Path) -> None:
    """In a pseudo-terminal: one line redrawn in place with iteration, speed, time left, losses and multipliers."""
    import pty

    file = short_options(train__total_iter=60)
    terminal, tty = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "paragon_plugin.train", "-opt", str(file)],
        cwd=tmp_path,
        stdout=tty,
        stderr=tty,
        env={**os.environ, "COLUMNS": "160"},
    )
    os.close(tty)
    screen = b""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not chunk:
            break
        screen += chunk
    assert process.wait(30) == 0
    text = screen.decode()
    assert re.search(r"\r\d+/60 \[\d\d:\d\d<\d\d:\d\d, +[\d.]+(it/s|s/it)\] l1_loss [\d.e-]+ x[\d.]+  fft_loss", text)
    assert "[epoch:" not in text  # the regular lines are in the log file only
    log = next((tmp_path / "experiments" / "short").glob("train_*.log"))
    assert log.read_text().count("[epoch:") == 6


@pytest.fixture
def refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[[Path], str]:
    """Runs `paragon train` on an option file that must be refused with exit status 2; returns what it says."""
    from paragon_plugin.cli.main import main

    def refuse(file: Path) -> str:
        monkeypatch.chdir(tmp_path)
        assert main(["train", "-opt", str(file)]) == 2
        return capfd.readouterr().err

    return refuse


BAD: list[tuple[dict[str, Any], str]] = [
    ({"train__dynamic_loss_scheduling__momentun": 0.5}, "momentun: unknown option; did you mean 'momentum'?"),
    ({"train__dynamic_loss_scheduling__momentum": "fast"}, "momentum: must be a number, got 'fast'"),
    ({"train__losses": [{"type": "L1Los"}]}, "no loss 'L1Los'; did you mean 'L1Loss'?"),
    ({"network_g__type": "paragonsr2_nanoo"}, "'paragonsr2_nanoo'; did you mean 'paragonsr2_nano'?"),
    ({"network_g__use_attentoin": True}, "use_attentoin"),
    ({"model_type": "ParagonSR"}, "did you mean 'ParagonSRModel'?"),
    (
        {"datasets__train__type": "PairedImageDataset", "datasets__train__dataroot_gt": "/no/such/folder"},
        "datasets.train.dataroot_gt: the folder /no/such/folder does not exist",
    ),
    ({"val__metrics__psnr__type": "calculate_psrn"}, "did you mean 'calculate_psnr'?"),
    ({"train__optim_g__type": "Adamm"}, "Adamm"),
    ({"datasets__train__dataset_enlarge_ratio": 0.01}, "do not fill one batch"),
    ({"path__resume_state": "nowhere.state"}, "nowhere.state does not exist"),
    ({"path__pretrain_network_g": "nowhere.pth"}, "nowhere.pth does not exist"),
]


D = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 8}
ADAM = {"type": "Adam", "lr": 1e-4}
GAN = {"type": "GANLoss", "gan_type": "vanilla"}
ADVERSARIAL: dict[str, Any] = {
    "model_type": "ParagonGANModel",
    "network_d": D,
    "train__optim_d": ADAM,
    "train__gan_opt": GAN,
}

BAD_RECIPES: list[tuple[dict[str, Any], str]] = [
    ({"train__gan_opt": GAN}, "train.gan_opt: GANLoss needs a discriminator; use 'model_type: ParagonGANModel'"),
    ({**ADVERSARIAL, "network_d": ...}, "network_d: is missing; this model trains a discriminator"),
    ({**ADVERSARIAL, "train__optim_d": ...}, "train.optim_d: must be a block with"),
    ({**ADVERSARIAL, "train__gan_opt": ...}, "train: needs one adversarial loss (gan_opt: type: GANLoss), has none"),
    (
        {**ADVERSARIAL, "train__gan_opt": {**GAN, "gan_type": "hinge", "relativistic": True}},
        "train.gan_opt: gan_type hinge has no relativistic form here",
    ),
    (
        {**ADVERSARIAL, "network_d": {"type": "VGGStyleDiscriminator", "num_in_ch": 3, "num_feat": 8}},
        "network_d: gan_loss: Input size must be identical to input_size",
    ),
    ({**ADVERSARIAL, "network_d": {**D, "type": "UNetDiscriminator"}}, "did you mean 'UNetDiscriminatorSN'?"),
    ({**ADVERSARIAL, "train__net_d_iters": 0}, "train.net_d_iters: must be a whole number of at least 1"),
    (
        {**ADVERSARIAL, "train__ema_decay": 0, "train__ldl_opt": {"type": "L1Loss"}},
        "train.ema_decay: must be above 0: an LDL loss compares with the averaged network",
    ),
    ({"model_type": "SRModel"}, "model_type: SRModel knows neither 'losses' nor"),
    ({"model_type": "ParagonRealESRNetModel"}, "resize_prob: is missing: an option of Real-ESRGAN's degradations"),
    ({"use_amp": "fp16"}, "use_amp: fp16 needs a GPU"),
    ({"datasets__train__accum_iter": "two"}, "datasets.train.accum_iter: must be a whole number"),
    (
        {"datasets__train__accum_iter": 100},
        "do not fill one batch of 400 (batch_size_per_gpu x accum_iter); raise dataset_enlarge_ratio",
    ),
]
BAD += BAD_RECIPES


@pytest.mark.parametrize(("overrides", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_input_is_one_line_exit_2_and_nothing_written(
    refusal: Callable[[Path], str], short_options: Options, tmp_path: Path, overrides: dict[str, Any], message: str
) -> None:
    error = refusal(short_options(**overrides))
    assert error.count("\n") == 1
    assert message in error
    assert error.startswith("paragon train: ")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["short.yml"]


def test_bad_input_as_a_process(paragon: Paragon, tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text("name: !!python/object/apply:os.system ['touch ran']")
    result = paragon("train", "-opt", "bad.yml")
    assert result.returncode == 2
    assert result.stderr.startswith("paragon train: bad.yml, line 1: the tag ")
    assert result.stderr.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["bad.yml"]


def test_every_option_file_of_the_project_is_valid_yaml_with_known_names() -> None:
    from basicsr.utils.registry import ARCH_REGISTRY, MODEL_REGISTRY

    from paragon_plugin.scheduling.options import parse_dynamic_loss_scheduling

    folder = Path(__file__).parents[2] / "options"
    files = sorted(file for file in folder.rglob("*.yml") if "trainner_redux" not in file.parts)
    assert len(files) >= 3
    for file in files:
        options = yaml.safe_load(file.read_text())
        assert options["model_type"] in MODEL_REGISTRY, file
        assert options["network_g"]["type"] in ARCH_REGISTRY, file
        if "train" in options:  # files for testing have none
            assert parse_dynamic_loss_scheduling(options["train"]["dynamic_loss_scheduling"]).enabled


TRAIN_FILES = sorted((Path(__file__).parents[2] / "options" / "train").glob("*_s_x4_fidelity.yml"))


@pytest.mark.parametrize("file", TRAIN_FILES, ids=lambda file: file.stem)
def test_the_option_files_train_on_a_users_own_folders(paragon: Paragon, tmp_path: Path, file: Path) -> None:
    """Real image files in folders of the user's; only folders, sizes and counts are set over the file."""
    import cv2

    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import VALIDATION_PHOTOS, low_resolution, sample_photo

    scale = yaml.safe_load(file.read_text())["scale"]
    for name in VALIDATION_PHOTOS:
        hr = sample_photo(name)[: 32 * scale, : 40 * scale]
        for folder, image in (("HR", hr), ("LR", (low_resolution(hr.astype("float32") / 255, scale) * 255).round())):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f"{name}.png"), image[..., ::-1].astype("uint8"))
    overrides = [
        f"datasets:{part}:dataroot_{kind}={folder}"
        for part in ("train", "val")
        for kind, folder in (("gt", "HR"), ("lq", "LR"))
    ]
    overrides += ["train:total_iter=3", "datasets:train:gt_size=64", "datasets:train:batch_size_per_gpu=1"]
    overrides += ["datasets:train:num_worker_per_gpu=1", "val:val_freq=3", "datasets:train:dataset_enlarge_ratio=4"]
    refused = paragon("train", "-opt", file)
    assert refused.returncode == 2
    assert "datasets.train.dataroot_gt: the folder" in refused.stderr
    result = paragon("train", "-opt", file, "--force_yml", *overrides)
    assert result.returncode == 0, result.stderr
    assert re.search(r"this network +\d+\.\d+ +0?\.\d+", result.stdout), result.stdout


def own_folders(root: Path, *, lr_scale: int = 2) -> dict[str, Any]:
    """Options for a user's own folders of two small pairs, written under root."""
    import cv2
    import numpy as np

    source = np.random.default_rng(0)
    for name in ("a", "b"):
        for folder, side in (("HR", 64), ("LR", 64 // lr_scale)):
            (root / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(root / folder / f"{name}.png"), source.integers(0, 255, (side, side, 3), np.uint8))
    return paired_folders(root)


LATE: list[tuple[dict[str, Any], str]] = [
    ({"datasets__train__gt_size": 4096}, "datasets.train.gt_size: is 4096, larger than 2 images (a.png 64 x 64"),
    ({"datasets__train__gt_size": 33}, "datasets.train.gt_size: must be a multiple of scale 2"),
    ({"datasets__train__use_hflip": ...}, "datasets.train.use_hflip: is missing"),
    ({"network_g__in_chans": 1}, "network_g: this network takes images of 1 channels"),
    (
        {"val__metrics__psnr__crop_border": 999},
        "val.metrics.psnr: cannot measure a.png (32 x 32) of datasets.val: psnr g",
    ),
    ({"train__losses": [{"type": "L1Loss", "reduction": "none"}]}, "l1_loss must be one number"),
    ({"train__warmup_iter": "x"}, "train.warmup_iter: must be a number"),
    (
        {"train__scheduler": {"type": "MultiStepLR", "milestones": ["a"]}},
        "train.scheduler.milestones: must be a list of numbers",
    ),
    ({"train__ema_decay": 2}, "train.ema_decay: must be a number below 1"),
    ({"train__dynamic_loss_schedulling": {}}, "did you mean 'dynamic_loss_scheduling'?"),
    ({"model_type": "SRModel"}, "model_type: SRModel knows neither 'losses' nor 'dynamic_loss_scheduling'"),
    ({"train__losses": [{"type": "L1Loss", "start_iter": 30}]}, "no loss trains before iteration 30"),
    ({"val": [1, 2]}, "val: must be a block"),
    ({"manual_seed": -5}, "manual_seed: must be a whole number from 0"),
]


@pytest.mark.parametrize(("overrides", "message"), LATE, ids=[message[:40] for _, message in LATE])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_would_fail_hours_in_is_refused_before_anything_is_written(
    refusal: Callable[[Path], str], short_options: Options, tmp_path: Path, overrides: dict[str, Any], message: str
) -> None:
    folders = tmp_path / "mine"
    folders.mkdir()
    error = refusal(short_options(**{**own_folders(folders), **overrides}))
    assert message in error
    assert error.splitlines()[-1].startswith("paragon train: ")
    assert "Traceback" not in error
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "short.yml"]


@pytest.mark.parametrize("damage", ["no image", "wrong size"])
def test_images_that_cannot_be_used_are_named(
    refusal: Callable[[Path], str], short_options: Options, tmp_path: Path, damage: str
) -> None:
    options = own_folders(tmp_path, lr_scale=4 if damage == "wrong size" else 2)
    if damage == "no image":
        for name in ("a", "b"):
            (tmp_path / "HR" / f"{name}.png").write_text("not an image")
    assert "a.png" in refusal(short_options(**options))
    assert not (tmp_path / "experiments").exists()


def test_a_rehearsal_changes_nothing(short_options: Options, tmp_path: Path) -> None:
    """Neither weights nor random states: a run with it is the run without it."""
    import random

    import numpy as np
    from basicsr.models import build_model
    from basicsr.train import create_train_val_dataloader

    from paragon_plugin.hosts.basicsr.checks.rehearsal import rehearse
    from paragon_plugin.hosts.basicsr.options.file import argument_parser, load_options

    options = load_options(argument_parser().parse_args(["-opt", str(short_options())]), str(tmp_path), is_train=True)
    import logging

    loader, _, val_loaders, *_ = create_train_val_dataloader(options, logging.getLogger("basicsr"))
    model = build_model(options)
    before = {k: v.clone() for k, v in model.net_g.state_dict().items()}
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[union-attr]
    rehearse(options, model, loader, val_loaders)
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # type: ignore[union-attr]
    assert torch.equal(torch.get_rng_state(), states[2])
    assert all(torch.equal(before[k], v) for k, v in model.net_g.state_dict().items())
    assert model.net_g.training


def test_a_rank_that_refuses_alone_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from paragon_plugin.cli import main

    monkeypatch.setenv("RANK", "3")
    monkeypatch.setattr(main, "WAIT_FOR_FIRST_RANK", 0)
    assert main.main(["train", "-opt", str(tmp_path / "nowhere.yml"), "--launcher", "pytorch"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("paragon train: rank 3: ")
    assert "nowhere.yml" in line
