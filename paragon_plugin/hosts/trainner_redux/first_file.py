"""Writes a plan as an option file of traiNNer-redux, with the reason of each choice as a comment."""

from pathlib import Path

from ...first_file.plan import MEANT_FOR, Plan
from ...first_file.text import indented, left_out_without_vgg, metrics, quoted, said, training

TRAINING, VALIDATION_HR, VALIDATION_LR = "train", "val/hr", "val/lr"
"""Folders of images that the file names, inside one folder."""

_PERCEPTUAL = """\
- type: perceptualloss
  criterion: l1
  loss_weight: 0.01"""

_DISCRIMINATOR = """\
type: unetdiscriminatorsn
num_feat: {features}"""

_PATH = """\
pretrain_network_g: ~  # weights to start from
strict_load_g: true
resume_state: ~"""

_DEGRADATIONS = """
# Degradations, made while training
high_order_degradation: true
blur_prob: 0.5
resize_prob: [0.2, 0.7, 0.1]  # up, down, keep
resize_range: [0.4, 1.5]
gaussian_noise_prob: 0.2
noise_range: [1, 10]
poisson_scale_range: [0.05, 1]
gray_noise_prob: 0.2
jpeg_prob: 1.0
jpeg_range: [75, 95]
blur_prob2: 0.2
resize_prob2: [0.3, 0.4, 0.3]
resize_range2: [0.6, 1.2]
gaussian_noise_prob2: 0.1
noise_range2: [1, 5]
poisson_scale_range2: [0.05, 0.5]
gray_noise_prob2: 0.2
jpeg_prob2: 1.0
jpeg_range2: [75, 95]
"""

_BLUR = """\
sinc_prob: 0.1
blur_sigma: [0.2, 2]
sinc_prob2: 0.1
blur_sigma2: [0.2, 1]
final_sinc_prob: 0.5"""


def option_file(plan: Plan, images: Path, name: str, *, file: Path, has_vgg: bool, bf16: bool = True) -> str:
    """The file's text.

    Args:
        plan: The numbers.
        images: Folder with the folders `TRAINING`, `VALIDATION_HR` and `VALIDATION_LR`, as it is to be written.
        name: Of the run.
        file: Where the text will stand; named in its first lines.
        has_vgg: Whether the weights of the perceptual loss are there; without them that loss is left out with a hint.
        bf16: Whether the GPU computes in bfloat16.
    """
    wish = plan.wish
    realesrgan = wish.recipe == "realesrgan"
    parts = [
        f"# ParagonSR2 {wish.size}, x{wish.scale}, {wish.recipe}: {MEANT_FOR[wish.recipe]}.",
        "# In the folder of traiNNer-redux, once:  paragon redux link .",
        f"#   python train.py --auto_resume -opt {file}    trains, and goes on after a stop",
        "",
        f"name: {name}",
        f"scale: {wish.scale}",
        "num_gpu: auto",
        "manual_seed: 1  # 0 would be drawn anew",
        "use_amp: true",
        f"amp_bf16: {str(bf16).lower()}  # bf16 needs an RTX 3000 or newer; with false it is fp16",
    ]
    if realesrgan:
        parts += [
            *_DEGRADATIONS.rstrip().splitlines(),
            f"queue_size: {int(plan.batch.value) * 12}  # pool that batches are drawn from, a multiple of the batch",
        ]
    parts += ["", "datasets:", *indented(_datasets(plan, images, realesrgan), 2)]
    parts += ["", "network_g:", f"  type: paragonsr2_{wish.size}"]
    if wish.adversarial:
        discriminator = _DISCRIMINATOR.format(features=said(plan.discriminator_features))
        parts += ["", "network_d:", *indented(discriminator.splitlines(), 2)]
    parts += ["", "path:", *indented(_PATH.splitlines(), 2)]
    parts += ["", "train:", *indented(training(plan, _losses(plan, has_vgg)), 2)]
    parts += [
        "",
        "val:",
        "  val_enabled: true",
        f"  val_freq: {said(plan.validate_every)}",
        "  save_img: true",
        "  metrics_enabled: true",
        "  metrics:",
    ]
    parts += indented(metrics(plan), 4)
    parts += [
        "",
        "logger:",
        f"  print_freq: {max(1, min(100, int(plan.iterations.value) // 20))}",
        f"  save_checkpoint_freq: {said(plan.save_every)}",
        "  save_checkpoint_format: safetensors",
        "  use_tb_logger: true",
    ]
    return "\n".join(parts) + "\n"


def _datasets(plan: Plan, images: Path, realesrgan: bool) -> list[str]:
    lines = [
        "train:",
        "  name: photographs",
        f"  type: {'realesrgandataset' if realesrgan else 'singlegtdataset'}  # HR images alone",
        f"  # {plan.split}",
        f"  dataroot_gt: {_folder(images, TRAINING)}",
    ]
    if realesrgan:
        lines += indented(_BLUR.splitlines(), 2)
    else:
        lines += ["  lq_resize_mode: bicubic  # LR patches are made from the HR patches"]
    size = int(plan.patch.value) // plan.wish.scale
    return [
        *lines,
        f"  lq_size: {size}  # LR pixels; {plan.patch.value} {plan.patch.reason}",
        "  use_hflip: true",
        f"  use_rot: {'false' if realesrgan else 'true'}",
        f"  batch_size_per_gpu: {said(plan.batch)}",
        f"  num_worker_per_gpu: {said(plan.workers)}",
        "",
        "val:",
        "  name: held_out",
        "  type: pairedimagedataset  # LR images are bicubic reductions, made once",
        f"  dataroot_gt: {_folder(images, VALIDATION_HR)}",
        f"  dataroot_lq: {_folder(images, VALIDATION_LR)}",
    ]


def _losses(plan: Plan, has_vgg: bool) -> list[str]:
    lines = ["- type: l1loss", "  loss_weight: 1.0"]
    if plan.wish.recipe == "fidelity":
        return [*lines, "- type: fftloss", "  loss_weight: 0.05"]
    lines += ["- type: mssimloss", "  loss_weight: 0.1"]
    perceptual = _PERCEPTUAL.splitlines()
    lines += perceptual if has_vgg else left_out_without_vgg(perceptual)
    if plan.wish.adversarial:
        lines += [
            "# The discriminator trains from the first step. For a faithful start train `--recipe fidelity` before,",
            "# and name its network under path: pretrain_network_g.",
            "- type: ganloss",
            "  gan_type: vanilla",
            "  loss_weight: 0.1",
        ]
    return lines


def _folder(images: Path, name: str) -> str:
    return quoted((images / name).as_posix())
