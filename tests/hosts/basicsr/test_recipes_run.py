"""Our option files, and recipes as the host's own files have them, train on real photographs: paths and sizes apart.

Every run here goes through the command's own function: options read, checked, rehearsed, trained, saved, validated.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from training_parts import random_vgg

pytestmark = pytest.mark.usefixtures("host")

ROOT = Path(__file__).resolve().parents[3]
TRAIN_FILES = sorted((ROOT / "options" / "train").glob("*_s_*.yml"))

VGG_LAYERS = {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1, "conv4_4": 1, "conv5_4": 1}


@pytest.fixture(autouse=True)
def _without_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    random_vgg(monkeypatch)


def run(options: dict[str, Any], folder: Path) -> Any:
    from paragon_plugin.hosts.basicsr.options.file import argument_parser
    from paragon_plugin.hosts.basicsr.run.training import train

    file = folder / "options.yml"
    file.write_text(yaml.safe_dump(options, sort_keys=False))
    return train(argument_parser().parse_args(["-opt", str(file)]), str(folder))


def cut_down(options: dict[str, Any], images: Path) -> dict[str, Any]:
    """The same recipe on small images, for a few iterations."""
    options["num_gpu"] = 0
    scale = options["scale"]
    for key, dataset in options["datasets"].items():
        if dataset["type"] == "PairedImageDataset":
            dataset |= {"dataroot_gt": str(images / "HR"), "dataroot_lq": str(images / f"LR{scale}")}
            dataset.pop("meta_info_file", None)
        if dataset["type"] == "RealESRGANDataset":
            dataset |= {"dataroot_gt": str(images / "HR"), "meta_info": str(images / "paths.txt")}
        if key == "train":
            vgg_style = options.get("network_d", {}).get("type") == "VGGStyleDiscriminator"
            dataset |= {"gt_size": 128 if vgg_style else 64, "num_worker_per_gpu": 0, "batch_size_per_gpu": 2}
            dataset["dataset_enlarge_ratio"] = 10
    options |= {key: 64 for key in ("gt_size",) if key in options}
    options |= {key: 4 for key in ("queue_size",) if key in options}
    options["train"]["total_iter"] = 3
    options["train"]["scheduler"].pop("milestones", None)
    options["train"]["scheduler"] = {"type": "MultiStepLR", "milestones": [2], "gamma": 0.5}
    for network in ("g", "d"):
        options["path"].pop(f"pretrain_network_{network}", None)
    options["logger"] = {"print_freq": 1, "save_checkpoint_freq": 2, "use_tb_logger": False}
    if "val" in options["datasets"]:
        options["val"]["val_freq"] = 2
    network_d = options.get("network_d")
    if network_d:
        network_d["num_feat"] = 8
    return options


def assert_trained(result: Any, options: dict[str, Any], folder: Path) -> None:
    assert result.iteration == 3
    root = folder / "experiments" / options["name"]
    nets = {path.name for path in (root / "models").iterdir()}
    expected = ["net_g_2.pth", "net_g_3.pth", "net_g_latest.pth"]
    if "network_d" in options:
        expected += ["net_d_2.pth", "net_d_3.pth", "net_d_latest.pth"]
    if "val" in options["datasets"]:
        expected += ["net_g_best.pth"]
    assert nets == set(expected)
    assert (root / "training_states" / "2.state").is_file()
    assert len(result.schedule) >= 1
    for validation in result.validation:
        assert all(value == value for value in validation.metrics.values())


@pytest.mark.parametrize("file", TRAIN_FILES, ids=lambda file: file.stem)
def test_our_option_files(file: Path, image_folders: Path, tmp_path: Path) -> None:
    from paragon_plugin.hosts.basicsr.options.file import read_option_file

    options = cut_down(read_option_file(file), image_folders)
    assert_trained(run(options, tmp_path), options, tmp_path)


@pytest.mark.parametrize("file", TRAIN_FILES, ids=lambda file: file.stem)
def test_the_files_for_m_differ_in_the_size_alone(file: Path) -> None:
    other = file.with_name(file.name.replace("_s_", "_m_")).read_text()
    for ours, theirs in [("paragonsr2_m", "paragonsr2_s"), ("ParagonSR2 m,", "ParagonSR2 s,"), ("12 GB", "8 GB")]:
        other = other.replace(ours, theirs)
    assert other.replace("lr: 4e-4", "lr: 5e-4") == file.read_text()


ADAM = {"type": "Adam", "lr": 1e-4, "weight_decay": 0, "betas": [0.9, 0.99]}
PIXEL = {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"}
VGG = {
    **{"type": "PerceptualLoss", "layer_weights": VGG_LAYERS, "vgg_type": "vgg19", "use_input_norm": True},
    **{"range_norm": False, "perceptual_weight": 1.0, "style_weight": 0, "criterion": "l1"},
}
GAN = {"type": "GANLoss", "gan_type": "vanilla", "real_label_val": 1.0, "fake_label_val": 0.0, "loss_weight": 0.005}
KERNELS = ["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"]
BLUR = {
    **{"blur_kernel_size": 21, "kernel_list": KERNELS, "kernel_prob": [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]},
    **{"sinc_prob": 0.1, "blur_sigma": [0.2, 3], "betag_range": [0.5, 4], "betap_range": [1, 2]},
}
DEGRADATIONS = {
    **{"resize_prob": [0.2, 0.7, 0.1], "resize_range": [0.15, 1.5], "gaussian_noise_prob": 0.5, "noise_range": [1, 30]},
    **{"poisson_scale_range": [0.05, 3], "gray_noise_prob": 0.4, "jpeg_range": [30, 95], "second_blur_prob": 0.8},
    **{"resize_prob2": [0.3, 0.4, 0.3], "resize_range2": [0.3, 1.2], "gaussian_noise_prob2": 0.5},
    **{"noise_range2": [1, 25], "poisson_scale_range2": [0.05, 2.5], "gray_noise_prob2": 0.4, "jpeg_range2": [30, 95]},
    **{"gt_size": 256, "queue_size": 180},
}
RRDB = {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_block": 1, "num_grow_ch": 8}


def stock(model_type: str, network: dict[str, Any], scale: int = 4, **train: Any) -> dict[str, Any]:
    """A recipe as the host's files write it, with our model in place of its own and the block added."""
    real = "RealESR" in model_type
    paired = {"name": "DIV2K", "type": "PairedImageDataset", "filename_tmpl": "{}", "io_backend": {"type": "disk"}}
    made = {"name": "DF2K+OST", "type": "RealESRGANDataset", "io_backend": {"type": "disk"}}
    made |= BLUR | {f"{k}2": v for k, v in BLUR.items()} | {"final_sinc_prob": 0.8}
    loader = {"use_hflip": True, "use_rot": not real, "use_shuffle": True, "prefetch_mode": None}
    options: dict[str, Any] = {
        "name": "stock",
        "model_type": model_type,
        "scale": scale,
        "manual_seed": 0,
        "datasets": {"train": {**(made if real else paired), **loader}},
        "network_g": network,
        "path": {"pretrain_network_g": None, "strict_load_g": True, "resume_state": None},
        "train": {
            **{"ema_decay": 0.999, "optim_g": dict(ADAM), "scheduler": {"type": "MultiStepLR"}, "warmup_iter": -1},
            **{"pixel_opt": dict(PIXEL), **train},
            "dynamic_loss_scheduling": {"enabled": True, "auto_calibrate": True},
        },
    }
    if real:
        options |= DEGRADATIONS
    else:
        options["datasets"]["val"] = dict(paired)
        options["val"] = {"val_freq": 5e3, "save_img": True, "metrics": {}}
        options["val"]["metrics"]["psnr"] = {"type": "calculate_psnr", "crop_border": scale, "test_y_channel": False}
    return options


