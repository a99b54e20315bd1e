"""Writes runs as training leaves them: with a record, or as version 0.1 did with a log in BasicSR's format."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from paragon_plugin.scheduling.run_record import RunRecord

OPTIONS = """
  name: {name}
  model_type: ParagonSRModel
  scale: 2
  network_g:[
    type: paragonsr2_tiny
  ]
  train:[
    total_iter: {total}
    optim_g:[
      lr: {lr}
    ]
    dynamic_loss_scheduling:[
      enabled: True
      auto_calibrate: True
    ]
  ]
  val:[
    val_freq: {val_freq}
    metrics:[
      psnr:[
        type: calculate_psnr
      ]
    ]
  ]
"""
RECIPE = "Loss scheduling: l1_loss (pixel, weight 1), fft_loss (structural, weight 0.05); target auto; network is tiny."
CALIBRATED = [
    {
        "iteration": 20,
        "kind": "calibrated",
        "reason": f"{loss} gave {100 * before:g} % of the update; calibrated to {100 * after:g} % (x {factor})",
        "losses": [loss],
        "before": {"share": before, "calibration": 1.0},
        "after": {"share": after, "calibration": factor},
    }
    for loss, before, after, factor in (("l1_loss", 0.2, 0.4, 2.0), ("fft_loss", 0.8, 0.6, 0.75))
]


def entry(second: int, text: str, level: str = "INFO") -> str:
    """A log entry at 10:MM:SS of a day."""
    return f"2026-01-02 10:{second // 60:02d}:{second % 60:02d},123 {level}: {text}\n"


def step(second: int, iteration: int, l1: float, *, lr: float = 1e-3, scheduled: bool = True) -> str:
    """A line of BasicSR's MessageLogger."""
    head = f"[run..][epoch:  0, iter:{iteration:8,d}, lr:({lr:.3e},)] [eta: 0:01:00, time (data): 0.1 (0.0)] "
    values: dict[str, float] = {"l_l1_loss": l1, "l_fft_loss": 3 * l1}
    if scheduled:
        values |= {"loss_weights/l1_loss": 2.0, "loss_weights/fft_loss": 0.0375}
        values |= {"loss_shares/l1_loss": 0.4, "loss_shares/fft_loss": 0.6}
    return entry(second, head + " ".join(f"{name}: {value:.4e}" for name, value in values.items()) + " ")


def validation(second: int, iteration: int, psnr: float) -> str:
    """BasicSR's entry of a validation, then ours."""
    stock = entry(second, f"Validation Set\n\t # psnr: {psnr:.4f}\tBest: {psnr:.4f} @ {iteration} iter\n")
    return stock + entry(second, f"Validation Set, iteration {iteration:,}: psnr {psnr:.2f}")


def write_run(
    root: Path,
    name: str,
    *,
    total: int = 200,
    lr: float = 1e-3,
    losses: Iterable[float] = (0.1, 0.08, 0.05, 0.04),
    psnr: Iterable[float] = (30.0, 31.5),
    decisions: Iterable[dict[str, Any]] = CALIBRATED,
    finished: bool = True,
) -> Path:
    """A run of four log lines and two validations; without `finished` it ends there, as if killed."""
    folder = root / "experiments" / name
    (folder / "models").mkdir(parents=True)
    text = entry(0, OPTIONS.format(name=name, total=total, lr=lr, val_freq=100)) + entry(1, RECIPE)
    values = list(psnr)
    for number, loss in enumerate(losses, start=1):
        text += step(10 * number, 50 * number, loss, lr=lr)
        if number % 2 == 0:
            text += validation(10 * number, 50 * number, values.pop(0))
    (folder / f"train_{name}_20260102_100000.log").write_text(text)
    (folder / "loss_schedule.jsonl").write_text("".join(json.dumps(decision) + "\n" for decision in decisions))
    if finished:
        (folder / "models" / "net_g_latest.pth").write_bytes(b"weights")
    return folder


def write_recorded_run(
    root: Path,
    name: str,
    *,
    total: int = 200,
    lr: float = 1e-3,
    losses: Iterable[float] = (0.1, 0.08, 0.05, 0.04),
    psnr: Iterable[float] = (30.0, 31.5),
    decisions: Iterable[dict[str, Any]] = CALIBRATED,
    finished: bool = True,
) -> Path:
    """The same run with a record; without `finished` it ends there, as if killed on another machine."""
    folder = root / "experiments" / name
    (folder / "models").mkdir(parents=True)
    second = 0
    record = RunRecord(folder, clock=lambda: 1767340800.0 + second)
    block = {"enabled": True, "auto_calibrate": True}
    record.describe(
        name=name,
        host="basicsr",
        options={
            "name": name,
            "model_type": "ParagonSRModel",
            "scale": 2,
            "network_g": {"type": "paragonsr2_tiny"},
            "train": {"total_iter": total, "optim_g": {"lr": lr}, "dynamic_loss_scheduling": block},
            "val": {"val_freq": 100, "metrics": {"psnr": {"type": "calculate_psnr"}}},
        },
        scheduling=block,
        total_iter=total,
        network={"type": "paragonsr2_tiny", "parameters": 32107},
        losses=[
            {"name": "l1_loss", "role": "pixel", "weight": 1.0},
            {"name": "fft_loss", "role": "structural", "weight": 0.05},
        ],
    )
    record.start(0)
    values = list(psnr)
    for number, loss in enumerate(losses, start=1):
        second = 10 * number
        numbers = {"lr": lr, "losses/l_l1_loss": loss, "losses/l_fft_loss": 3 * loss}
        numbers |= {"loss_weights/l1_loss": 2.0, "loss_weights/fft_loss": 0.0375}
        record.scalars(50 * number, numbers | {"loss_shares/l1_loss": 0.4, "loss_shares/fft_loss": 0.6})
        if number % 2 == 0:
            record.validation(50 * number, "Set", {"psnr": values.pop(0)})
    (folder / "loss_schedule.jsonl").write_text("".join(json.dumps(decision) + "\n" for decision in decisions))
    if finished:
        (folder / "models" / "net_g_latest.pth").write_bytes(b"weights")
        record.end(total, "finished")
    else:
        head = json.loads((folder / "run_record.json").read_text())
        head["owner"]["host"] = "another machine"
        (folder / "run_record.json").write_text(json.dumps(head))
    return folder
