"""Writes a plan as an option file of BasicSR, with the reason of each choice as a comment."""

from pathlib import Path

from ...first_file.plan import MEANT_FOR, Plan
from ...first_file.text import indented, left_out_without_vgg, metrics, quoted, said, training

MODEL = {
    "fidelity": "ParagonSRModel",
    "perceptual": "ParagonSRModel",
    "gan": "ParagonGANModel",
    "realesrgan": "ParagonRealESRGANModel",
}

_PERCEPTUAL = """\
- type: PerceptualLoss
  layer_weights: {conv1_2: 0.1, conv2_2: 0.1, conv3_4: 1, conv4_4: 1, conv5_4: 1}
  vgg_type: vgg19
  use_input_norm: true
  range_norm: false
  perceptual_weight: 1.0
  style_weight: 0
  criterion: l1"""

_DISCRIMINATOR = """\
type: UNetDiscriminatorSN
num_in_ch: 3
num_feat: {features}
skip_connection: true"""

_PATH = """\
pretrain_network_g: ~  # weights to start from
strict_load_g: true
resume_state: ~"""

_DEGRADATIONS = """
# Real-ESRGAN's degradations, made while training
l1_gt_usm: true  # sharpened targets
percep_gt_usm: true
gan_gt_usm: false
resize_prob: [0.2, 0.7, 0.1]  # up, down, keep
resize_range: [0.15, 1.5]
gaussian_noise_prob: 0.5
noise_range: [1, 30]
poisson_scale_range: [0.05, 3]
gray_noise_prob: 0.4
jpeg_range: [30, 95]
second_blur_prob: 0.8
resize_prob2: [0.3, 0.4, 0.3]
resize_range2: [0.3, 1.2]
gaussian_noise_prob2: 0.5
noise_range2: [1, 25]
poisson_scale_range2: [0.05, 2.5]
gray_noise_prob2: 0.4
jpeg_range2: [30, 95]
"""

_BLUR = """\
blur_kernel_size: 21
kernel_list: [iso, aniso, generalized_iso, generalized_aniso, plateau_iso, plateau_aniso]
kernel_prob: [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]
sinc_prob: 0.1
blur_sigma: [0.2, 3]
betag_range: [0.5, 4]
betap_range: [1, 2]
blur_kernel_size2: 21
kernel_list2: [iso, aniso, generalized_iso, generalized_aniso, plateau_iso, plateau_aniso]
kernel_prob2: [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]
sinc_prob2: 0.1
blur_sigma2: [0.2, 1.5]
betag_range2: [0.5, 4]
betap_range2: [1, 2]
final_sinc_prob: 0.8"""


def option_file(plan: Plan, root: Path, name: str, *, file: Path, has_vgg: bool) -> str:
    """The file's text.

    Args:
        plan: The numbers.
        root: Folder of the photographs, as it is to be written.
        name: Of the run.
        file: Where the text will stand; named in its first lines.
        has_vgg: Whether the weights of the perceptual loss are there; without them that loss is left out with a hint.
    """
    wish = plan.wish
    adversarial = wish.adversarial
    parts = [
        f"# ParagonSR2 {wish.size}, x{wish.scale}, {wish.recipe}: {MEANT_FOR[wish.recipe]}.",
        f"#   paragon check -opt {file}    says what is wrong, and what the losses will do",
        f"#   paragon train -opt {file}    trains; --auto_resume goes on after a stop",
        "",
        f"name: {name}",
        f"model_type: {MODEL[wish.recipe]}",
        f"scale: {wish.scale}",
        "num_gpu: auto",
        "manual_seed: 0",
    ]
    if wish.recipe == "realesrgan":
        parts += [
            *_DEGRADATIONS.rstrip().splitlines(),
            f"gt_size: {said(plan.patch)}",
            f"queue_size: {int(plan.batch.value) * 12}  # pool that batches are drawn from, a multiple of the batch",
        ]
    parts += ["", "datasets:", *indented(_datasets(plan, root), 2)]
    parts += ["", "network_g:", f"  type: paragonsr2_{wish.size}"]
    if adversarial:
        parts += [
            "",
            "network_d:",
            *indented(_DISCRIMINATOR.format(features=said(plan.discriminator_features)).splitlines(), 2),
        ]
    parts += ["", "path:", *indented(_PATH.splitlines(), 2)]
    parts += ["", "train:", *indented(training(plan, _losses(plan, adversarial, has_vgg)), 2)]
    parts += ["", "val:", f"  val_freq: {said(plan.validate_every)}", "  save_img: true", "  metrics:"]
    parts += indented(metrics(plan), 4)
    parts += [
        "",
        "logger:",
        f"  print_freq: {max(1, min(100, int(plan.iterations.value) // 20))}",
        f"  save_checkpoint_freq: {said(plan.save_every)}",
        "  use_tb_logger: true",
    ]
    return "\n".join(parts) + "\n"


def _datasets(plan: Plan, root: Path) -> list[str]:
    realesrgan = plan.wish.recipe == "realesrgan"
    lines = [
        "train:",
        "  name: photographs",
        f"  type: {'HRDegradationDataset' if realesrgan else 'HRImageDataset'}  # HR images alone are enough",
        f"  dataroot_gt: {quoted(root.as_posix())}",
        f"  exclude:  # {plan.split}",
        *(f"    - {quoted(name)}" for name in plan.validation),
        *(f"    - {quoted(photo.name)}  # {photo.problem}" for photo in plan.unusable),
    ]
    if realesrgan:
        lines += indented(_BLUR.splitlines(), 2)
    lines += [
        f"  gt_size: {said(plan.patch)}",
        "  use_hflip: true",
        f"  use_rot: {'false' if realesrgan else 'true'}",
        f"  batch_size_per_gpu: {said(plan.batch)}",
        f"  num_worker_per_gpu: {said(plan.workers)}",
        f"  dataset_enlarge_ratio: {said(plan.enlarge)}",
    ]
    if not realesrgan:
        lines += [f"  cache_mb: {said(plan.cache_mb)}"]
    lines += [
        "",
        "val:",
        "  name: held_out",
        "  type: HRImageDataset",
        f"  dataroot_gt: {quoted(root.as_posix())}",
        "  images:",
        *(f"    - {quoted(name)}" for name in plan.validation),
    ]
    return lines


def _losses(plan: Plan, adversarial: bool, has_vgg: bool) -> list[str]:
    lines = ["- type: L1Loss", "  loss_weight: 1.0"]
    if plan.wish.recipe == "fidelity":
        return [*lines, "- type: FFTLoss", "  loss_weight: 0.05"]
    lines += ["- type: MSSSIMLoss", "  loss_weight: 0.1"]
    if has_vgg:
        lines += _PERCEPTUAL.splitlines()
    else:
        lines += left_out_without_vgg(_PERCEPTUAL.splitlines())
    if adversarial:
        start = f"  start_iter: {said(plan.adversarial_from)}"
        lines += ["- type: GANLoss", "  gan_type: vanilla", "  loss_weight: 0.1", start]
    return lines
