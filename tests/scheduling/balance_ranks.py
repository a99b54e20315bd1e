"""Run by test_balance_ranks.py under torchrun: two ranks, one of them without one of the losses now and then."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from balance_runs import CRITERIA, FORMS, Form, batch, network
from torch.nn.parallel import DistributedDataParallel

from paragon_plugin.scheduling.balance import LossBalance

LOSSES = {"l1": 1.0, "mse": 40.0, "gan": 200.0}


def main(where: str) -> None:
    dist.init_process_group("gloo")
    for form in FORMS:
        for parts in (1, 2):
            folder = Path(where, f"{form}{parts}")
            folder.mkdir(exist_ok=True)
            held = train(form, parts, folder)
            (folder / f"rank{dist.get_rank()}.json").write_text(json.dumps(held))
    dist.destroy_process_group()


def train(form: Form, count: int, folder: Path) -> dict[str, Any]:
    """Some steps; what the rank holds at the end."""
    rank, reductions, reduce = dist.get_rank(), 0, dist.all_reduce

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal reductions
        reductions += 1
        return reduce(*args, **kwargs)

    dist.all_reduce = counted
    net = network()
    model = DistributedDataParallel(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    options = {"enabled": True, "auto_calibrate": True, "baseline_iterations": 3}
    balance = LossBalance(LOSSES, options, total_iter=500, network=net, parts=count, record=folder / "run", log_every=1)
    balance.ride_with(optimizer)
    criteria = {**CRITERIA, "gan": CRITERIA["cosh"]}
    factors: list[dict[str, float]] = []
    skipped: list[bool] = []
    for number in range(1, 25):
        names = list(LOSSES)
        if rank == 1 and number % 3 == 0:
            names.remove("gan")
        if rank == 1 and number in (8, 9):
            names = []  # nothing at all
        optimizer.zero_grad()
        for part in range(count):
            x, gt = batch(1000 * rank + 10 * number + part)
            spoilt = float("nan") if number == 15 and rank == 0 else 1.0  # on one rank alone
            y = model(x)
            if form == "backward":
                balance.backward({name: spoilt * criteria[name](y, gt) for name in names}, y)
                continue
            total = 0 * y.sum()
            for name in names:
                loss = spoilt * criteria[name](balance.tap(name, y), gt)
                balance.note_value(name, loss)
                total = total + LOSSES[name] * loss / count
            total.backward()
        optimizer.step()
        skipped.append(balance.skipped)
        factors.append({name: balance.factor(name) for name in LOSSES})
    dist.all_reduce = reduce
    return {
        "factors": factors,
        "skipped": skipped,
        "reductions": reductions,
        "iteration": balance.iteration,
        "log": balance.log(),
        "weights": [float(p.detach().double().sum()) for p in net.parameters()],
        "state": balance.state_dict(),
        "records": balance.record is not None,
    }


if __name__ == "__main__":
    main(sys.argv[1])
