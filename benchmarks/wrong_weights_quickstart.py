"""Does scheduling bring a quickstart with a wrong weight back to the one with right weights?

    python benchmarks/wrong_weights_quickstart.py [--seeds 3] [--iterations 300] [--json FILE]

The quickstart's network, photographs and optimizer with three losses that pull apart: L1, FFT, and total variation,
which smooths where it is too strong. The weights are right, or one is wrong by 100 or 0.01. For each: constant weights
and the scheduler as the quickstart has it. PSNR (Y) on the quickstart's validation photographs, and how far the images
are from those of the right weights: RMS difference in 8-bit steps over the validation photographs, same seed.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml

import paragon_plugin

ROOT = Path(__file__).resolve().parent.parent
RIGHT = {"L1Loss": 1.0, "FFTLoss": 0.05, "WeightedTVLoss": 0.02}
SETTINGS: dict[str, dict[str, float]] = {
    "right": {},
    "TV x 100": {"WeightedTVLoss": 100.0},
    "TV / 100": {"WeightedTVLoss": 0.01},
    "FFT x 100": {"FFTLoss": 100.0},
    "FFT / 100": {"FFTLoss": 0.01},
    "L1 x 100": {"L1Loss": 100.0},
    "L1 / 100": {"L1Loss": 0.01},
}
METHODS: dict[str, dict[str, Any]] = {
    "constant": {"enabled": False},
    "auto": {"enabled": True, "auto_calibrate": True},
}


def run(
    seed: int, iterations: int, scales: dict[str, float], block: dict[str, Any]
) -> tuple[float, list[torch.Tensor]]:
    """One training; PSNR and the validation images."""
    from paragon_plugin.data.sample_photos_dataset import SamplePhotosDataset
    from paragon_plugin.hosts.basicsr.option_file import argument_parser
    from paragon_plugin.hosts.basicsr.training import train
    from paragon_plugin.nets.paragonsr2 import build_paragonsr2

    options = yaml.safe_load((ROOT / "options" / "quickstart.yml").read_text())
    options["manual_seed"] = seed
    options["train"]["total_iter"] = iterations
    options["train"]["scheduler"] = {"type": "MultiStepLR", "milestones": [int(0.7 * iterations)], "gamma": 0.25}
    options["train"]["optim_g"]["lr"] = 2e-3
    options["train"]["losses"] = [
        {"type": name, "loss_weight": weight * scales.get(name, 1.0)} for name, weight in RIGHT.items()
    ]
    options["train"]["dynamic_loss_scheduling"] = block
    options["val"] |= {"val_freq": iterations, "save_img": False}
    options["logger"] = {"print_freq": iterations, "save_checkpoint_freq": 10 * iterations, "use_tb_logger": False}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "options.yml")
        file.write_text(yaml.safe_dump(options))
        result = train(argument_parser().parse_args(["-opt", str(file)]), folder)
        weights = torch.load(Path(folder, "experiments/quickstart/models/net_g_latest.pth"), weights_only=True)
    net = build_paragonsr2("tiny", scale=2).eval()
    net.load_state_dict(weights["params_ema"])
    photographs = SamplePhotosDataset({"phase": "val", "scale": 2})
    with torch.no_grad():
        images = [net(photographs[i]["lq"][None]).clamp(0, 1) * 255 for i in range(len(photographs))]
    return result.validation[0].metrics["psnr"], images


def distance(images: list[torch.Tensor], others: list[torch.Tensor]) -> float:
    squares = [float((a - b).pow(2).mean()) for a, b in zip(images, others, strict=True)]
    return statistics.mean(squares) ** 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    paragon_plugin.install()
    runs = []
    for seed in range(args.seeds):
        reference: list[torch.Tensor] | None = None
        for setting, scales in SETTINGS.items():
            for method, block in METHODS.items():
                psnr, images = run(seed, args.iterations, scales, block)
                reference = reference or images  # the first run has the right weights, constant
                away = distance(images, reference)
                runs.append({"seed": seed, "setting": setting, "method": method, "psnr": psnr, "away": away})
                print(f"seed {seed}  {setting:<10} {method:<9} {psnr:.2f} dB, {away:.2f} away", flush=True)
    if args.json:
        arguments = {key: str(value) for key, value in vars(args).items()}
        args.json.write_text(json.dumps({"arguments": arguments, "runs": runs}, indent=1))
    print(f"\n{'setting':<12}" + "".join(f"{method + ' dB':>14}{'away':>8}" for method in METHODS))
    for setting in SETTINGS:
        row = f"{setting:<12}"
        for method in METHODS:
            own = [r for r in runs if r["setting"] == setting and r["method"] == method]
            row += f"{statistics.mean(r['psnr'] for r in own):>14.2f}{statistics.mean(r['away'] for r in own):>8.2f}"
        print(row)


if __name__ == "__main__":
    main()
