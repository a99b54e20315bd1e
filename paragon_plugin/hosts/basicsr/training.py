"""Our training loop over the host's parts: the host's loop, with options checked before anything is written, a live
progress line, a checkpoint on SIGINT and SIGTERM, and a closing summary.
"""

import argparse
import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from ...options import OptionError
from ...report.progress import ProgressLine, on_a_terminal
from ...report.run_log import RunLog
from ...report.summary import metric_text
from ...scheduling import NonFiniteLossError
from .checks import check_training_options
from .option_file import Options, load_options
from .rehearsal import rehearse
from .resume import load_resume_state


@dataclass
class ValidationResult:
    """Final metrics of one validation set."""

    dataset: str
    images: int
    metrics: dict[str, float]
    reference: dict[str, dict[str, float]] = field(default_factory=dict)
    """The same metrics of classical upscalers."""


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


@dataclass
class _Run:
    """The parts of a run, built and ready."""

    options: Options
    log: RunLog
    live: bool
    model: Any
    train_loader: Any
    sampler: Any
    val_loaders: list[Any]
    total_epochs: int
    resume_state: dict[str, Any] | None
    last_metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    """Metrics of the latest validation, by dataset."""


def train(args: argparse.Namespace, root_path: str) -> TrainingResult:
    """Train from command-line arguments (see `option_file.add_arguments`).

    Args:
        args: Parsed arguments.
        root_path: Folder under which `experiments/` and `tb_logger/` are written.

    Raises:
        OptionError: The options cannot work; nothing has been written.
        NonFiniteLossError: A loss stayed NaN or infinite.
    """
    run = _prepare(args, root_path)
    return _loop(run, _open_folders(run, args))


def _prepare(args: argparse.Namespace, root_path: str) -> _Run:
    """Build everything that can fail on bad input, before anything is written."""
    from basicsr.models import build_model
    from basicsr.train import create_train_val_dataloader
    from basicsr.utils import get_env_info
    from basicsr.utils.options import dict2str

    main_process = os.environ.get("RANK", "0") == "0" or args.launcher == "none"
    live = on_a_terminal() and main_process
    log = RunLog(live=live, main_process=main_process)
    options = load_options(args, root_path, is_train=True)
    options["root_path"] = root_path
    check_training_options(options)
    torch.backends.cudnn.benchmark = True
    log.logger.info(get_env_info(), extra={"file_only": True})
    log.logger.info(dict2str(options), extra={"file_only": True})
    resume_state = load_resume_state(options)
    with host_refusals("datasets"):
        loader, sampler, val_loaders, epochs, _ = create_train_val_dataloader(options, log.logger)
    assert loader is not None  # the options have a train set
    if len(loader) == 0:
        batch = options["datasets"]["train"]["batch_size_per_gpu"]
        raise OptionError(
            "datasets.train",
            f"{len(sampler)} images per epoch do not fill one batch of {batch}"
            f"{' (batch_size_per_gpu x accum_iter)' if 'accum_iter' in options['datasets']['train'] else ''}"
            "; raise dataset_enlarge_ratio",
        )
    with host_refusals(f"model_type {options['model_type']}"):
        model = build_model(options)
        if resume_state:
            model.resume_training(resume_state)
    rehearse(options, model, loader, val_loaders)
    return _Run(options, log, live, model, loader, sampler, val_loaders, epochs, resume_state)


@contextlib.contextmanager
def host_refusals(where: str) -> Iterator[None]:
    """Whatever the host raises while it builds a part is about the options: one line that names the part.

    The host's exceptions name no option, and nearly any type comes up. `--debug` shows the traceback.
    """
    try:
        yield
    except OptionError:
        raise
    except Exception as error:
        text = " ".join(str(error).split()) or "failed"
        text = text if len(text) <= 300 else f"{text[:300]} ..."
        if isinstance(error, KeyError) and " " not in text:
            text = f"the option {text} is missing"
        elif not isinstance(error, ValueError | KeyError | AssertionError | NotImplementedError | OSError):
            text = f"{text} ({type(error).__name__}; --debug shows where)"
        raise OptionError(where, text) from error


def _open_folders(run: _Run, args: argparse.Namespace) -> Any:
    """Make the run's folders, its log file and its TensorBoard writer; returns the writer or None."""
    from basicsr.train import init_tb_loggers
    from basicsr.utils import get_time_str, make_exp_dirs, mkdir_and_rename
    from basicsr.utils.options import copy_opt_file

    options = run.options
    if run.resume_state is None:
        try:
            make_exp_dirs(options)
            if options["logger"].get("use_tb_logger") and "debug" not in options["name"] and options["rank"] == 0:
                mkdir_and_rename(str(Path(options["root_path"]) / "tb_logger" / options["name"]))
        except OSError as error:
            raise OptionError(str(error.filename), f"cannot be written: {error.strerror}") from error
    if options["rank"] == 0:
        copy_opt_file(args.opt, options["path"]["experiments_root"])
        run.log.open(Path(options["path"]["log"]) / f"train_{options['name']}_{get_time_str()}.log")
    else:
        run.log.open(None)
    return init_tb_loggers(options)


