"""Our training loop over the host's parts: the host's loop, with options checked before anything is written, a live
progress line, exact resume, a checkpoint on SIGINT and SIGTERM, and a closing summary.
"""

import argparse
import contextlib
import errno
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ....errors import OptionError, RunError
from ....report.progress import ProgressLine, on_a_terminal
from ....resilience.atomic_file import atomic_file
from ....resilience.ranks import is_first_rank
from ....resilience.stopping import Stop
from ....scheduling import NonFiniteLossError
from ..checks.host_refusals import host_refusals
from ..checks.rehearsal import check_batch_fits, rehearse
from ..checks.rules import check_training_options
from ..options.file import Options, load_options
from .loaders import TrainingData, build_data
from .resume import load_resume_state, numbered_states
from .retention import remove_leftovers, rotate, set_aside_newer
from .run_log import RunLog
from .validation import ValidationResult, final_results, validate


@dataclass
class TrainingResult:
    """What a run ended with."""

    options: Options
    iteration: int
    seconds: float
    validation: list[ValidationResult]
    schedule: list[str]
    stopped_by: int | None = None
    """Number of the signal that ended the run early."""
    already_finished: bool = False
    """The run was done before it was started; nothing has been written."""


@dataclass
class _Run:
    """The parts of a run, built and ready, and where it is."""

    options: Options
    log: RunLog
    live: bool
    seed: int
    model: Any
    data: TrainingData
    resume_state: dict[str, Any] | None
    epoch: int
    place: int
    """Samples of the epoch that are done, over all ranks."""
    iteration: int
    saved_at: int = -1
    validated_at: int = -1
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    """Metrics of the latest validation, by dataset."""

    def due(self, block: str, key: str) -> bool:
        """Whether what an option orders every so many iterations is due at this one."""
        every = (self.options.get(block) or {}).get(key)
        return bool(every) and self.iteration > 0 and self.iteration % every == 0


def train(args: argparse.Namespace, root_path: str) -> TrainingResult:
    """Train from command-line arguments (see `option_file.add_arguments`).

    Args:
        args: Parsed arguments.
        root_path: Folder under which `experiments/` and `tb_logger/` are written.

    Raises:
        OptionError: The options cannot work; nothing has been written.
        NonFiniteLossError: A loss stayed NaN or infinite.
        RunError: The run cannot go on: a checkpoint cannot be written, the disk is full.
    """
    run = _prepare(args, root_path)
    if isinstance(run, TrainingResult):
        return run
    try:
        return _loop(run, _open_folders(run, args))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _cannot_write(run, error) from error


def _prepare(args: argparse.Namespace, root_path: str) -> _Run | TrainingResult:
    """Build everything that can fail on bad input, before anything is written; the result of a run that is done."""
    from basicsr.models import build_model
    from basicsr.utils import get_env_info
    from basicsr.utils.options import dict2str

    main_process = is_first_rank(args.launcher)
    live = on_a_terminal() and main_process
    log = RunLog(live=live, main_process=main_process)
    options = load_options(args, root_path, is_train=True)
    options["root_path"] = root_path
    options["auto_resume"] |= int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0  # torchrun started us again
    check_training_options(options)
    torch.backends.cudnn.benchmark = True
    log.logger.info(get_env_info(), extra={"file_only": True})
    log.logger.info(dict2str(options), extra={"file_only": True})
    state = load_resume_state(options)
    if state and state.get("finished") and state["iter"] >= options["train"]["total_iter"]:
        log.open(None)
        return TrainingResult(options, state["iter"], 0.0, [], [], already_finished=True)
    seed = state.get("seed", options["manual_seed"]) if state else options["manual_seed"]
    with host_refusals("datasets"):
        data = build_data(options, seed)
    check_batch_fits(options, len(data.loader.dataset))
    with host_refusals(f"model_type {options['model_type']}"):
        model = build_model(options)
        if state:
            model.resume_training(state)
    rehearse(options, model, data.loader, data.val_loaders)
    run = _Run(options, log, live, seed, model, data, state, epoch=0, place=0, iteration=0)
    if state:
        run.epoch, run.iteration = state["epoch"], state["iter"]
        # A state of the host does not say where in its epoch it was saved.
        run.place = state.get("place", run.iteration % len(data.loader) * data.batch_size)
    return run


def _open_folders(run: _Run, args: argparse.Namespace) -> Any:
    """Make the run's folders, its log file and its TensorBoard writer; returns the writer or None."""
    from basicsr.train import init_tb_loggers
    from basicsr.utils import get_time_str, make_exp_dirs, mkdir_and_rename

    options = run.options
    first = options["rank"] == 0
    try:
        text = Path(args.opt).read_text(encoding="utf-8")  # now: it may stand in the folder that is moved aside
        if run.resume_state is None:
            make_exp_dirs(options)
            if options["logger"].get("use_tb_logger") and "debug" not in options["name"] and first:
                mkdir_and_rename(str(Path(options["root_path"]) / "tb_logger" / options["name"]))
        if first:
            with atomic_file(Path(options["path"]["experiments_root"]) / Path(args.opt).name) as file:
                file.write(text.encode())
        run.log.open(Path(options["path"]["log"]) / f"train_{options['name']}_{get_time_str()}.log" if first else None)
        return init_tb_loggers(options)
    except OSError as error:
        raise OptionError(str(error.filename), f"cannot be written: {error.strerror}") from error


