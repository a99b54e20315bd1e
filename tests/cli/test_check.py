"""`paragon check`: everything at once, nothing written, and what it passes starts."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from training_parts import paired_folders

from paragon_plugin.scheduling.roles import TYPICAL_SHARES
from paragon_plugin.scheduling.run_record import RunRecord

pytestmark = pytest.mark.usefixtures("host")

Options = Callable[..., Path]
Check = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Runs `paragon check` in this process; returns exit status and lines. It must write nothing and not fail."""
    from paragon_plugin.cli.main import main

    def run(file: Path, *arguments: str) -> tuple[int, list[str]]:
        monkeypatch.chdir(tmp_path)
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        status = main(["check", "-opt", str(file), *arguments])
        out, err = capsys.readouterr()
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
        assert "Traceback" not in out + err
        return status, (out + err).splitlines()

    return run


def problems(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith(("error: ", "warning: "))]


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Six pairs of real patches, HR 64 x 80 and LR half of it."""
    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import low_resolution, sample_photo

    photo = sample_photo("coffee")
    for folder in ("HR", "LR"):
        (tmp_path / folder).mkdir()
    for number in range(6):
        hr = photo[40 * number : 40 * number + 64, :80]
        lr = np.round(low_resolution(hr.astype("float32") / 255, 2) * 255).astype("uint8")
        cv2.imwrite(str(tmp_path / "HR" / f"{number}.png"), hr[..., ::-1])
        cv2.imwrite(str(tmp_path / "LR" / f"{number}.png"), lr[..., ::-1])
    return tmp_path


def test_a_sound_file_has_no_problem_and_shows_its_schedule(
    check: Check, short_options: Options, folders: Path
) -> None:
    state = torch.get_rng_state()
    losses = [{"type": "L1Loss"}, {"type": "FFTLoss", "start_iter": 5}]
    file = short_options(**paired_folders(folders), train__losses=losses)
    status, lines = check(file)
    assert status == 0
    assert not problems(lines)
    assert lines[-1] == f"{file}: no errors, no warnings"
    text = "\n".join(lines)
    assert "l1_loss   pixel        weight 1" in text
    assert "fft_loss  structural   weight 1, from iteration 5" in text
    assert "target auto, prefer balanced (" in text
    assert "; network is paragonsr2_nano" in text
    assert "baseline_iterations   10        preset nano, capped at 5% of total_iter" in text
    assert state.shape == torch.get_rng_state().shape


def test_the_wish_the_limits_and_what_an_earlier_run_found_are_told(
    check: Check, short_options: Options, folders: Path
) -> None:
    block = {"enabled": True, "auto_calibrate": True, "adversarial_share": 0.25, "adversarial_max_calibration": 3}
    losses = [{"type": "L1Loss"}, {"type": "WeightedTVLoss", "loss_weight": 1e-3}]
    options = {"train__losses": losses, "train__dynamic_loss_scheduling": block}
    file = short_options(**paired_folders(folders), **options, train__total_iter=1000)
    status, lines = check(file)
    assert status == 0
    where = "warning: train.dynamic_loss_scheduling."
    assert problems(lines) == [
        f"{where}adversarial_share: is deprecated; write 'typical_shares: {{adversarial: ...}}' instead; "
        "it is taken as that",
        f"{where}adversarial_max_calibration: is deprecated; it has no effect any more: an adversarial loss is raised "
        "by 100 at most",
    ]
    share = 100 * TYPICAL_SHARES["balanced"]["regularization"]
    assert f"weighted_tv_loss: at most {share:g} % of the update." in lines
    assert "l1_loss: observed for 50 iterations, then calibrated." in lines
    assert "manual_weights:" not in "".join(lines)

    record = RunRecord(folders / "experiments" / "short")
    record.describe(name="short")
    record.start(0)
    record.scalars(20, {"loss_weights/l1_loss": 1.0, "loss_weights/weighted_tv_loss": 1e-3})
    record.scalars(40, {"loss_weights/l1_loss": 0.71234, "loss_weights/weighted_tv_loss": 2e-5})
    record.end(40, "finished")
    _, lines = check(file)
    at = lines.index("short arrived at these weights (iteration 40), as constants:")
    assert yaml.safe_load("\n".join(lines[at + 1 : at + 4])) == {
        "manual_weights": {"l1_loss": 0.7123, "weighted_tv_loss": 2e-5}
    }


def test_a_loss_of_unknown_role_needs_one_under_auto_alone(
    check: Check, short_options: Options, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from basicsr.utils.registry import LOSS_REGISTRY

    monkeypatch.setitem(LOSS_REGISTRY._obj_map, "Mine", type("Mine", (LOSS_REGISTRY.get("L1Loss"),), {}))
    for role, target, refused in ((None, "auto", True), ("pixel", "auto", False), (None, "baseline", False)):
        losses = [{"type": "L1Loss"}, {"type": "Mine"} | ({"role": role} if role else {})]
        block = {"enabled": True, "target": target}
        options = {"train__losses": losses, "train__dynamic_loss_scheduling": block}
        status, lines = check(short_options(**paired_folders(folders), **options))
        assert (status == 2) == refused
        if refused:
            (line,) = problems(lines)
            assert line.startswith("error: train.dynamic_loss_scheduling.target: is auto, which needs the role of ")
            assert "mine" in line


def test_everything_is_told_at_once(check: Check, short_options: Options, folders: Path) -> None:
    """Sixteen faults in one file: each has its line, and none hides another."""
    (folders / "LR" / "0.png").unlink()
    file = short_options(
        **{
            **paired_folders(folders),
            "model_type": "ParagonSRModell",
            "use_ampp": "bf16",
            "nonsense": 1,
            "num_gpu": "some",
            "datasets__train__use_hflip": "maybe",
            "datasets__train__use_rot": ...,
            "datasets__train__batch_size_per_gpu": 2.5,
            "datasets__val__dataroot_gt": "/no/such/folder",
            "network_g": {"type": "paragonsr2_nanoo"},
            "path__pretrain_network_G": "old.pth",
            "train__total_iters": 40,
            "train__total_iter": ...,
            "train__optim_g": {"type": "Adam", "lr": 1e-3, "beta": [0.9]},
            "train__scheduler": {"type": "MultiStepLR", "milestones": "soon"},
            "train__dynamic_loss_scheduling": {"enabled": True, "momentun": 1, "max_weight": 0},
            "val__metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_chanel": True}},
            "logger__print_freq": 0,
        },
    )
    status, lines = check(file)
    assert status == 2
    expected = [
        "error: model_type: nothing is registered as 'ParagonSRModell'; did you mean 'ParagonSRModel'?",
        "error: use_ampp: unknown option; did you mean 'use_amp'?",
        "warning: nonsense: unknown option; nothing reads it",
        "error: num_gpu: must be a number of GPUs or 'auto', is 'some'",
        "error: datasets.train.use_hflip: must be true or false, is 'maybe'",
        "error: datasets.train.use_rot: is missing",
        "error: datasets.train.batch_size_per_gpu: must be a whole number of at least 1, is 2.5",
        "error: datasets.train.dataroot_gt: 1 image (0.png) of ",
        "error: datasets.val.dataroot_gt: the folder /no/such/folder does not exist",
        "error: network_g.type: nothing is registered as 'paragonsr2_nanoo'; did you mean 'paragonsr2_nano'?",
        "error: path.pretrain_network_G: unknown option; did you mean 'pretrain_network_g'?",
        "error: train.total_iter: is missing",
        "error: train.total_iters: unknown option; did you mean 'total_iter'?",
        "error: train.optim_g.beta: unknown option of Adam; did you mean 'betas'?",
        "error: train.scheduler.milestones: must be a list of numbers of at least 0, is 'soon'",
        "error: train.dynamic_loss_scheduling.momentun: unknown option; did you mean 'momentum'?",
        "error: train.dynamic_loss_scheduling.max_weight: must be a number >= 1, got 0",
        "error: val.metrics.psnr.test_y_chanel: unknown option; did you mean 'test_y_channel'?",
        "error: logger.print_freq: must be a whole number of at least 1, is 0",
    ]
    told = problems(lines)
    for line in expected:
        assert sum(one.startswith(line) for one in told) == 1, line
    assert len(told) == len(expected) + 1, told  # and the file that pretrain_network_G names
    assert lines[-1] == f"{file}: 19 errors, 1 warning"


def test_every_loss_is_told_of(check: Check, short_options: Options) -> None:
    losses = [
        {"type": "L1Los"},
        {"type": "L1Loss"},
        {"type": "MSELoss", "reduktion": "mean"},
        {"type": "GANLoss", "gan_type": "vanilla"},
        {"type": "CharbonnierLoss", "start_iter": 41},
        {"type": "L1Loss"},
    ]
    weights = {"enabled": True, "manual_weights": {"l1_loss": 2.0}}
    status, lines = check(short_options(train__losses=losses, train__dynamic_loss_scheduling=weights))
    assert status == 2
    told = {line.split(": ")[1]: line for line in problems(lines)}
    assert "did you mean 'L1Loss'?" in told["train.losses[0].type"]
    assert "unknown option of MSELoss; did you mean 'reduction'?" in told["train.losses[2].reduktion"]
    assert "needs a discriminator" in told["train.losses[3]"]
    assert "is 41, but training ends at total_iter 40: it never acts" in told["train.losses[4].start_iter"]
    assert "'l1_loss' is also the name of train.losses[1]" in told["train.losses[5]"]
    assert len(told) == 5


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            {"train__dynamic_loss_scheduling__baseline_iterations": 40},
            "error: train.dynamic_loss_scheduling.baseline_iterations: is 40, but training ends at total_iter 40",
        ),
        (
            {"train__total_iter": 8, "train__scheduler__periods": [8], "train__ema_decay": 0.5},
            "warning: train.dynamic_loss_scheduling: its baseline takes 10 iterations, total_iter is 8: it never acts",
        ),
        (
            {"train__losses": [{"type": "L1Loss"}]},
            "warning: train.dynamic_loss_scheduling: l1_loss is the only loss that trains: there is nothing to balance",
        ),
        (
            {"train__scheduler__periods": [20, 18], "train__scheduler__restart_weights": [1, 1]},
            "error: train.scheduler.periods: end at iteration 38, before total_iter 40",
        ),
    ],
)
def test_a_schedule_that_cannot_act(check: Check, short_options: Options, overrides: dict[str, Any], line: str) -> None:
    status, lines = check(short_options(**overrides))
    assert [one for one in problems(lines) if one.startswith(line)] == problems(lines) != []
    assert status == (2 if line.startswith("error") else 0)


def test_weights_that_are_not_here_are_not_fetched(
    check: Check, short_options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path.parent / f"{tmp_path.name}_cache"))
    perceptual = {"type": "PerceptualLoss", "layer_weights": {"conv1_2": 1.0}, "perceptual_weight": 1.0}
    status, lines = check(short_options(train__losses=[{"type": "L1Loss"}, perceptual, {"type": "FFTLoss"}]))
    assert status == 0
    (warning,) = problems(lines)
    assert warning.startswith("warning: train.losses[1]: its weights are not here yet; the first start downloads http")
    assert any(line.strip().startswith("fft_loss") for line in lines)


def test_images_without_partners_are_counted_and_named(check: Check, short_options: Options, folders: Path) -> None:
    for number in range(6):
        (folders / "LR" / f"{number}.png").rename(folders / "LR" / f"{number}x2.png")
    _, lines = check(short_options(**paired_folders(folders, "val")))
    assert problems(lines) == [
        f"error: datasets.val.dataroot_gt: 6 images (0.png, 1.png, 2.png, ...) of {folders}/HR without a partner in "
        f"{folders}/LR (filename_tmpl); for 0x2.png write filename_tmpl: '{{}}x2'",
        f"error: datasets.val.dataroot_lq: 6 images (0x2.png, 1x2.png, 2x2.png, ...) of {folders}/LR without a partner "
        f"in {folders}/HR",
    ]
    status, lines = check(short_options(**paired_folders(folders, "val"), datasets__val__filename_tmpl="{}x2"))
    assert (status, problems(lines)) == (0, [])


def test_a_pair_of_another_scale_and_an_image_smaller_than_the_patch_are_named(
    check: Check, short_options: Options, folders: Path
) -> None:
    small = cv2.imread(str(folders / "HR" / "3.png"))
    assert small is not None
    cv2.imwrite(str(folders / "HR" / "3.png"), small[:20])
    cv2.imwrite(str(folders / "LR" / "3.png"), small[:10, :40])
    cv2.imwrite(str(folders / "LR" / "5.png"), small[:16, :20])
    _, lines = check(short_options(**paired_folders(folders)))
    wrong = f"{folders}/LR/5.png 20 x 16 for {folders}/HR/5.png 80 x 64"
    assert problems(lines) == [
        f"error: datasets.train: 1 pairs are not of scale 2, LR images must be 1/2 of HR: {wrong}",
        "error: datasets.train.gt_size: is 32, larger than 1 image (3.png 80 x 20); 20 fits all",
        f"error: datasets.val: 1 pairs are not of scale 2, LR images must be 1/2 of HR: {wrong}",
    ]


def test_a_picture_on_its_side_has_the_size_that_the_host_reads(
    check: Check, short_options: Options, folders: Path
) -> None:
    """OpenCV turns a picture as its EXIF block says: the header's 80 x 64 is 64 x 80 for training."""
    from PIL import Image

    for number in range(6):
        for folder in ("HR", "LR"):
            file = folders / folder / f"{number}.png"
            image = Image.open(file)
            file.unlink()
            exif = Image.Exif()
            exif[0x0112] = 6
            if folder == "HR":
                image.save(file.with_suffix(".jpg"), exif=exif, quality=95)
            else:
                image.transpose(Image.Transpose.ROTATE_270).save(file.with_suffix(".jpg"), quality=95)
    read = cv2.imread(str(folders / "HR" / "0.jpg"))
    assert read is not None
    assert read.shape == (80, 64, 3)
    assert check(short_options(**paired_folders(folders)))[0] == 0


