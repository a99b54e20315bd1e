"""Our training loop over the host's parts: the host's loop, with options checked before anything is written, a live
progress line, exact resume, a checkpoint on SIGINT and SIGTERM, and a closing summary.
"""

import argparse
import contextlib
import errno
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ....errors import OptionError, RunError
from ....report.progress import ProgressLine
from ....report.results import TrainingResult
from ....resilience.deaths import death_behind
from ....resilience.ranks import distributed
from ....resilience.stopping import Stop, let_last_words_be_said
from ....scheduling import NonFiniteLossError
from ..options.file import Options
from .data_waiting import DataWaiting
from .folders import make_folders, owned
from .kept_options import keep_options
from .preparation import Run, checked_options, prepare
from .record_keeping import (
    record_failure,
    record_scalars,
    record_validation,
    record_validation_before,
    recorded_before,
    start_record,
    stop_recording,
)
from .resume import where_to_go_on
from .retention import remove_leftovers, rotate, set_aside_newer
from .validation import final_results, validate, validate_before_training


def train(args: argparse.Namespace, root_path: str) -> TrainingResult:
    """Train from command-line arguments (see `options.command_line.add_arguments`).

    Args:
        args: Parsed arguments.
        root_path: Folder under which `experiments/` and `tb_logger/` are written.

    Raises:
        OptionError: The options cannot work; nothing has been written.
        NonFiniteLossError: A loss stayed NaN or infinite.
        RunError: The run cannot go on: a checkpoint cannot be written, the disk is full.
    """
    options, log = checked_options(args, root_path)
    with owned(options):  # before a state is chosen, and before an older folder of the name is moved aside
        with _naming_deaths(options):
            run = prepare(options, log)
        return run if isinstance(run, TrainingResult) else carry_out(run, args)


def carry_out(run: Run, args: argparse.Namespace) -> TrainingResult:
    """Train a prepared run to its end, or to the signal that stops it; raises what `train` does."""
    try:
        tb_logger = _open_folders(run, args)
        with _refusing_a_full_disk(run), _naming_deaths(run.options):
            return _loop(run, tb_logger)
    except BaseException as error:
        record_failure(run, error)
        raise
    finally:
        stop_recording(run)


def _open_folders(run: Run, args: argparse.Namespace) -> Any:
    """Make the run's folders, its log file and its TensorBoard writer; returns the writer or None."""
    from basicsr.train import init_tb_loggers
    from basicsr.utils import get_time_str, mkdir_and_rename

    options, first = run.options, run.first_rank
    try:
        text = Path(args.opt).read_text(encoding="utf-8")  # now: it may stand in the folder that is moved aside
        if run.resume_state is not None:  # it may be another run's
            for key in ("experiments_root", "models", "training_states", "visualization"):
                Path(options["path"][key]).mkdir(parents=True, exist_ok=True)
        else:
            make_folders(options)
            if options["logger"].get("use_tb_logger") and "debug" not in options["name"] and first:
                mkdir_and_rename(str(Path(options["root_path"]) / "tb_logger" / options["name"]))
        if first:
            keep_options(run, args, text)
        start_record(run, args)
        run.log.open(Path(options["path"]["log"]) / f"train_{options['name']}_{get_time_str()}.log" if first else None)
        return init_tb_loggers(options)
    except OSError as error:
        raise OptionError(str(error.filename), f"cannot be written: {error.strerror}") from error


def _loop(run: Run, tb_logger: Any) -> TrainingResult:
    """From where the run is to its end, or to the signal that stops it.

    At an iteration the order is: step, log, checkpoint, validation. A checkpoint is thus older than the validation of
    its iteration, and a run resumed from it makes that one first.
    """
    from basicsr.utils import AvgTimer, MessageLogger

    options, model, total = run.options, run.model, run.total
    if run.resume_state:
        logging.getLogger("basicsr").info(f"Resuming from iteration {run.iteration:,} (epoch {run.epoch}).")
        if run.first_rank:
            remove_leftovers(options)
            set_aside_newer(options, run.iteration)
    messages = MessageLogger(options, run.iteration + 1, tb_logger)
    messages.max_iters += 1  # it counts one iteration too few, and is at -1 at the last one
    data_timer, iter_timer = AvgTimer(), AvgTimer()
    waiting = DataWaiting(options["datasets"]["train"], len(run.data.loader))
    started = time.monotonic()

    with Stop() as stop:
        progress = ProgressLine(total, run.iteration, show=run.log.live)
        if run.resume_state:
            run.before = recorded_before(run)
            stopping = run.due("val", "val_freq") and _validate(run, stop, tb_logger)
        else:
            stopping = False
            _validate_before_training(run, stop, tb_logger)
        messages.reset_start_time()
        while run.iteration < total and not stopping:
            for batch in run.data.batches(run.epoch, run.place):
                data_timer.record()
                run.iteration += 1
                run.place += run.data.batch_size
                model.update_learning_rate(run.iteration, warmup_iter=options["train"].get("warmup_iter", -1))
                model.feed_data(batch)
                _optimize(model, run.iteration, options)
                iter_timer.record()
                told = waiting.add(data_timer.get_current_time(), iter_timer.get_current_time())
                if told is not None:
                    logging.getLogger("basicsr").warning(told)
                progress.step(lambda: _texts(run))
                if run.due("logger", "print_freq"):
                    variables = {"epoch": run.epoch, "iter": run.iteration, "lrs": model.get_current_learning_rate()}
                    variables |= {"time": iter_timer.get_avg_time(), "data_time": data_timer.get_avg_time()}
                    values = model.get_current_log()
                    messages(variables | values)
                    record_scalars(run, values)
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
        if run.record is not None:
            run.record.end(run.iteration, "stopped" if stopping else "finished")
    return run.result(
        seconds=time.monotonic() - started,
        validation=[] if stopping else final_results(options, run.data.val_loaders, run.metrics, run.before),
        schedule=run.scheduled.schedule_summary() if run.scheduled is not None else [],
        stopped_by=stop.signal if stopping else None,
        waiting=waiting.closing(),
    )


