"""How complex the scheduler finds real images: mean score per patch, the number that chooses the dataset factor.

    python benchmarks/dataset_complexity.py --data DATA [--json FILE] [--short]

Each row: 300 random patches of a set at the patch size of the column. Drawn: 20 images of overlapping ellipses in flat
colours, which stand for flat artwork.
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

import paragon_plugin

SIZES = (48, 64, 96, 128, 192)


def drawn(seed: int) -> np.ndarray:
    source = np.random.default_rng(seed)
    image = np.full((512, 512, 3), source.integers(0, 255, 3), np.uint8)
    for _ in range(12):
        centre, axes = source.integers(0, 512, 2).tolist(), source.integers(20, 180, 2).tolist()
        colour, angle = source.integers(0, 255, 3).tolist(), float(source.integers(180))
        cv2.ellipse(image, centre, axes, angle, 0, 360, colour, -1, cv2.LINE_AA)
    return image


def score(images: list[np.ndarray], size: int, source: random.Random, count: int) -> float:
    from paragon_plugin.scheduling.complexity import mean_image_complexity

    patches = []
    for _ in range(count):
        image = source.choice(images)
        y, x = (source.randint(0, side - size) for side in image.shape[:2])
        patches.append(image[y : y + size, x : x + size])
    return float(mean_image_complexity(torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2) / 255))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with bsds500_train, kodak24 and set14")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--short", action="store_true", help="a tenth of the patches")
    args = parser.parse_args()
    count = 30 if args.short else 300
    paragon_plugin.install()
    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import TRAIN_PHOTOS, sample_photo

    def read(pattern: str) -> list[np.ndarray]:
        return [cv2.imread(str(file)) for file in sorted(args.data.glob(pattern))]

    sets: dict[str, list[np.ndarray]] = {
        "drawn, flat colours": [drawn(seed) for seed in range(20)],
        "Kodak": read("kodak24/*.png"),
        "quickstart photographs": [sample_photo(name) for name in TRAIN_PHOTOS],
        "BSDS500": read("bsds500_train/*.jpg"),
        "Set14": read("set14/*.png"),
        "dense town (kodim08)": read("kodak24/kodim08.png"),
        "comic (Set14)": read("set14/comic.png"),
    }
    table: dict[str, Any] = {}
    print(f"{'set':<24}" + "".join(f"{size:>7}" for size in SIZES))
    for name, images in sets.items():
        source = random.Random(0)
        table[name] = {size: round(score(images, size, source, count), 3) for size in SIZES}
        print(f"{name:<24}" + "".join(f"{value:>7.2f}" for value in table[name].values()))
    if args.json:
        args.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
