"""The lines that the option files of all hosts are made of: YAML with comments."""

import json
from collections.abc import Sequence

from .plan import PREFER, Choice, Plan

VGG = "vgg19-dcbb9e9d.pth"
"""File with the weights of the perceptual loss, in torch's folder of downloads."""


def indented(lines: Sequence[str], spaces: int) -> list[str]:
    """Lines moved to the right; empty ones stay empty."""
    return [f"{' ' * spaces}{line}" if line else "" for line in lines]


def said(choice: Choice) -> str:
    """A value with its reason behind it."""
    return f"{number(choice.value)}  # {choice.reason}"


def number(value: float) -> str:
    """As YAML 1.1 reads it: `1e-05` is text to it, `1.0e-05` a number."""
    if isinstance(value, int) or value >= 0.01:
        return f"{value:g}" if isinstance(value, float) else str(value)
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    return f"{float(mantissa)}e{int(exponent):03d}"


def quoted(value: str) -> str:
    """Text as YAML and as JSON have it, letters of all languages as they are, what cannot be printed as escapes."""
    return json.dumps(value, ensure_ascii=not value.isprintable())


def left_out_without_vgg(lines: Sequence[str]) -> list[str]:
    """A perceptual loss whose weights are not here: as a comment, with a hint."""
    hint = f"# Left out: its weights ({VGG}, 550 MB) are not on this machine. With internet, remove the # signs."
    return [hint, *(f"# {line}" for line in lines)]


def scheduling(plan: Plan) -> list[str]:
    """The scheduler's block, with the wish of the recipe."""
    recipe = plan.wish.recipe
    return [
        "# Measures what each loss contributes and balances the losses. Nothing else is needed.",
        "dynamic_loss_scheduling:",
        "  enabled: true",
        "  auto_calibrate: true",
        *([f"  prefer: {recipe}  # {PREFER[recipe]}"] if recipe in PREFER else []),
    ]


def metrics(plan: Plan) -> list[str]:
    """The lines under `val: metrics:`."""
    lines: list[str] = []
    for metric in ("psnr", "ssim"):
        options = [f"type: calculate_{metric}", f"crop_border: {plan.wish.scale}", "test_y_channel: true"]
        lines += [f"{metric}:", *indented(options, 2)]
    return lines


def training(plan: Plan, losses: Sequence[str]) -> list[str]:
    """The lines under `train:`, which are the same in all hosts but for the losses."""
    lines = [
        f"total_iter: {said(plan.iterations)}",
        f"warmup_iter: {said(plan.warmup)}",
        f"ema_decay: {said(plan.ema)}",
        "",
        "optim_g:",
        "  type: Adam",
        f"  lr: {said(plan.rate)}",
        "  betas: [0.9, 0.99]",
    ]
    if plan.wish.adversarial:
        lines += ["optim_d:", "  type: Adam", "  lr: 1.0e-4", "  betas: [0.9, 0.99]"]
    return [
        *lines,
        "",
        "scheduler:",
        "  type: CosineAnnealingRestartLR",
        f"  periods: [{int(plan.iterations.value)}]  # total_iter: one fall over the whole run",
        "  restart_weights: [1]",
        f"  eta_min: {number(plan.rate.value / 100)}",
        "",
        "losses:",
        *indented(losses, 2),
        "",
        *scheduling(plan),
    ]