def test_unreadable_images_are_warned_of_up_to_the_share_that_is_allowed(
    check: Check, short_options: Options, folders: Path
) -> None:
    damaged = folders / "HR" / "4.png"
    damaged.write_bytes(damaged.read_bytes()[:-500])
    status, lines = check(short_options(**paired_folders(folders, "train")))
    assert status == 2
    assert problems(lines)[0] == (
        f"error: datasets.train: 1 image file ({damaged} is cut off) of 6 samples cannot be used, more than 0.01 of "
        "them (max_unreadable)"
    )
    status, lines = check(short_options(**paired_folders(folders, "train"), datasets__train__max_unreadable=0.2))
    assert status == 0
    assert problems(lines)[0].startswith("warning: datasets.train: 1 image file")
    status, lines = check(short_options(**paired_folders(folders, "val")))
    assert status == 2
    assert problems(lines)[0].startswith(f"error: datasets.val: 1 image file ({damaged} is cut off)")


def test_unknown_options_do_not_stop_a_run_but_near_misses_do(
    check: Check, short_options: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from paragon_plugin.cli.main import main

    foreign = {"high_order": True, "train__wavelet_guided": True, "datasets__train__blur_sigma3": [0, 1]}
    status, lines = check(short_options(**foreign))
    assert status == 0
    assert [line.split(": ")[1] for line in problems(lines)] == [
        "high_order",
        "datasets.train.blur_sigma3",
        "train.wavelet_guided",
    ]
    assert main(["train", "-opt", str(short_options(**foreign, train__total_iter=2))]) == 0
    said = capsys.readouterr().err
    assert said.count("unknown option; nothing reads it") == 3
    shutil.rmtree(tmp_path / "experiments")
    shutil.rmtree(tmp_path / "tb_logger")
    assert main(["train", "-opt", str(short_options(train__ema_decay=..., train__ema_deca=0.99))]) == 2
    assert "train.ema_deca: unknown option; did you mean 'ema_decay'?" in capsys.readouterr().err
    assert not (tmp_path / "experiments").exists()


def test_options_that_a_class_of_another_plugin_reads_are_known(check: Check, short_options: Options) -> None:
    """VideoRecurrentModel reads `fix_flow`, which no table here names; for SRModel nothing reads it."""
    plain = {"train__dynamic_loss_scheduling": ..., "train__losses": ..., "train__pixel_opt": {"type": "L1Loss"}}
    _, lines = check(short_options(model_type="SRModel", train__fix_flow=5, **plain))
    assert "warning: train.fix_flow: unknown option; nothing reads it" in lines
    _, lines = check(short_options(model_type="VideoRecurrentModel", train__fix_flow=5, **plain))
    assert not any("fix_flow: unknown" in line for line in lines)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a\nb", "x" * 300])
def test_a_name_stays_inside_the_folder_of_experiments(check: Check, short_options: Options, name: str) -> None:
    status, lines = check(short_options(name=name))
    assert status == 2
    assert problems(lines)[0].startswith("error: name: becomes part of a path and ")


def test_a_file_that_is_no_mapping_is_one_line(check: Check, tmp_path: Path) -> None:
    (tmp_path / "list.yml").write_text("- 1")
    status, lines = check(tmp_path / "list.yml")
    assert status == 2
    assert lines == [f"paragon check: {tmp_path}/list.yml: must be a mapping of options, is list"]
