"""`paragon check`: everything that is wrong with an option file, and the schedule that it asks for.

It does what a run does before its first step, without writing a file and without a download. Options are read and
checked, and losses are built. If nothing is wrong until then, data sets and model are built, and one item of each set
goes through the model. If no problem is found, the run will start.
"""

import argparse
import contextlib
import copy
import os
import re
import warnings
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from ....errors import OptionError
from ....report.recorded_run import read_recorded_run
from ....resilience.fault_tolerant_dataset import FaultTolerantDataset
from ....scheduling.weights_block import manual_weights
from ..checks.effective_schedule import effective_schedule
from ..checks.host_refusals import host_refusals
from ..checks.learning_rate import learning_rate_lines
from ..checks.pretrained import check_all_pretrained
from ..checks.registered import build_alone, scheduled_model_class
from ..checks.rehearsal import check_batch_fits, rehearse
from ..checks.rules import check_training_options
from ..options.file import Options, load_options
from ..options.problems import Problems
from ..options.scheduling_block import BLOCK, scheduling_of
from ..recipe.downloaded_weights import no_downloads
from .measuring import measure, measured_lines
from .resume import load_resume_state
from .run_log import RunLog


def check(args: argparse.Namespace, root_path: str, *, measured: bool = False) -> tuple[Problems, list[str]]:
    """Check an option file of a training run.

    Args:
        args: Flags of `options.command_line.add_arguments`; no launcher.
        root_path: Folder in which the run would be started.
        measured: Whether to train some steps, where nothing is wrong, for their time and memory.

    Returns:
        What is wrong, and the effective schedule in lines; no lines where it cannot be told. What was measured follows.

    Raises:
        OptionError: The file cannot be read as a mapping of options.
    """
    RunLog(live=False)  # holds back what the host logs
    problems = Problems()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries' words about their own versions
        options = load_options(args, root_path, is_train=True, problems=problems)
        options["root_path"] = root_path
        check_training_options(options, problems)
        recipe, missing = _recipe(options, problems)
        lines = _schedule(options, recipe, problems)
        state: dict[str, Any] | None = None
        with problems.collected():
            state = load_resume_state(options)
        check_all_pretrained(options, problems)
        lines += _found_weights(options)
        if lines and missing:
            lines.insert(0, f"Without {', '.join(missing)}, whose weights are not on this machine:")
        if not problems.errors:
            with problems.collected():
                _try_run(_without(options, missing), state, problems)
        if measured and not problems.errors:
            with problems.collected():
                lines += measured_lines(*measure(_without(options, missing)), int(options["train"]["total_iter"]))
    return problems, lines


def _recipe(options: Options, problems: Problems) -> tuple[list[Any], list[str]]:
    """The losses that can be built here, and the paths of those whose weights are not here yet."""
    model = scheduled_model_class(options)
    if model is None:
        return [], []
    weights = dict(scheduling_of(options).manual_weights)
    left_out: list[str] = []
    missing: list[str] = []
    while True:
        train, places = _remaining(options["train"], left_out)
        with no_downloads() as wanted:
            try:
                return model.recipe_of(train, weights), missing
            except OptionError as error:
                path, text = _as_in_file(error.path, places), _as_in_file(error.problem, places)
        weight = re.fullmatch(re.escape(BLOCK) + r"\.manual_weights\.(.+)", path)
        block = re.match(r"train\.(losses\[\d+\]|\w+_opt)", path)
        if wanted and block:
            missing.append(block[0])
            problems.warn(block[0], f"its weights are not here yet; the first start downloads {wanted[0]}")
        elif block or not left_out:  # what was left out may explain what is wrong with the recipe as a whole
            problems.error(path, text)
        if block and block[0] not in left_out:
            left_out.append(block[0])
        elif weight and weight[1] in weights:
            del weights[weight[1]]
        else:
            return [], missing


def _as_in_file(text: str, places: list[int]) -> str:
    """The text with the places that losses have in the file's list."""
    return re.sub(r"\btrain\.losses\[(\d+)\]", lambda match: f"train.losses[{places[int(match[1])]}]", text)


def _remaining(train: Options, left_out: list[str]) -> tuple[Options, list[int]]:
    """The `train:` options without some loss blocks, and the places that the losses in the list had."""
    rest = {key: value for key, value in train.items() if f"train.{key}" not in left_out}
    losses = rest.get("losses")
    if not isinstance(losses, list):
        return rest, []
    places = [place for place in range(len(losses)) if f"train.losses[{place}]" not in left_out]
    rest["losses"] = [losses[place] for place in places]
    return rest, places


def _without(options: Options, left_out: list[str]) -> Options:
    """A copy to build from: the host takes entries out of its options."""
    options = copy.deepcopy(options)
    options["train"] = _remaining(options["train"], left_out)[0]
    return options


def _schedule(options: Options, recipe: list[Any], problems: Problems) -> list[str]:
    if not recipe or "total_iter" not in options["train"] or "network_g" not in options:
        return []
    if problems.told_of(BLOCK):
        return []
    try:
        network = build_alone("network_g", options["network_g"])
    except OptionError:
        return []  # told of
    return [*learning_rate_lines(options, problems), *effective_schedule(options, recipe, network, problems)]


def _found_weights(options: Options) -> list[str]:
    """The weights that the run of this name has arrived at, where there is one that scheduled its losses."""
    run = read_recorded_run(Path(options["path"]["experiments_root"]))
    weights = {name: points[-1][1] for name, points in run.under("loss_weights/").items()} if run else {}
    if run is None or not weights or (run.scheduling is not None and run.scheduling.observe):
        return []
    return [
        f"{run.name} arrived at these weights (iteration {run.iteration:,}), as constants:",
        *manual_weights(weights),
    ]


def _try_run(options: Options, state: dict[str, Any] | None, problems: Problems) -> None:
    """Build what a run builds, and rehearse it."""
    from basicsr.data import build_dataset
    from basicsr.models import build_model

    loaders: dict[str, Any] = {}
    for key, block in options["datasets"].items():
        with problems.collected(), host_refusals(f"datasets.{key}"):
            dataset = FaultTolerantDataset(build_dataset(block), f"datasets.{key}", replace=key == "train")
            loaders[key] = DataLoader(dataset)
    if "train" in loaders:
        with problems.collected():
            check_batch_fits(options, len(loaders["train"].dataset))
    recipe_left = scheduled_model_class(options) is None or _losses_left(options["train"])
    if len(loaders) < len(options["datasets"]) or not recipe_left:
        return
    with no_downloads(), host_refusals(f"model_type {options['model_type']}"):
        model = build_model(options)
        if state:
            model.resume_training(state)
    val_loaders = [loader for key, loader in loaders.items() if key != "train"]
    rehearse(options, model, loaders["train"], val_loaders, problems)


def _losses_left(train: Options) -> bool:
    return bool(train.get("losses")) or any(key.endswith("_opt") and value for key, value in train.items())
