"""The schema of whole option files takes what a run takes, and marks what people get wrong."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from paragon_plugin.cli.main import main
from paragon_plugin.errors import OptionError
from paragon_plugin.hosts.basicsr.options import known
from paragon_plugin.hosts.basicsr.options.file import read_option_file
from paragon_plugin.hosts.basicsr.options.schema import option_file_schema

OPTIONS = Path(__file__).resolve().parents[4] / "options"
FILES = sorted(file for file in OPTIONS.rglob("*.yml") if "trainner_redux" not in file.parts)
VALIDATOR = jsonschema.Draft202012Validator(option_file_schema())


def wrong(options: dict[str, Any]) -> list[str]:
    return [error.json_path for error in VALIDATOR.iter_errors(options)]


def test_it_is_a_schema_and_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    jsonschema.Draft202012Validator.check_schema(option_file_schema())
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == (OPTIONS / "schema.json").read_text()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_file_of_ours_is_valid(file: Path) -> None:
    assert wrong(read_option_file(file)) == []


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("recipe", ["fidelity", "realesrgan"])
def test_what_init_writes_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    generator = np.random.default_rng(0)
    for number in range(4):
        image = Image.fromarray(generator.integers(0, 256, (130, 110, 3), dtype=np.uint8))
        image.save(tmp_path / "photos" / f"{number}.png")
    assert main(["init", "photos", "--recipe", recipe, "-o", "file.yml"]) == 0
    assert wrong(read_option_file("file.yml")) == []


def _train(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda options: options["train"].update(changes)


def _top(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda options: options.update(changes)


def _in(*blocks: str, **changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(options: dict[str, Any]) -> None:
        for block in blocks:
            options = options[block]
        options.update(changes)

    return change


MISTAKES: dict[str, tuple[str, Callable[[dict[str, Any]], None]]] = {
    "a word in place of a number": ("$.train.total_iter", _train(total_iter="many")),
    "an average of 1": ("$.train.ema_decay", _train(ema_decay=1)),
    "an unknown training option": ("$.train", _train(ema_deca=0.999)),
    "a loss without a type": ("$.train.losses[0]", _train(losses=[{"loss_weight": 1}])),
    "losses that are no list": ("$.train.losses", _train(losses={"type": "L1Loss"})),
    "a rate of 0": ("$.train.optim_g.lr", _in("train", "optim_g", lr=0)),
    "an option of another schedule": ("$.train.scheduler", _in("train", "scheduler", milestones=[5])),
    "a misspelt option of the scheduler": (
        "$.train.dynamic_loss_scheduling",
        _in("train", "dynamic_loss_scheduling", momentun=0.5),
    ),
    "a negative clip": ("$.train.grad_clip", _train(grad_clip=-1)),
    "an unknown precision": ("$.use_amp", _top(use_amp="half")),
    "a number of GPUs in words": ("$.num_gpu", _top(num_gpu="two")),
    "a scale of a half": ("$.scale", _top(scale=0.5)),
    "an option at the wrong place": ("$", _top(total_iter=1000)),
    "a data set of no known phase": ("$.datasets", _in("datasets", valid={"type": "PairedImageDataset"})),
    "a batch of a half": ("$.datasets.train.batch_size_per_gpu", _in("datasets", "train", batch_size_per_gpu=0.5)),
    "a flip that is no switch": ("$.datasets.train.use_hflip", _in("datasets", "train", use_hflip="maybe")),
    "an unknown option of a data set": ("$.datasets.train", _in("datasets", "train", gt_siez=64)),
    "folders that are missing": ("$.datasets.val", _in("datasets", val={"type": "PairedImageDataset"})),
    "a network without a type": ("$.network_g", _top(network_g={"num_feat": 64, "num_block": 3})),
    "an unknown option of a size": ("$.network_g", _in("network_g", num_feat=64)),
    "a metric without a type": ("$.val.metrics.psnr", _in("val", "metrics", psnr={"crop_border": 4})),
    "a direction that is none": ("$.val.metrics.psnr.better", _in("val", "metrics", "psnr", better="more")),
    "no distance between log lines": ("$.logger.print_freq", _in("logger", print_freq=0)),
    "an unknown option of the logger": ("$.logger", _in("logger", print_frq=10)),
    "a path that is none": ("$.path.pretrain_network_g", _in("path", pretrain_network_g=5)),
    "an unknown option of path": ("$.path", _in("path", resume=True)),
    "a project that is no text": ("$.logger.wandb.project", _in("logger", wandb={"project": 5})),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_marked_where_it_stands(mistake: str) -> None:
    place, change = MISTAKES[mistake]
    options = read_option_file(OPTIONS / "quickstart.yml")
    options.setdefault("path", {})
    options["path"] = options["path"] or {}
    change(options)
    assert set(wrong(options)) == {place}


@pytest.mark.parametrize(
    "change",
    [
        _top(network_g={"paragonsr2_s": {"use_attention": True}}),
        _top(network_g={"type": "RRDBNet", "num_feat": 64}),
        _top(network_x={"type": "MyNet", "depth": 3}),
        _top(model_type="MyModel", my_option=1),
        _in("datasets", "train", type="MyDataset", my_option=1),
        _in("datasets", val_2={"name": "b", "type": "MyDataset"}),
        _in("val", "metrics", mine={"type": "my_metric", "power": 2}),
        _train(losses=[{"type": "MyLoss", "power": 2, "start_iter": 5}]),
        _train(pixel_opt={"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"}, my_opt={"type": "MyLoss"}),
        _train(total_iter=5e3, grad_clip=True, warmup_iter=-1),
        _in("path", pretrain_network_x="x.pth", strict_load_x=False),
        _in("logger", wandb={"project": "mine", "resume_id": None}),
        _top(val=None, path=None, use_amp="bf16"),
    ],
)
def test_parts_of_other_plugins_may_have_options_of_their_own(change: Callable[[dict[str, Any]], None]) -> None:
    options = read_option_file(OPTIONS / "quickstart.yml")
    options["path"] = options.get("path") or {}
    change(options)
    assert wrong(options) == []


VALUES: list[Any] = [
    *(None, True, False, 0, 1, 2, -1, 0.5, 1.0, 5e3, 1e9, 1e39, 2**31, "", "x", "cpu", "higher", "a/b", "~/x"),
    *([], [1], [1, 2], [2, 1], [0, 0, 0], [1, 2, 3], [-1, 2], ["iso"], ["x"], ["a", "b"], {}, {"type": "x"}, {"x": {}}),
]
TABLES = {
    "top": known.TOP,
    "dataset": known.TRAIN_DATASET,
    "path": known.PATH,
    "train": known.TRAIN,
    "val": known.VAL,
    "logger": known.LOGGER,
    "wandb": known.WANDB,
    "MultiStepLR": known.SCHEDULERS["MultiStepLR"],
    "CosineAnnealingRestartLR": known.SCHEDULERS["CosineAnnealingRestartLR"],
}


@pytest.mark.parametrize("table", TABLES)
def test_no_kind_refuses_in_the_schema_what_a_run_takes(table: str) -> None:
    for key, kind in TABLES[table].items():
        validator = jsonschema.Draft202012Validator(json.loads(json.dumps(kind.schema)))
        for value in VALUES:
            try:
                kind(key, copy.deepcopy(value))
            except OptionError:
                continue
            if key != "metrics":  # a metric without a type is told of by another check
                assert validator.is_valid(value), (key, value)
