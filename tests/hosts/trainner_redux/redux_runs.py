"""Trainings by redux's own models, on a CPU, with a few small random images."""

import copy
import logging
import random
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

OPTIONS: dict[str, Any] = {
    "name": "run",
    "scale": 2,
    "num_gpu": 0,
    "manual_seed": 1,
    "datasets": {
        "train": {
            "name": "Train",
            "type": "pairedimagedataset",
            "dataroot_gt": ["nowhere"],
            "dataroot_lq": ["nowhere"],
            "lq_size": 16,
            "batch_size_per_gpu": 2,
        }
    },
    "network_g": {"type": "paragonsr2_nano"},
    "path": {},
    "train": {
        "total_iter": 100,
        "ema_decay": 0.9,
        "optim_g": {"type": "AdamW", "lr": 1e-3},
        "scheduler": {"type": "MultiStepLR", "milestones": [80]},
        "losses": [
            {"type": "l1loss", "loss_weight": 1.0},
            {"type": "fftloss", "loss_weight": 0.05},
        ],
        "dynamic_loss_scheduling": {"enabled": True, "auto_calibrate": True},
    },
    "logger": {"print_freq": 5, "save_checkpoint_freq": 50, "use_tb_logger": False, "save_checkpoint_format": "pth"},
}

GAN: dict[str, Any] = {
    "network_d": {"type": "unetdiscriminatorsn", "num_feat": 4},
    "train__optim_d": {"type": "AdamW", "lr": 1e-3},
    "train__losses": [
        {"type": "l1loss", "loss_weight": 1.0},
        {"type": "mssimloss", "loss_weight": 0.5},
        {"type": "fftloss", "loss_weight": 0.05},
        {"type": "ganloss", "gan_type": "vanilla", "loss_weight": 0.1},
    ],
}
"""A recipe of four losses."""


def options(**changes: Any) -> dict[str, Any]:
    """Options of a short training; `a__b=value` sets an option over them, `...` removes it."""
    found = copy.deepcopy(OPTIONS)
    for path, value in changes.items():
        *blocks, key = path.split("__")
        place = found
        for block in blocks:
            place = place.setdefault(block, {})
        if value is ...:
            place.pop(key, None)
        else:
            place[key] = copy.deepcopy(value)
    return found


def write_options(folder: Path, **changes: Any) -> Path:
    """An option file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "options.yml"
    file.write_text(yaml.safe_dump(options(**changes)))
    return file


def read_options(file: Path, root: Path) -> Any:
    """An option file as redux's `train.py` has it."""
    from traiNNer.utils import RNG  # pyright: ignore[reportMissingImports]
    from traiNNer.utils.config import Config  # pyright: ignore[reportMissingImports]

    Config._config = RNG._rng = None  # redux reads one file in its life
    arguments, sys.argv = sys.argv, ["train.py", "-opt", str(file)]
    try:
        return Config.load_config_from_file(str(root), is_train=True)[0]
    finally:
        sys.argv = arguments


class Training:
    """A model that redux has built, and the loop of redux's `train.py` around it, as far as the model sees it."""

    def __init__(self, folder: Path, **changes: Any):
        from traiNNer.models import build_model  # pyright: ignore[reportMissingImports]

        torch.manual_seed(1)
        random.seed(1)
        self.opt = read_options(write_options(folder, **changes), folder)
        self.folder = folder / "experiments" / self.opt.name
        for place in (self.opt.path.models, self.opt.path.resume_models, self.opt.path.training_states):
            Path(place).mkdir(parents=True, exist_ok=True)
        self.told: list[str] = []
        self._handler = _Told(self.told)
        logging.getLogger("traiNNer").addHandler(self._handler)
        self.model = build_model(self.opt)
        self.iteration = 0
        self.logged: dict[str, Any] = {}
        self._random = torch.Generator().manual_seed(2)

    @property
    def balance(self) -> Any:
        return self.model.loss_balance

    def batch(self) -> dict[str, Tensor]:
        gt = torch.rand(2, 3, 8, 8, generator=self._random)
        gt = torch.nn.functional.interpolate(gt, size=32, mode="bicubic").clamp(0, 1)
        return {"gt": gt, "lq": torch.nn.functional.avg_pool2d(gt, 2)}

    def step(self, batch: dict[str, Tensor] | None = None) -> None:
        """One optimizer step."""
        parts = self.model.accum_iters
        for part in range(1, parts + 1):
            last = part == parts
            self.iteration += last
            self.model.set_current_iter(self.iteration)
            self.model.feed_data(batch or self.batch())
            self.model.optimize_parameters(self.iteration, part % parts, last)
        self.model.update_learning_rate(self.iteration)
        if self.iteration % self.opt.logger.print_freq == 0:
            self.logged = dict(self.model.get_current_log())
            self.model.reset_current_log()

    def steps(self, count: int) -> "Training":
        for _ in range(count):
            self.step()
        return self

    def save(self) -> None:
        self.model.save(0, self.iteration)

    def resume(self, state: Path) -> "Training":
        """Go on from a training state, as `--auto_resume` does; the weights of this model are those of its file."""
        saved = torch.load(state, map_location="cpu", weights_only=True)
        self.model.resume_training(saved)
        self.iteration = saved["iter"]
        return self

    def weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.model.net_g.state_dict().items()}

    def close(self) -> None:
        log = logging.getLogger("traiNNer")
        for handler in [h for h in log.handlers if h is self._handler or type(h).__module__.startswith("paragon")]:
            log.removeHandler(handler)


class _Told(logging.Handler):
    def __init__(self, told: list[str]):
        super().__init__(logging.INFO)
        self.told = told

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Largest absolute difference of two sets of weights."""
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)
