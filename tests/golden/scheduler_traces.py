"""What the scheduler decides on recorded readings, case by case. Run as a script it records the traces anew.

python tests/golden/scheduler_traces.py
"""

import hashlib
import json
import math
import random
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".json")
ITERATIONS = 600
EVERY = 10
"""Factors of every so manyth iteration stand in the file; a digest covers all of them."""

LOSSES: dict[str, tuple[str, float]] = {
    "l1_loss": ("pixel", 1.0),
    "perceptual_loss": ("perceptual", 100.0),
    "gan_loss": ("adversarial", 0.005),
    "ssim_loss": ("structural", -0.2),
}
"""Role and base weight by name."""

TYPICAL = {"pixel": 0.25, "structural": 0.25, "perceptual": 0.65, "adversarial": 0.05}
"""Written out: the recording is of the rules, not of the table, whose numbers may change."""

CASES: dict[str, dict[str, Any]] = {
    "auto": {"auto_calibrate": True, "typical_shares": TYPICAL},
    "auto, large": {"auto_calibrate": True, "typical_shares": TYPICAL, "size": "xl", "total_iter": 3000},
    "auto, some parameters by hand": {
        "auto_calibrate": True,
        "typical_shares": TYPICAL,
        "momentum": 0.5,
        "max_weight": 1.5,
        "baseline_iterations": 20,
        "share_tolerance": 1.0,
    },
    "baseline": {},
    "weights": {"target": "weights", "baseline_iterations": 30},
    "explicit": {
        "target": {"l1_loss": 2, "perceptual_loss": 1, "gan_loss": 0.1, "ssim_loss": 1},
        "adaptation_threshold": 0.0,
    },
    "loss_ratio": {"signal": "loss_ratio", "target_ratio_range": [0.8, 1.25], "baseline_iterations": 40},
    "loss_velocity": {"signal": "loss_velocity", "adaptation_threshold": 0.001},
}


def recorded() -> list[dict[str, Any]]:
    """Readings (value, norm, ramp) by loss at each iteration, and the complexity of the batch.

    A late loss that ramps up, NaN for three steps, a gradient that vanishes for ten, and a spike of the values.
    """
    draw = random.Random(7)
    steps: list[dict[str, Any]] = []
    for iteration in range(1, ITERATIONS + 1):
        progress = iteration / ITERATIONS
        norms = {
            "l1_loss": 0.02 * (1 - 0.5 * progress),
            "perceptual_loss": 4.0 * (1 - 0.3 * progress),
            "gan_loss": 1e-4 + 2.0 * progress,
        }
        if iteration >= 150:
            norms["ssim_loss"] = 0.05
        readings: dict[str, list[float]] = {}
        for name, norm in norms.items():
            norm *= math.exp(0.2 * draw.gauss(0, 1))
            value = 3 * norm * math.exp(0.1 * draw.gauss(0, 1))
            if 400 <= iteration < 420:
                value *= 10
            if name == "perceptual_loss" and 77 <= iteration < 80:
                value = math.nan
            if name == "l1_loss" and 300 <= iteration < 310:
                norm = 0.0
            ramp = min(1.0, (iteration - 149) / 40) if name == "ssim_loss" else 1.0
            readings[name] = [-value if name == "ssim_loss" else value, norm, ramp]
        steps.append({"readings": readings, "complexity": 0.6 + 0.1 * draw.random()})
    return steps


def trace(case: dict[str, Any], steps: list[dict[str, Any]]) -> dict[str, Any]:
    """What one scheduler makes of the readings."""
    from paragon_plugin.scheduling import DynamicLossScheduler, LossInfo, Reading
    from paragon_plugin.scheduling.options import parse_dynamic_loss_scheduling

    options = dict(case)
    size, total_iter = options.pop("size", "nano"), options.pop("total_iter", 1500)
    losses = [LossInfo(name, role, weight) for name, (role, weight) in LOSSES.items()]  # type: ignore[arg-type]
    block = parse_dynamic_loss_scheduling({"enabled": True, **options})
    scheduler = DynamicLossScheduler(losses, block, total_iter=total_iter, size=size)
    digest, factors, decisions = hashlib.sha256(), {}, []
    for iteration, recorded_step in enumerate(steps, start=1):
        readings = {name: Reading(*values) for name, values in recorded_step["readings"].items()}
        complexity = recorded_step["complexity"] if scheduler.wants_complexity else None
        step = scheduler.step(iteration, readings, complexity)
        row = {name: (step.factors[name], step.multipliers[name], step.shares[name]) for name in step.factors}
        digest.update(repr(row).encode())
        if iteration % EVERY == 0:
            factors[str(iteration)] = {name: value.hex() for name, value in step.factors.items()}
        for decision in step.decisions:
            after = {name: float(value).hex() for name, value in decision.after.items()}
            decisions.append([decision.iteration, decision.kind, list(decision.losses), after])
    return {"factors": factors, "decisions": decisions, "digest": digest.hexdigest()}


def main() -> None:
    steps = recorded()
    traces = {name: trace(case, steps) for name, case in CASES.items()}
    FILE.write_text(json.dumps({"steps": steps, "traces": traces}) + "\n")


if __name__ == "__main__":
    main()
