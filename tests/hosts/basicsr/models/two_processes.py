"""Run by test_distributed.py under torchrun: two ranks with different batches; writes what each holds at the end."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

import paragon_plugin


def main(option_file: str, root: str) -> None:
    paragon_plugin.install()
    from basicsr.models import build_model

    from paragon_plugin.hosts.basicsr.options.file import argument_parser, load_options
    from paragon_plugin.scheduling.network_size import detect_size

    args = argument_parser().parse_args(["-opt", option_file, "--launcher", "pytorch"])
    options = load_options(args, root, is_train=True)
    rank = options["rank"]
    model = build_model(options)
    generator = torch.Generator().manual_seed(rank)  # each rank sees its own data
    own: list[float] = []
    for iteration in range(1, 26):
        gt = torch.rand(2, 3, 32, 32, generator=generator)
        model.feed_data({"gt": gt, "lq": torch.nn.functional.avg_pool2d(gt, 2)})
        model.update_learning_rate(iteration)
        model.optimize_parameters(iteration)
        own.append(float((model.output - model.gt).abs().mean()))
    held = {
        "rank": rank,
        "seed": options["manual_seed"],
        "size": detect_size(model.net_g)[0],
        "factors": dict(model.losses.balance.last_step.factors),
        "log": model.get_current_log(),
        "weights": float(sum(p.double().abs().sum() for p in model.net_g.parameters())),
        "own_l1": own[-1],
    }
    if hasattr(model, "net_d"):
        held["weights_d"] = float(sum(p.double().abs().sum() for p in model.net_d.parameters()))
    Path(root, f"rank{rank}.json").write_text(json.dumps(held))  # one file each: their lines on a pipe may mix
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
