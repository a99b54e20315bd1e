"""Models built from option files, fixed batches of real photographs, and the loop over them."""

import argparse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch


def options_of(file: Path, root: Path) -> dict[str, Any]:
    from paragon_plugin.hosts.basicsr.options.file import argument_parser, load_options

    args: argparse.Namespace = argument_parser().parse_args(["-opt", str(file)])
    return load_options(args, str(root), is_train=True)


def build(options: dict[str, Any], model_type: str = "ParagonSRModel") -> Any:
    from basicsr.models import build_model

    torch.manual_seed(0)
    return build_model({**options, "model_type": model_type})


def batches(count: int, scale: int = 2) -> list[dict[str, torch.Tensor]]:
    """Fixed patches of a photograph, and their reductions."""
    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import low_resolution, sample_photo

    hr = sample_photo("astronaut").astype("float32") / 255
    lr = low_resolution(hr, scale)
    gt, lq = torch.from_numpy(hr).permute(2, 0, 1), torch.from_numpy(lr).permute(2, 0, 1)
    g = torch.Generator().manual_seed(0)
    result = []
    for _ in range(count):
        places = [torch.randint(0, 200, (2,), generator=g).tolist() for _ in range(4)]
        result.append(
            {
                "gt": torch.stack(
                    [gt[:, scale * y : scale * (y + 16), scale * x : scale * (x + 16)] for y, x in places]
                ),
                "lq": torch.stack([lq[:, y : y + 16, x : x + 16] for y, x in places]),
            }
        )
    return result


def train(model: Any, data: list[dict[str, torch.Tensor]], first: int = 1) -> None:
    for iteration, batch in enumerate(data, start=first):
        model.update_learning_rate(iteration)
        model.feed_data(batch)
        model.optimize_parameters(iteration)


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.net_g.state_dict().items()}


def flat(model: Any, network: str = "net_g") -> torch.Tensor:
    """All parameters and floating-point buffers of a network in one vector."""
    state = getattr(model, network).state_dict().values()
    return torch.cat([value.flatten().double() for value in state if value.is_floating_point()])


def random_vgg(monkeypatch: Any) -> None:
    """Builds VGG networks with random weights of a fixed seed: their own are a download."""
    from torchvision.models import vgg

    def without_download(configuration: str) -> Any:
        def build(*_: Any, **__: Any) -> SimpleNamespace:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                return SimpleNamespace(features=vgg.make_layers(vgg.cfgs[configuration]))

        return build

    monkeypatch.setattr(vgg, "vgg19", without_download("E"))


PERCEPTUAL = {
    "type": "PerceptualLoss",
    "layer_weights": {"conv1_2": 0.1, "conv2_2": 1},
    "vgg_type": "vgg19",
    "use_input_norm": True,
    "range_norm": False,
    "perceptual_weight": 1.0,
    "style_weight": 0,
    "criterion": "l1",
}
"""A VGG loss as the community writes it, of two early layers."""

ADVERSARIAL: dict[str, Any] = {
    "model_type": "ParagonGANModel",
    "network_d": {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 8},
    "train__optim_d": {"type": "Adam", "lr": 1e-3, "weight_decay": 0, "betas": [0.9, 0.99]},
    "train__losses": ...,
    "train__pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
    "train__gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1},
}
"""What `short_options` needs over the quickstart for an adversarial run."""


def paired_folders(root: Path, *sets: str) -> dict[str, Any]:
    """Options that make data sets, by default both, of the image folders `HR` and `LR` under root."""
    options: dict[str, Any] = {}
    for part in sets or ("train", "val"):
        options |= {
            f"datasets__{part}__type": "PairedImageDataset",
            f"datasets__{part}__dataroot_gt": str(root / "HR"),
            f"datasets__{part}__dataroot_lq": str(root / "LR"),
            f"datasets__{part}__io_backend": {"type": "disk"},
        }
    return options
