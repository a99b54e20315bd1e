"""Real training steps of a tiny float64 network under the scheduler. Run as a script it records the traces anew.

    python tests/golden/step_traces.py

Weights and images come from formulas, not from random generators, whose numbers may change with their library.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

FILE = Path(__file__).with_suffix(".json")
STEPS = 40

SCHEDULING = {
    "enabled": True,
    "auto_calibrate": True,
    "baseline_iterations": 6,
    "typical_shares": {"pixel": 0.25, "structural": 0.25},
}
CASES: dict[str, dict[str, Any]] = {
    "decided on at once": {},
    "two parts, decided on at the end": {"accum_iter": 2},
    "off": {"scheduling": {"enabled": False}},
}
LOSSES = [
    {"type": "L1Loss", "loss_weight": 1.0},
    {"type": "FFTLoss", "loss_weight": 4.0},
    {"type": "MSELoss", "loss_weight": -0.1, "start_iter": 12, "ramp_iter": 5},
]


def waves(*shape: int, pitch: float) -> Tensor:
    """Numbers in (-1, 1) that look irregular enough, in float64."""
    count = int(torch.tensor(shape).prod())
    return torch.sin(pitch * torch.arange(1, count + 1, dtype=torch.float64) ** 1.5).reshape(shape)


def network() -> nn.Module:
    """Two convolutions and a pixel shuffle, x2."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2))
    net = net.double()
    with torch.no_grad():
        for number, parameter in enumerate(net.parameters(), start=1):
            parameter.copy_(0.1 * waves(*parameter.shape, pitch=0.3 + 0.1 * number))
    return net


def trace(case: dict[str, Any], change: tuple[int, dict[str, Any]] | None = None) -> dict[str, Any]:
    """Factors, loss values and weights along a training.

    Args:
        case: One of `CASES`.
        change: After so many steps the losses are built anew and go on from this state.
    """
    import paragon_plugin

    paragon_plugin.install()
    from paragon_plugin.hosts.basicsr.models.optimizer_step import OptimizerStep
    from paragon_plugin.hosts.basicsr.models.scheduled_losses import ScheduledLosses
    from paragon_plugin.hosts.basicsr.options.step import StepOptions
    from paragon_plugin.hosts.basicsr.recipe.recipe import build_recipe
    from paragon_plugin.hosts.basicsr.recipe.step_inputs import StepInputs
    from paragon_plugin.scheduling.options import parse_dynamic_loss_scheduling

    net = network()
    parts = case.get("accum_iter", 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    step = OptimizerStep(StepOptions(accum_iter=parts), optimizer, torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:

        def build() -> ScheduledLosses:
            return ScheduledLosses(
                build_recipe({"losses": LOSSES}, {}),
                parse_dynamic_loss_scheduling(case.get("scheduling", SCHEDULING)),
                total_iter=400,
                size="nano",
                size_reason="",
                folder=folder,
                step=step,
            )

        losses = build()
        rows: list[dict[str, float]] = []
        for iteration in range(1, STEPS + 1):
            lq = (waves(4, 3, 8, 8, pitch=0.01 * iteration) + 1) / 2
            gt = (waves(4, 3, 16, 16, pitch=0.02 * iteration) + 1) / 2
            step.zero_grad()
            losses.begin(iteration, parts)
            for part in (slice(first, first + 4 // parts) for first in range(0, 4, 4 // parts)):
                losses.backward(net(lq[part]), StepInputs(gt[part]))
            assert losses.ready()
            losses.commit(step.step(net.parameters()))
            rows.append(losses.log())
            if change is not None and iteration == change[0]:
                losses = build()
                losses.load_state_dict(change[1], iteration)
    sums = [[float(p.detach().sum()), float(p.detach().norm())] for p in net.parameters()]
    return {"log": rows, "weights": sums}


def main() -> None:
    FILE.write_text(json.dumps({name: trace(case) for name, case in CASES.items()}) + "\n")


if __name__ == "__main__":
    main()
