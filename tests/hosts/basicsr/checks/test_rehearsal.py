"""What would only fail at the first step or the first validation is refused before: by check and by train, alike."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_parts import ADVERSARIAL, batches, build, options_of, paired_folders

from paragon_plugin.errors import OptionError

pytestmark = pytest.mark.usefixtures("host")

Options = Callable[..., Path]
UNSCHEDULED = {"train__losses": ..., "train__dynamic_loss_scheduling": ...}
BLOWN_UP = {"type": "SGD", "lr": 1e38, "weight_decay": 1e9}
LATE_AND_HUGE = {"loss_weight": 1e300, "start_iter": 39}
HUGE = {"type": "L1Loss", "loss_weight": 1e300}


@pytest.fixture
def images(tmp_path: Path) -> Callable[..., Path]:
    """Writes pairs of scale 2 with these sides of the HR images, beside two of 96 x 128."""
    import cv2

    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import low_resolution, sample_photo

    def write(*sides: int) -> Path:
        photo = sample_photo("astronaut")
        shapes = {"a": (96, 128), "b": (96, 128)} | {f"small_{side}": (side, side) for side in sides}
        for name, (height, width) in shapes.items():
            hr = photo[100 : 100 + height, 100 : 100 + width]
            lr = np.round(low_resolution(hr.astype("float32") / 255, 2) * 255).astype("uint8")
            for folder, image in (("HR", hr), ("LR", lr)):
                (tmp_path / folder).mkdir(exist_ok=True)
                cv2.imwrite(str(tmp_path / folder / f"{name}.png"), image[..., ::-1])
        return tmp_path

    return write


@pytest.fixture
def refused(checked: Callable[[Path], Any], tmp_path: Path) -> Callable[[Path], str]:
    """The error that check tells and train refuses with; neither leaves anything behind."""
    from paragon_plugin.hosts.basicsr.options.file import argument_parser
    from paragon_plugin.hosts.basicsr.run.training import train

    def line_of(file: Path) -> str:
        status, lines = checked(file)
        assert status == 2
        (line,) = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        with pytest.raises(OptionError) as refusal:
            train(argument_parser().parse_args(["-opt", str(file)]), str(tmp_path))
        assert str(refusal.value) == line
        assert not (tmp_path / "experiments").exists()
        return line

    return line_of


def metric(**options: Any) -> dict[str, Any]:
    return {"val__metrics": {"m": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": True, **options}}}


@pytest.mark.parametrize(
    ("sides", "options", "words"),
    [
        ([20], metric(crop_border=10), ["val.metrics.m", "small_20.png (10 x 10)", "nan", "crop_border"]),
        ([12], metric(), ["datasets.val: small_12.png (6 x 6) cannot be validated"]),
        ([80], metric(type="calculate_niqe", better="lower"), ["val.metrics.m", "small_80.png (40 x 40)"]),
        ([20, 16, 12, 36], metric(crop_border=10), ["small_12.png", "Nor can 2 more: small_16.png (8 x 8), small_20"]),
    ],
)
def test_validation_images_that_are_too_small_are_named(
    images: Callable[..., Path],
    refused: Callable[[Path], str],
    short_options: Options,
    sides: list[int],
    options: dict[str, Any],
    words: list[str],
) -> None:
    line = refused(short_options(**{**paired_folders(images(*sides), "val"), **options}))
    for word in words:
        assert word in line
    assert "small_36" not in line


@pytest.mark.parametrize(
    ("options", "start"),
    [
        ({"train__optim_g": {"type": "Adam", "lr": 1e-3, "capturable": True}}, "train.optim_g: "),
        ({"train__optim_g": BLOWN_UP}, "train.optim_g: after one step"),
        ({"train__losses": [HUGE, {"type": "FFTLoss"}]}, "train: l1_loss is inf"),
        ({"train__losses": [{"type": "FFTLoss"}, {**HUGE, "start_iter": 30}]}, "train: l1_loss is inf"),
        (
            {**ADVERSARIAL, "train__net_d_init_iters": 30, "train__optim_d": BLOWN_UP},
            "train.optim_d: after one step",
        ),
        (
            {
                **ADVERSARIAL,
                "train__gan_opt": {"type": "GANLoss", "gan_type": "lsgan", "loss_weight": 1e300, "start_iter": 39},
            },
            "train: gan_loss is inf",
        ),
        (
            {
                "model_type": "SRModel",
                "train__losses": ...,
                "train__dynamic_loss_scheduling": ...,
                "train__pixel_opt": HUGE,
            },
            "train: l_pix is inf",
        ),
        (
            {"model_type": "SwinIRModel", **UNSCHEDULED, "train__pixel_opt": {"type": "L1Loss"}},
            "datasets.val: ",
        ),
    ],
)
def test_one_step_of_everything(
    refused: Callable[[Path], str], short_options: Options, options: dict[str, Any], start: str
) -> None:
    assert refused(short_options(**options)).startswith(start)


@pytest.mark.parametrize("unscheduled", [{}, UNSCHEDULED | {"train__pixel_opt": {"type": "L1Loss"}}])
def test_a_rate_that_ruins_the_first_steps_is_refused(
    refused: Callable[[Path], str], short_options: Options, unscheduled: dict[str, Any]
) -> None:
    line = refused(short_options(train__optim_g__lr=1e9, **unscheduled))
    assert line.startswith("train: is ruined after "), line
    assert "with a learning rate of 1e+09" in line
    assert "nan" in line.lower()


def test_the_rate_that_counts_is_that_of_the_first_steps(
    refused: Callable[[Path], str], short_options: Options
) -> None:
    line = refused(short_options(train__optim_g__lr=1e12, train__warmup_iter=20))
    assert re.search(
        "after 1 step with a learning rate of 1e\\+11|after 2 steps with a learning rate of 1.5e\\+11", line
    ), line


def test_images_without_originals_are_nothing_to_train_on(
    refused: Callable[[Path], str], short_options: Options, images: Callable[..., Path]
) -> None:
    single = {"name": "T", "type": "SingleImageDataset", "dataroot_lq": str(images() / "LR")}
    single |= {"io_backend": {"type": "disk"}, "num_worker_per_gpu": 0, "batch_size_per_gpu": 2}
    assert refused(short_options(datasets__train=single)).startswith("datasets.train: gives no HR images (gt)")


@pytest.mark.parametrize(
    ("better", "valid"), [("Higher", False), ("lowest", False), (True, False), ("lower", True), ("higher", True)]
)
def test_better_is_one_of_two_words(
    checked: Callable[[Path], Any], short_options: Options, better: Any, valid: bool
) -> None:
    status, lines = checked(short_options(**metric(better=better)))
    assert (status == 0) == valid
    if not valid:
        (line,) = [line for line in lines if line.startswith("error")]
        assert line.startswith("error: val.metrics.m.better: must be one of higher, lower; is ")


def test_a_negative_weight_is_warned_of(checked: Callable[[Path], Any], short_options: Options) -> None:
    losses = [{"type": "L1Loss", "loss_weight": 1.0}, {"type": "FFTLoss", "loss_weight": -0.05}]
    status, lines = checked(short_options(train__losses=losses))
    (line,) = [line for line in lines if line.startswith("warning")]
    assert status == 0
    assert line.startswith("warning: train.losses[1].loss_weight: is -0.05: below 0")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("jpeg_range", [0, 0]),
        ("jpeg_range2", [30, 120]),
        ("resize_range2", [0, 1.5]),
        ("datasets__train__kernel_list2", ["iso", 0]),
        ("datasets__train__blur_sigma", [0, 3]),
        ("datasets__train__kernel_prob2", [1.0]),
    ],
)
def test_what_a_random_draw_would_fail_on_is_refused(
    checked: Callable[[Path], Any], short_options: Options, image_folders: Path, key: str, value: Any
) -> None:
    """One step would mostly not draw it."""
    import yaml

    root = Path(__file__).resolve().parents[4]
    file = next(path for path in sorted((root / "options" / "train").glob("*.yml")) if "jpeg_range" in path.read_text())
    made = yaml.safe_load(file.read_text())
    train = {**made["datasets"]["train"], "dataroot_gt": str(image_folders / "HR")}
    train |= {"meta_info": str(image_folders / "paths.txt"), "io_backend": {"type": "disk"}, "num_worker_per_gpu": 0}
    train |= {"kernel_list2": ["iso", "aniso"], "kernel_prob2": [0.5, 0.5]}
    options = {k: v for k, v in made.items() if k not in ("datasets", "train", "val", "path", "logger", "name")}
    options |= {"datasets__train": train, "val": ..., "datasets__val": ..., "num_gpu": 0, key: value}
    file = short_options(**{"model_type": "ParagonRealESRNetModel", **options, "network_d": ...})
    status, lines = checked(file)
    assert status == 2
    assert any(line.startswith(f"error: {key.replace('__', '.')}: ") for line in lines), lines


def everything(model: Any) -> Iterator[tuple[str, Any]]:
    """All numbers that a model holds: of networks, optimizers, schedules, scheduler."""
    for name in ("net_g", "net_d", "net_g_ema"):
        yield from ((f"{name}.{key}", value) for key, value in getattr(model, name).state_dict().items())
    for place, part in enumerate([*model.optimizers, *model.schedulers, model.losses]):
        yield str(place), repr(part.state_dict())
    yield (
        "modes",
        [module.training for name in ("net_g", "net_d", "net_g_ema") for module in getattr(model, name).modules()],
    )
    yield "attributes", sorted(vars(model))
    yield "gradients", [parameter.grad is None for parameter in model.net_g.parameters()]
    yield "random", torch.get_rng_state()


@pytest.mark.parametrize("steps", [0, 3])
def test_a_model_that_was_rehearsed_is_what_it_was(short_options: Options, tmp_path: Path, steps: int) -> None:
    """Bit for bit, at the start and in the middle of a run, with normalisation that learns from what it sees."""
    from basicsr.data import build_dataset
    from torch.utils.data import DataLoader

    from paragon_plugin.hosts.basicsr.checks.rehearsal import rehearse

    critic = {"type": "VGGStyleDiscriminator", "num_in_ch": 3, "num_feat": 4, "input_size": 128}
    file = short_options(**{**ADVERSARIAL, "network_d": critic, "datasets__train__gt_size": 128})
    options = options_of(file, tmp_path)
    model = build(options, "ParagonGANModel")
    for iteration, batch in enumerate(batches(steps), start=1):
        tiled = {key: value.repeat(1, 1, 4, 4) for key, value in batch.items()}
        model.feed_data(tiled)
        model.optimize_parameters(iteration)
    loaders = [DataLoader(build_dataset(block)) for block in options["datasets"].values()]
    before = [(k, v.clone() if isinstance(v, torch.Tensor) else v) for k, v in everything(model)]
    rehearse(options, model, loaders[0], loaders[1:])
    for (name, old), (_, new) in zip(before, everything(model), strict=True):
        assert torch.equal(old, new) if isinstance(old, torch.Tensor) else old == new, name
