"""What comes before a training writes anything: options checked, data and model built, state loaded, parts tried."""

import argparse
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ....errors import shown
from ....report.progress import on_a_terminal
from ....report.results import TrainingResult
from ....resilience.ranks import is_first_rank, refuse_differences
from ....scheduling.run_record import RunRecord
from ..checks.host_refusals import host_refusals
from ..checks.pretrained import check_all_pretrained
from ..checks.rehearsal import check_batch_fits, rehearse
from ..checks.rules import check_training_options
from ..options.file import IN_FORCE, Options, load_options
from ..options.problems import FirstProblem
from ..options.scheduling_block import PARSED
from ..scheduled_model import ScheduledModel
from .folders import FOLDERS
from .loaders import TrainingData, build_data
from .resume import load_resume_state
from .run_log import RunLog

_OWN = ("rank", "root_path", "num_gpu", *(f"path.{folder}" for folder in FOLDERS))
"""Options that each rank has of its own."""


@dataclass
class Run:
    """The parts of a run, built and ready, and where it is."""

    options: Options
    in_force: Options
    """The options as they were before the host took entries out of them."""
    log: RunLog
    seed: int
    model: Any
    data: TrainingData
    resume_state: dict[str, Any] | None
    epoch: int = 0
    place: int = 0
    """Samples of the epoch that are done, over all ranks."""
    iteration: int = 0
    saved_at: int = -1
    validated_at: int = -1
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    """Metrics of the latest validation, by dataset."""
    before: dict[str, dict[str, float]] = field(default_factory=dict)
    """Metrics of the network that the run began with, by dataset."""
    record: RunRecord | None = None
    """What the run leaves for its report; None on ranks other than 0, and before its folders are there."""
    warnings: logging.Handler | None = None
    """Takes warnings into the record."""

    @property
    def first_rank(self) -> bool:
        """Whether this process writes what a run has one of."""
        return self.options["rank"] == 0

    @property
    def folder(self) -> Path:
        """`experiments/NAME`."""
        return Path(self.options["path"]["experiments_root"])

    @property
    def total(self) -> int:
        """Iterations of the whole run."""
        return int(self.options["train"]["total_iter"])

    @property
    def scheduled(self) -> ScheduledModel | None:
        """The model, where it schedules its losses."""
        return self.model if isinstance(self.model, ScheduledModel) else None

    def due(self, block: str, key: str) -> bool:
        """Whether what an option orders every so many iterations is due at this one."""
        every = (self.options.get(block) or {}).get(key)
        return bool(every) and self.iteration > 0 and self.iteration % every == 0

    def result(self, **values: Any) -> TrainingResult:
        """What the run ends with, as far as it is known here."""
        return training_result(self.options, iteration=self.iteration, **values)


def checked_options(args: argparse.Namespace, root_path: str) -> tuple[Options, RunLog]:
    """Read and check the options of a run.

    Args:
        args: Parsed arguments (see `options.command_line.add_arguments`).
        root_path: Folder under which `experiments/` and `tb_logger/` stand.

    Returns:
        The options, and the log, which holds back its lines until there is a folder for them.

    Raises:
        OptionError: The options cannot work.
    """
    main_process = is_first_rank(args.launcher)
    live = on_a_terminal() and main_process
    log = RunLog(live=live, main_process=main_process)
    options = load_options(args, root_path, is_train=True)
    options["root_path"] = root_path
    options["auto_resume"] |= int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0  # torchrun started us again
    check_training_options(options)
    return options, log


def prepare(options: Options, log: RunLog) -> Run | TrainingResult:
    """Build everything that can fail on bad input, before anything is written.

    Args:
        options: Of `checked_options`, as is the log.
        log: Takes what is told.

    Returns:
        The run, ready to begin; of a run that is done already, its result.

    Raises:
        OptionError: The options cannot work.
    """
    from basicsr.models import build_model
    from basicsr.utils import get_env_info
    from basicsr.utils.options import dict2str

    torch.backends.cudnn.benchmark = True
    in_force = _copied({key: value for key, value in options.items() if key not in (PARSED, IN_FORCE)})
    log.logger.info(get_env_info(), extra={"file_only": True})
    log.logger.info(dict2str(in_force), extra={"file_only": True})
    refuse_differences(_of_all(in_force))
    state = load_resume_state(options)
    check_all_pretrained(options, FirstProblem())
    if state and state.get("finished") and state["iter"] >= options["train"]["total_iter"]:
        log.open(None)
        return training_result(options, iteration=state["iter"], already_finished=True)
    seed = state.get("seed", options["manual_seed"]) if state else options["manual_seed"]
    with host_refusals("datasets"):
        data = build_data(options, seed)
    refuse_differences(data.fingerprint())
    check_batch_fits(options, len(data.loader.dataset))
    with host_refusals(f"model_type {options['model_type']}"):
        model = build_model(options)
        if state:
            model.resume_training(state)
    rehearse(options, model, data.loader, data.val_loaders)
    run = Run(options, in_force, log, seed, model, data, state)
    if state:
        run.epoch, run.iteration = state["epoch"], state["iter"]
        # A state of the host does not say where in its epoch it was saved.
        run.place = state.get("place", run.iteration % len(data.loader) * data.batch_size)
    return run


def training_result(options: Options, *, iteration: int, **values: Any) -> TrainingResult:
    """The result of a run with these options."""
    return TrainingResult(
        name=options["name"],
        folder=Path(options["path"]["experiments_root"]),
        root=Path(options["root_path"]),
        first_rank=options["rank"] == 0,
        iteration=iteration,
        **values,
    )


def _of_all(options: Options, path: str = "") -> dict[str, str]:
    """The options that all ranks must share, as text by path: all but each one's own number, folders and devices."""
    found: dict[str, str] = {}
    for key, value in options.items():
        if isinstance(value, dict):
            found |= _of_all(value, f"{path}{key}.")
        elif f"{path}{key}" not in _OWN:
            found[f"{path}{key}"] = shown(value)
    return found


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value