def _loop(run: _Run, tb_logger: Any) -> TrainingResult:
    """From where the run is to its end, or to the signal that stops it.

    At an iteration the order is: step, log, checkpoint, validation. A checkpoint is thus older than the validation of
    its iteration, and a run resumed from it makes that one first.
    """
    from basicsr.utils import AvgTimer, MessageLogger

    options, model = run.options, run.model
    total = int(options["train"]["total_iter"])
    if run.resume_state:
        logging.getLogger("basicsr").info(f"Resuming from iteration {run.iteration:,} (epoch {run.epoch}).")
        if options["rank"] == 0:
            remove_leftovers(options)
            set_aside_newer(options, run.iteration)
    messages = MessageLogger(options, run.iteration + 1, tb_logger)
    data_timer, iter_timer = AvgTimer(), AvgTimer()
    started = time.monotonic()

    with Stop() as stop:
        progress = ProgressLine(total, run.iteration, show=run.live)
        stopping = bool(run.resume_state) and run.due("val", "val_freq") and _validate(run, stop, tb_logger)
        while run.iteration < total and not stopping:
            for batch in run.data.batches(run.epoch, run.place):
                data_timer.record()
                run.iteration += 1
                run.place += run.data.batch_size
                model.update_learning_rate(run.iteration, warmup_iter=options["train"].get("warmup_iter", -1))
                model.feed_data(batch)
                _optimize(model, run.iteration, options)
                iter_timer.record()
                progress.step(lambda: _texts(model))
                if run.due("logger", "print_freq"):
                    variables = {"epoch": run.epoch, "iter": run.iteration, "lrs": model.get_current_learning_rate()}
                    variables |= {"time": iter_timer.get_avg_time(), "data_time": data_timer.get_avg_time()}
                    messages(variables | model.get_current_log())
                stopping = stop.agreed()
                if stopping or run.due("logger", "save_checkpoint_freq"):
                    _save(run)
                if run.due("val", "val_freq") and not stopping:
                    stopping = _validate(run, stop, tb_logger)
                if stopping or run.iteration >= total:
                    break
                data_timer.start()
                iter_timer.start()
            else:
                run.epoch, run.place = run.epoch + 1, 0
        progress.close()

        if not stopping:
            stopping = _finish(run, stop, tb_logger)
        if stopping:
            if run.saved_at != run.iteration:
                _save(run)
            logging.getLogger("basicsr").info(
                f"Stopped at iteration {run.iteration:,} with a checkpoint; --auto_resume goes on from here."
            )
        if tb_logger:
            tb_logger.close()
    return TrainingResult(
        options=options,
        iteration=run.iteration,
        seconds=time.monotonic() - started,
        validation=[] if stopping else final_results(options, run.data.val_loaders, run.metrics),
        schedule=_schedule(model),
        stopped_by=stop.signal if stopping else None,
    )


def _finish(run: _Run, stop: Stop, tb_logger: Any) -> bool:
    """What comes after the last step; the last checkpoint then says that all is done. Returns whether stopped."""
    if run.saved_at != run.iteration:
        _save(run)
    with _refusing_to_go_on(run):
        run.model.save(epoch=-1, current_iter=-1)
    if run.options.get("val") and run.validated_at != run.iteration and _validate(run, stop, tb_logger):
        return True
    if hasattr(run.model, "loop_state"):
        run.model.loop_state["finished"] = True
        with _refusing_to_go_on(run):
            run.model.save_training_state(run.epoch, run.iteration)
    return False


def _save(run: _Run) -> None:
    """A checkpoint, with what the loop needs to go on from it; older ones go where the options say so."""
    if hasattr(run.model, "loop_state"):
        run.model.loop_state = {"seed": run.seed, "place": run.place}
    with _refusing_to_go_on(run):
        run.model.save(run.epoch, run.iteration)
    run.saved_at = run.iteration
    logging.getLogger("basicsr").info(f"Checkpoint of iteration {run.iteration:,} saved.")
    if run.options["rank"] == 0:
        rotate(run.options, run.iteration)


@contextlib.contextmanager
def _refusing_to_go_on(run: _Run) -> Iterator[None]:
    """A run that cannot write has nothing to train for."""
    try:
        yield
    except OSError as error:
        raise _cannot_write(run, error) from error


def _cannot_write(run: _Run, error: OSError) -> RunError:
    where = f"{error.filename}: " if error.filename else ""
    message = f"{where}{error.strerror or str(error).rstrip('.')}; stopped at iteration {run.iteration:,}."
    message += f" {_last_checkpoint(run.options)}"
    logging.getLogger("basicsr").info(message, extra={"file_only": True})
    return RunError(message)


def _last_checkpoint(options: Options) -> str:
    states = numbered_states(options)
    return f"The last checkpoint is {states[0][1]}; --auto_resume goes on from it." if states else "No checkpoint yet."


def _validate(run: _Run, stop: Stop, tb_logger: Any) -> bool:
    """Validate. Whether a signal came: it ends the validation at once, for the run it is resumed by makes it again."""

    def work() -> None:
        with _refusing_to_go_on(run):  # its images and the best network
            run.metrics = validate(run.options, run.model, run.data.val_loaders, run.iteration, tb_logger)
        run.validated_at = run.iteration

    stop.unless_asked(work)
    return stop.agreed()


def _optimize(model: Any, iteration: int, options: Options) -> None:
    """One step; losses that stay NaN end the run with the place it can go on from."""
    try:
        model.optimize_parameters(iteration)
    except NonFiniteLossError as error:
        stopped = NonFiniteLossError(error.names, error.steps, _last_checkpoint(options))
        logging.getLogger("basicsr").error(f"Stopped at iteration {iteration:,}: {stopped}")
        raise stopped from error


def _texts(model: Any) -> dict[str, str]:
    """Texts for the progress line; other models of the host have only their log values."""
    if hasattr(model, "losses"):
        return model.losses.progress()
    return {name: f"{value:.3g}" for name, value in model.get_current_log().items()}


def _schedule(model: Any) -> list[str]:
    return model.losses.summary() if hasattr(model, "losses") else []