def _finish(run: Run, stop: Stop, tb_logger: Any) -> bool:
    """What comes after the last step; the last checkpoint then says that all is done. Returns whether stopped."""
    if run.saved_at != run.iteration:
        _save(run)
    with _refusing_to_go_on(run):
        run.model.save(epoch=-1, current_iter=-1)
    if run.options.get("val") and run.validated_at != run.iteration and _validate(run, stop, tb_logger):
        return True
    if run.scheduled is not None:
        run.scheduled.set_loop_state({"seed": run.seed, "place": run.place, "finished": True})
        with _refusing_to_go_on(run):
            run.model.save_training_state(run.epoch, run.iteration)
    return False


def _save(run: Run) -> None:
    """A checkpoint, with what the loop needs to go on from it; older ones go where the options say so."""
    if run.scheduled is not None:
        run.scheduled.set_loop_state({"seed": run.seed, "place": run.place})
    with _refusing_to_go_on(run):
        run.model.save(run.epoch, run.iteration)
    run.saved_at = run.iteration
    logging.getLogger("basicsr").info(f"Checkpoint of iteration {run.iteration:,} saved.")
    if run.first_rank:
        rotate(run.options, run.iteration)
    trouble = run.scheduled.trouble() if run.scheduled is not None else ""
    if trouble:
        where = where_to_go_on(run.options) if run.first_rank else ""
        logging.getLogger("basicsr").warning(f"Iteration {run.iteration:,}: the run is in trouble, {trouble}. {where}")


@contextlib.contextmanager
def _refusing_to_go_on(run: Run) -> Iterator[None]:
    """A run that cannot write has nothing to train for."""
    try:
        yield
    except OSError as error:
        raise _cannot_write(run, error) from error


@contextlib.contextmanager
def _refusing_a_full_disk(run: Run) -> Iterator[None]:
    """Whatever it was that could not be written: a log, an event, a decision."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _cannot_write(run, error) from error


@contextlib.contextmanager
def _naming_deaths(options: Options) -> Iterator[None]:
    """A process that the run depends on is gone: one line says which, and where to go on."""
    try:
        yield
    except RuntimeError as error:
        died = death_behind(error)
        if died is None:
            raise
        if distributed():
            let_last_words_be_said()
        message = f"{died}. {where_to_go_on(options)}"
        logging.getLogger("basicsr").info(message, extra={"file_only": True})
        raise RunError(message) from error


def _cannot_write(run: Run, error: OSError) -> RunError:
    where = f"{error.filename}: " if error.filename else ""
    message = f"{where}{error.strerror or str(error).rstrip('.')}; stopped at iteration {run.iteration:,}."
    message += f" {where_to_go_on(run.options)}"
    logging.getLogger("basicsr").info(message, extra={"file_only": True})
    return RunError(message)


def _validate(run: Run, stop: Stop, tb_logger: Any) -> bool:
    """Validate. Whether a signal came: it ends the validation at once, for the run it is resumed by makes it again."""

    def work() -> None:
        with _refusing_to_go_on(run):  # its images and the best network
            run.metrics = validate(run.options, run.model, run.data.val_loaders, run.iteration, tb_logger)
        run.validated_at = run.iteration
        record_validation(run)

    stop.unless_asked(work)
    return stop.agreed()


def _validate_before_training(run: Run, stop: Stop, tb_logger: Any) -> None:
    """The same of the network that the run begins with. A signal ends it, and the run after its first step."""

    def work() -> None:
        run.before = validate_before_training(run.options, run.model, run.data.val_loaders, tb_logger)
        record_validation_before(run)

    stop.unless_asked(work)
    stop.agreed()  # ranks wait here for the first one, which validates alone


def _optimize(model: Any, iteration: int, options: Options) -> None:
    """One step; losses that stay NaN end the run with the place it can go on from."""
    try:
        model.optimize_parameters(iteration)
    except NonFiniteLossError as error:
        stopped = NonFiniteLossError(error.names, error.steps, where_to_go_on(options))
        logging.getLogger("basicsr").error(f"Stopped at iteration {iteration:,}: {stopped}")
        raise stopped from error


def _texts(run: Run) -> dict[str, str]:
    """Texts for the progress line; other models of the host have only their log values."""
    if run.scheduled is not None:
        return run.scheduled.progress()
    return {name: f"{value:.3g}" for name, value in run.model.get_current_log().items()}
