"""Run by test_same_steps.py, alone or under torchrun: trains on fixed batches, of which each rank takes a part."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

import paragon_plugin


def main(option_file: str, root: str) -> None:
    paragon_plugin.install()
    from basicsr.models import build_model
    from training_parts import batches, flat

    from paragon_plugin.hosts.basicsr.options.file import argument_parser, load_options

    distributed = dist.is_torchelastic_launched()
    args = argument_parser().parse_args(["-opt", option_file, "--launcher", "pytorch" if distributed else "none"])
    options = load_options(args, root, is_train=True)
    rank, world_size = options["rank"], options["world_size"]
    torch.manual_seed(0)
    model = build_model(options)
    factors: list[dict[str, float]] = []
    for iteration, batch in enumerate(batches(30), start=1):
        model.update_learning_rate(iteration)
        model.feed_data({key: value[rank::world_size] for key, value in batch.items()})
        model.optimize_parameters(iteration)
        factors.append(dict(model.losses.balance.last_step.factors))
    torch.save(flat(model), Path(root, f"weights_{rank}_of_{world_size}.pth"))
    Path(root, f"factors_{rank}_of_{world_size}.json").write_text(json.dumps(factors))
    if distributed:
        dist.destroy_process_group()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    main(sys.argv[1], sys.argv[2])