VGG_STYLE = {"type": "VGGStyleDiscriminator", "num_in_ch": 3, "num_feat": 64}
UNET = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 64, "skip_connection": True}
ADVERSARIAL = {"perceptual_opt": VGG, "gan_opt": GAN, "optim_d": ADAM, "net_d_iters": 1, "net_d_init_iters": 0}
USM = {"l1_gt_usm": True, "percep_gt_usm": True, "gan_gt_usm": False}
MSR = {"type": "MSRResNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_block": 2, "upscale": 4}
EDSR = {
    **{"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_block": 2, "upscale": 2, "res_scale": 1},
    **{"img_range": 255.0, "rgb_mean": [0.4488, 0.4371, 0.4040]},
}
SWIN = {
    **{"type": "SwinIR", "upscale": 4, "in_chans": 3, "img_size": 16, "window_size": 8, "img_range": 1.0},
    **{"depths": [2], "embed_dim": 12, "num_heads": [2], "mlp_ratio": 2, "upsampler": "pixelshuffle"},
    "resi_connection": "1conv",
}

STOCK = {
    "SRResNet": stock("ParagonSRModel", MSR),
    "EDSR": stock("ParagonSRModel", EDSR, scale=2),
    "RRDBNet": stock("ParagonSRModel", RRDB),
    "SwinIR": stock("ParagonSRModel", SWIN),
    "SRGAN": {**stock("ParagonGANModel", MSR, **ADVERSARIAL), "network_d": VGG_STYLE},
    "ESRGAN": {**stock("ParagonESRGANModel", RRDB, **ADVERSARIAL), "network_d": VGG_STYLE},
    "Real-ESRNet x4": {**stock("ParagonRealESRNetModel", RRDB), "gt_usm": True},
    "Real-ESRNet x2": {**stock("ParagonRealESRNetModel", {**RRDB, "scale": 2}, scale=2), "gt_usm": True},
    "Real-ESRGAN x4": {**stock("ParagonRealESRGANModel", RRDB, **ADVERSARIAL), **USM, "network_d": UNET},
    "Real-ESRGAN x2": {
        **stock("ParagonRealESRGANModel", {**RRDB, "scale": 2}, scale=2, **ADVERSARIAL),
        **{**USM, "network_d": UNET},
    },
}


@pytest.mark.parametrize("recipe", STOCK)
def test_the_hosts_recipes(recipe: str, image_folders: Path, tmp_path: Path) -> None:
    options = cut_down(json.loads(json.dumps(STOCK[recipe])), image_folders)
    assert_trained(run(options, tmp_path), options, tmp_path)
