"""`paragon check --measure`: some real steps, for the time of a run and its memory before one starts it."""

import datetime
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..checks.host_refusals import host_refusals
from ..options.file import Options
from .data_waiting import MUCH, DataWaiting
from .loaders import TrainingData, build_data

STEPS = 20
"""Steps that are measured, where they do not take too long."""

LONGEST = 30.0
"""Seconds from which no further step is measured; half of it for the steps before, which are not measured."""

WARM_UP = 3
"""First steps that are not measured: libraries choose their algorithms there, and a network is compiled."""


@dataclass(frozen=True)
class Measured:
    """What some steps took."""

    steps: int
    seconds: float
    """Of all these steps, with the time in which they waited for their batches."""
    waited: float
    """Seconds of it that went into waiting."""
    memory: int | None
    """Most bytes that were in use: of the GPU's memory, else of this process; None where that cannot be told."""
    device: str


def measure(options: Options) -> tuple[Measured, str]:
    """Train a model of its own for some steps, with the run's data workers; nothing of it is kept.

    All losses take part, late ones too.

    Args:
        options: Prepared options, of which no other object holds a part.

    Returns:
        What it took, and what helps where the steps wait for their batches; empty where they hardly do.

    Raises:
        OptionError: The model cannot be built or trained.
    """
    from basicsr.models import build_model

    torch.backends.cudnn.benchmark = True  # as in a run
    data = build_data(options, options["manual_seed"])
    with tempfile.TemporaryDirectory() as folder:
        options["path"] |= dict.fromkeys(("experiments_root", "models", "training_states", "log"), folder)
        with host_refusals(f"model_type {options['model_type']}"):
            model = build_model(options)
            measured = _measure(model, data, options)
    waiting = DataWaiting(options["datasets"]["train"], len(data.loader))
    return measured, waiting.advice() if measured.waited > MUCH * measured.seconds else ""


def _measure(model: Any, data: TrainingData, options: Options) -> Measured:
    workers = int(options["datasets"]["train"].get("num_worker_per_gpu") or 0)
    batches, iteration = _endless(data), _all_losses_active(options["train"])
    began, warm_up = time.monotonic(), WARM_UP + 2 * workers  # a worker has two batches ready before the first step
    for number in range(warm_up):
        iteration = _step(model, next(batches), iteration)
        if number and time.monotonic() - began > LONGEST / 2:
            break
    gpu = torch.cuda.is_available() and options["num_gpu"] > 0
    if gpu:
        torch.cuda.synchronize()
        torch.cuda.empty_cache()  # what the checks before have left
        torch.cuda.reset_peak_memory_stats()
    began, steps, waited = time.monotonic(), 0, 0.0
    while steps < STEPS and (steps < 2 or time.monotonic() - began < LONGEST):
        asked = time.monotonic()
        batch = next(batches)
        waited += time.monotonic() - asked
        iteration = _step(model, batch, iteration)
        if gpu:  # a batch that is waited for while the GPU still works is not waited for
            torch.cuda.synchronize()
        steps += 1
    seconds = time.monotonic() - began
    memory = torch.cuda.max_memory_reserved() if gpu else _peak_of_process()
    return Measured(steps, seconds, waited, memory, torch.cuda.get_device_name() if gpu else "the CPU")


def _endless(data: TrainingData) -> Iterator[Mapping[str, Any]]:
    """The batches of one epoch after the other."""
    epoch = 0
    while True:
        yield from data.batches(epoch, 0)
        epoch += 1


def _all_losses_active(train: Mapping[str, Any]) -> int:
    """The first iteration at which every loss and every network takes part."""
    blocks: Iterable[Any] = [*(train.get("losses") or []), *(v for k, v in train.items() if k.endswith("_opt"))]
    begins = [block.get("start_iter") or 0 for block in blocks if isinstance(block, Mapping)]
    return int(max([*begins, train.get("net_d_init_iters") or 0], default=0)) + 1


def _step(model: Any, batch: Mapping[str, Any], iteration: int) -> int:
    """One step as the training loop makes it; returns the next iteration."""
    model.update_learning_rate(1, warmup_iter=-1)
    model.feed_data(batch)
    model.optimize_parameters(iteration)
    return iteration + 1


def _peak_of_process() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measured_lines(measured: Measured, advice: str, iterations: int) -> list[str]:
    """What to print.

    Args:
        measured: What the steps took.
        advice: What helps against waiting; may be empty.
        iterations: Of the whole run.
    """
    step = measured.seconds / measured.steps
    waited = f", {measured.waited / measured.seconds:.0%} of it waiting for images" if measured.seconds else ""
    lines = [f"measured on {measured.device}, {measured.steps} steps: {step:.3g} s a step{waited}"]
    if measured.memory is not None:
        whose = "this process, without its data workers" if measured.device == "the CPU" else "the GPU"
        lines.append(f"memory of {whose}: at most {measured.memory / 2**30:.2f} GiB")
    lines.append(f"{iterations:,} iterations take {_duration(step * iterations)}, and validations besides")
    return [*lines, *([advice] if advice else [])]


def _duration(seconds: float) -> str:
    """`some 3 h 20 min`, as exact as a measurement of some steps is."""
    minutes = datetime.timedelta(seconds=seconds) // datetime.timedelta(minutes=1)
    if minutes < 1:
        return f"some {max(round(seconds), 1)} s"
    hours, minutes = divmod(minutes, 60)
    return f"some {hours:,} h {minutes} min" if hours else f"some {minutes} min"