class _Stop:
    """Turns SIGINT and SIGTERM into a request to stop after the current step; a second one interrupts at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "_Stop":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number


def _loop(run: _Run, tb_logger: Any) -> TrainingResult:
    from basicsr.data.prefetch_dataloader import CPUPrefetcher, CUDAPrefetcher
    from basicsr.utils import AvgTimer, MessageLogger

    options, model, logger = run.options, run.model, logging.getLogger("basicsr")
    total = int(options["train"]["total_iter"])
    epoch, iteration = 0, 0
    if run.resume_state:
        epoch, iteration = run.resume_state["epoch"], run.resume_state["iter"]
        logger.info(f"Resuming from iteration {iteration:,} (epoch {epoch}).")
    cuda_prefetch = options["datasets"]["train"].get("prefetch_mode") == "cuda" and torch.cuda.is_available()
    prefetcher = CUDAPrefetcher(run.train_loader, options) if cuda_prefetch else CPUPrefetcher(run.train_loader)
    messages = MessageLogger(options, iteration + 1, tb_logger)
    data_timer, iter_timer = AvgTimer(), AvgTimer()
    started = time.monotonic()
    validated_at = saved_at = -1

    with _Stop() as stop:
        progress = ProgressLine(total, iteration, show=run.live)
        while iteration < total and stop.signal is None:
            run.sampler.set_epoch(epoch)
            prefetcher.reset()
            batch = prefetcher.next()
            while batch is not None and iteration < total and stop.signal is None:
                data_timer.record()
                iteration += 1
                model.update_learning_rate(iteration, warmup_iter=options["train"].get("warmup_iter", -1))
                model.feed_data(batch)
                _optimize(model, iteration, options)
                iter_timer.record()
                progress.step(lambda: _texts(model))
                if iteration % options["logger"]["print_freq"] == 0:
                    variables = {"epoch": epoch, "iter": iteration, "lrs": model.get_current_learning_rate()}
                    variables |= {"time": iter_timer.get_avg_time(), "data_time": data_timer.get_avg_time()}
                    messages(variables | model.get_current_log())
                if iteration % options["logger"]["save_checkpoint_freq"] == 0:
                    model.save(epoch, iteration)
                    saved_at = iteration
                if options.get("val") and iteration % options["val"].get("val_freq", total + 1) == 0:
                    _validate(run, iteration, tb_logger)
                    validated_at = iteration
                data_timer.start()
                iter_timer.start()
                batch = prefetcher.next()
            epoch += batch is None
        progress.close()

        if stop.signal is not None and iteration < total:
            if saved_at != iteration:
                model.save(epoch, iteration)
            logger.info(f"Stopped at iteration {iteration:,} with a checkpoint; --auto_resume goes on from here.")
        else:
            model.save(epoch=-1, current_iter=-1)
            if options.get("val") and validated_at != iteration:
                _validate(run, iteration, tb_logger)
        if tb_logger:
            tb_logger.close()
    interrupted = stop.signal if iteration < total else None
    return TrainingResult(
        options=options,
        iteration=iteration,
        seconds=time.monotonic() - started,
        validation=[] if interrupted is not None else _final_validation(run),
        schedule=_schedule(model),
        stopped_by=interrupted,
    )


def _optimize(model: Any, iteration: int, options: Options) -> None:
    """One step; losses that stay NaN end the run with the place it can go on from."""
    try:
        model.optimize_parameters(iteration)
    except NonFiniteLossError as error:
        states = [p for p in Path(options["path"]["training_states"]).glob("*.state") if p.stem.isdigit()]
        newest = max(states, key=lambda p: int(p.stem), default=None)
        where = f"The last checkpoint is {newest}; --auto_resume goes on from it." if newest else "No checkpoint yet."
        stopped = NonFiniteLossError(error.names, error.steps, where)
        logging.getLogger("basicsr").error(f"Stopped at iteration {iteration:,}: {stopped}")
        raise stopped from error


def _texts(model: Any) -> dict[str, str]:
    """Texts for the progress line; other models of the host have only their log values."""
    if hasattr(model, "losses"):
        return model.losses.progress()
    return {name: f"{value:.3g}" for name, value in model.get_current_log().items()}


def _schedule(model: Any) -> list[str]:
    return model.losses.summary() if hasattr(model, "losses") else []


def _validate(run: _Run, iteration: int, tb_logger: Any) -> None:
    from ...report.validation_record import recorded_references

    run.last_metrics = {}
    for loader in run.val_loaders:
        run.model.validation(loader, iteration, tb_logger, run.options["val"].get("save_img", False))
        metrics = dict(getattr(run.model, "metric_results", {}))
        name = loader.dataset.opt["name"]
        run.last_metrics[name] = metrics
        if run.options["rank"] != 0:
            continue
        if metrics:
            values = ", ".join(f"{metric} {metric_text(value)}" for metric, value in metrics.items())
            logging.getLogger("basicsr").info(f"Validation {name}, iteration {iteration:,}: {values}")
        # Here and not at the end alone, so that the report of a run under way can compare.
        wanted = run.options["val"].get("metrics") or {}
        recorded_references(run.options["path"]["experiments_root"], loader, wanted, run.options.get("scale", 1))


def _final_validation(run: _Run) -> list[ValidationResult]:
    from ...report.validation_record import recorded_references

    if not run.options.get("val") or run.options["rank"] != 0:
        return []
    wanted = run.options["val"].get("metrics") or {}
    return [
        ValidationResult(
            dataset=loader.dataset.opt["name"],
            images=len(loader.dataset),
            metrics=run.last_metrics.get(loader.dataset.opt["name"], {}),
            reference=recorded_references(
                run.options["path"]["experiments_root"], loader, wanted, run.options.get("scale", 1)
            ),
        )
        for loader in run.val_loaders
    ]
