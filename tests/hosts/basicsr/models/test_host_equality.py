"""With scheduling off, each model trains step for step as the host's model of its kind: weights equal bit for bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_parts import ADVERSARIAL, PERCEPTUAL, batches, build, flat, options_of, random_vgg, train


@pytest.fixture(autouse=True)
def _host(host: None) -> None:
    pass


def assert_equal_training(
    options: Callable[[], dict[str, Any]], ours: str, theirs: str, data: list[Any], networks: tuple[str, ...]
) -> Any:
    models = []
    for kind in (ours, theirs):
        model = build(options(), kind)
        before = {name: flat(model, name) for name in networks}
        seed(0)
        train(model, data)
        models.append(model)
        for name in networks:
            assert not torch.equal(before[name], flat(model, name)), f"{name} did not train"
    for name in networks:
        assert torch.equal(flat(models[0], name), flat(models[1], name)), name
    return models


def seed(value: int) -> None:
    import random

    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


@pytest.mark.parametrize("gan_type", ["vanilla", "lsgan", "wgan", "wgan_softplus", "hinge"])
def test_srgan(short_options: Callable[..., Path], tmp_path: Path, monkeypatch: Any, gan_type: str) -> None:
    random_vgg(monkeypatch)
    file = short_options(
        **{
            **ADVERSARIAL,
            "train__gan_opt": {"type": "GANLoss", "gan_type": gan_type, "loss_weight": 0.1},
            # written in another order than the host sums them in
            "train__perceptual_opt": {**PERCEPTUAL, "style_weight": 0.5},
            "train__dynamic_loss_scheduling": ...,
        }
    )
    ours, theirs = assert_equal_training(
        lambda: options_of(file, tmp_path),
        "ParagonGANModel",
        "SRGANModel",
        batches(20),
        ("net_g", "net_d", "net_g_ema"),
    )
    log, theirs_log = ours.get_current_log(), theirs.get_current_log()
    for mine, name in [("l_l1_loss", "l_g_pix"), ("l_perceptual_loss", "l_g_percep"), ("l_style_loss", "l_g_style")]:
        assert log[mine] == theirs_log[name]
    assert log["l_gan_loss"] == theirs_log["l_g_gan"]
    for name in ("l_d_real", "l_d_fake", "out_d_real", "out_d_fake"):
        assert log[name] == theirs_log[name]


@pytest.mark.parametrize("gan_type", ["vanilla", "lsgan", "wgan", "wgan_softplus"])
def test_esrgan(short_options: Callable[..., Path], tmp_path: Path, gan_type: str) -> None:
    file = short_options(
        **{
            **ADVERSARIAL,
            "train__gan_opt": {"type": "GANLoss", "gan_type": gan_type, "loss_weight": 0.1},
            "train__dynamic_loss_scheduling": {"enabled": False},
        }
    )
    assert_equal_training(
        lambda: options_of(file, tmp_path), "ParagonESRGANModel", "ESRGANModel", batches(20), ("net_g", "net_d")
    )


def test_discriminator_ahead_of_the_generator(short_options: Callable[..., Path], tmp_path: Path) -> None:
    """net_d_init_iters and net_d_iters: the generator trains at every second iteration from the sixth on."""
    file = short_options(
        **{
            **ADVERSARIAL,
            "train__net_d_iters": 2,
            "train__net_d_init_iters": 5,
            "train__dynamic_loss_scheduling": {"enabled": False},
        }
    )
    options = lambda: options_of(file, tmp_path)  # noqa: E731
    assert_equal_training(options, "ParagonGANModel", "SRGANModel", batches(12), ("net_g", "net_d", "net_g_ema"))
    model = build(options(), "ParagonGANModel")
    start = flat(model)
    train(model, batches(5))
    assert torch.equal(flat(model), start)


def test_a_discriminator_with_batch_norm_in_evaluation_and_training(
    short_options: Callable[..., Path], tmp_path: Path
) -> None:
    """VGGStyleDiscriminator: running averages must see the same batches in the same order."""
    file = short_options(
        **{
            **ADVERSARIAL,
            "network_d": {"type": "VGGStyleDiscriminator", "num_in_ch": 3, "num_feat": 4},
            "train__dynamic_loss_scheduling": {"enabled": False},
        }
    )
    g = torch.Generator().manual_seed(0)
    data = []
    for _ in range(4):
        gt = torch.rand(2, 3, 128, 128, generator=g)
        data.append({"gt": gt, "lq": torch.nn.functional.avg_pool2d(gt, 2)})
    for ours, theirs in [("ParagonGANModel", "SRGANModel"), ("ParagonESRGANModel", "ESRGANModel")]:
        assert_equal_training(lambda: options_of(file, tmp_path), ours, theirs, data, ("net_g", "net_d"))


DEGRADATIONS: dict[str, Any] = {
    "resize_prob": [0.2, 0.7, 0.1],
    "resize_range": [0.5, 1.5],
    "gaussian_noise_prob": 0.5,
    "noise_range": [1, 30],
    "poisson_scale_range": [0.05, 3],
    "gray_noise_prob": 0.4,
    "jpeg_range": [30, 95],
    "second_blur_prob": 0.8,
    "resize_prob2": [0.3, 0.4, 0.3],
    "resize_range2": [0.5, 1.2],
    "gaussian_noise_prob2": 0.5,
    "noise_range2": [1, 25],
    "poisson_scale_range2": [0.05, 2.5],
    "gray_noise_prob2": 0.4,
    "jpeg_range2": [30, 95],
    "gt_size": 32,
    "queue_size": 8,
    "gt_usm": True,
    "l1_gt_usm": True,
    "percep_gt_usm": True,
    "gan_gt_usm": False,
}


def degradable(count: int) -> list[dict[str, torch.Tensor]]:
    """Patches with blur kernels, as RealESRGANDataset gives them."""
    from basicsr.data.degradations import circular_lowpass_kernel, random_mixed_kernels

    seed(1)
    data = []
    for batch in batches(count):
        gt = torch.nn.functional.interpolate(batch["gt"], scale_factor=1.5, mode="bilinear")
        kernels = [
            torch.from_numpy(
                np.stack(
                    [random_mixed_kernels(["iso", "aniso"], [0.5, 0.5], 21, [0.2, 3], [0.2, 3]) for _ in range(len(gt))]
                )
            ).float()
            for _ in range(2)
        ]
        sinc = torch.from_numpy(circular_lowpass_kernel(2.0, 21, pad_to=21)).float().repeat(len(gt), 1, 1)
        data.append({"gt": gt, "kernel1": kernels[0], "kernel2": kernels[1], "sinc_kernel": sinc})
    return data


@pytest.mark.parametrize("kind", ["RealESRNetModel", "RealESRGANModel"])
@pytest.mark.parametrize("usm", [True, False])
def test_real_esrgan(
    short_options: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, usm: bool
) -> None:
    """Degradations with JPEG, pool and sharpening; the host's own models ask for CUDA, which is waved through here."""
    gan = kind == "RealESRGANModel"
    parts = ADVERSARIAL if gan else {k: v for k, v in ADVERSARIAL.items() if k in ("train__losses", "train__pixel_opt")}
    ldl = {"train__ldl_opt": {"type": "L1Loss", "loss_weight": 0.5, "reduction": "mean"}} if gan else {}
    switches = dict.fromkeys(("gt_usm", "l1_gt_usm", "percep_gt_usm", "gan_gt_usm"), usm)
    file = short_options(
        **{**DEGRADATIONS, **switches, **parts, **ldl, "train__dynamic_loss_scheduling": {"enabled": False}}
    )
    monkeypatch.setattr(torch.nn.Module, "cuda", lambda self: self)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    networks = ("net_g", "net_d", "net_g_ema") if gan else ("net_g", "net_g_ema")
    theirs = f"{kind}_basicsr"
    ours, _ = assert_equal_training(
        lambda: options_of(file, tmp_path), f"Paragon{kind}", theirs, degradable(20), networks
    )
    assert ours.queue_ptr == 8  # the pool is full: batches are mixed


def test_swinir_validation(short_options: Callable[..., Path], tmp_path: Path) -> None:
    """A network with windows of its own gets images padded as the host's SwinIRModel does it."""
    file = short_options(
        network_g={
            **{"type": "SwinIR", "upscale": 2, "in_chans": 3, "img_size": 16, "window_size": 8, "img_range": 1.0},
            **{"depths": [2], "embed_dim": 12, "num_heads": [2], "mlp_ratio": 2, "upsampler": "pixelshuffle"},
        },
        train__losses=...,
        train__pixel_opt={"type": "L1Loss"},
        train__dynamic_loss_scheduling={"enabled": False},
    )
    ours, theirs = assert_equal_training(
        lambda: options_of(file, tmp_path), "ParagonSRModel", "SwinIRModel", batches(3), ("net_g",)
    )
    image = {"lq": torch.rand(1, 3, 21, 30, generator=torch.Generator().manual_seed(0))}
    for model in (ours, theirs):
        model.feed_data(image)
        model.test()
    assert ours.output.shape == (1, 3, 42, 60)
    assert torch.equal(ours.output, theirs.output)
