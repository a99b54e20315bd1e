"""Builds the host's loaders. What training sees then depends only on the seed, the epoch and the place in the epoch."""

import atexit
import functools
import hashlib
import logging
import math
import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from ....resilience.fault_tolerant_dataset import MAX_UNREADABLE, FaultTolerantDataset, UnreadableImages
from ....resilience.placed_samples import PlacedSampler, PlacedSamples
from ..checks.host_refusals import host_refusals
from ..options.file import Options


@dataclass
class TrainingData:
    """Training and validation data of a run."""

    options: Options
    loader: Any
    sampler: PlacedSampler
    val_loaders: list[Any]
    unreadable: UnreadableImages

    @property
    def batch_size(self) -> int:
        """Samples of a step, over all ranks."""
        return self.loader.batch_size * self.options["world_size"]

    def fingerprint(self) -> dict[str, str]:
        """What the sets hold, as text by option path: equal where two ranks read the same."""
        sets = [("datasets.train", self.loader.dataset), *((v.dataset.path, v.dataset) for v in self.val_loaders)]
        return {path: _fingerprint(dataset) for path, dataset in sets}

    def batches(self, epoch: int, place: int) -> Iterator[dict[str, Any]]:
        """The batches of an epoch from a place on; empty where no whole batch is left."""
        self.sampler.start(epoch, place)
        yield from self.unreadable.watched(self._loaded())

    def _loaded(self) -> Iterator[dict[str, Any]]:
        if self.options["datasets"]["train"].get("prefetch_mode") == "cuda" and torch.cuda.is_available():
            from basicsr.data.prefetch_dataloader import CUDAPrefetcher

            prefetcher = CUDAPrefetcher(self.loader, self.options)
            yield from iter(prefetcher.next, None)
        else:
            yield from self.loader


def build_data(options: Options, seed: int) -> TrainingData:
    """The run's loaders, from the host's datasets, samplers and loaders.

    Args:
        options: Prepared options of a training run.
        seed: What the augmentations are keyed by.
    """
    from basicsr.data import build_dataloader, build_dataset
    from basicsr.data.data_sampler import EnlargedSampler

    _end_workers_at_exit()
    block, world_size, rank = dict(options["datasets"]["train"]), options["world_size"], options["rank"]
    with host_refusals("datasets.train"):
        images = FaultTolerantDataset(_in_order(build_dataset(block)), "datasets.train")
    sampler = PlacedSampler(
        EnlargedSampler(images, world_size, rank, block.get("dataset_enlarge_ratio", 1)), world_size, rank
    )
    if block.get("prefetch_mode") == "cpu":
        # It would load in a thread, which shares the random generators with training.
        block["prefetch_mode"] = None
    arguments = {"num_gpu": options["num_gpu"], "dist": options["dist"], "seed": seed}
    loader = build_dataloader(PlacedSamples(images, seed), block, sampler=sampler, **arguments)
    loader.generator = torch.Generator()  # starting an epoch must not draw from the generator that training uses
    loader.worker_init_fn = _leave_signals_to_the_main_process
    val_loaders: list[Any] = []
    for key, val in options["datasets"].items():
        if val["phase"] == "val":
            with host_refusals(f"datasets.{key}"):
                dataset = FaultTolerantDataset(build_dataset(val), f"datasets.{key}", replace=False)
                val_loaders.append(build_dataloader(dataset, val, **arguments))
    total, steps = int(options["train"]["total_iter"]), max(len(loader), 1)
    logging.getLogger("basicsr").info(
        f"Training on {len(images)} images, {len(sampler)} samples and {len(loader)} steps an epoch; "
        f"{math.ceil(total / steps)} epochs, {total} steps.",
        extra={"file_only": True},
    )
    return TrainingData(
        options,
        loader,
        sampler,
        val_loaders,
        UnreadableImages("datasets.train", len(images), block.get("max_unreadable", MAX_UNREADABLE)),
    )


SAMPLE = 1000
"""Files of a set whose sizes are compared among ranks, evenly spread."""


def _fingerprint(dataset: Any) -> str:
    """Number of images, and a digest of the names of all files and the sizes of some."""
    digest, count = hashlib.sha256(), len(dataset)
    for index in range(count):
        for file in dataset.files(index):
            digest.update(os.fsencode(os.path.basename(file)) + b"\0")
    for index in sorted({i * count // SAMPLE for i in range(SAMPLE)}) if count else []:
        for file in dataset.files(index):
            digest.update(str(os.path.getsize(file) if os.path.exists(file) else None).encode())
    return f"{count:,} images (digest {digest.hexdigest()[:12]})"


def _in_order(dataset: Any) -> Any:
    """The host lists a folder as the file system does; a copy of it, or another machine's, has another order."""
    if isinstance(getattr(dataset, "paths", None), list):
        dataset.paths.sort(key=lambda entry: sorted(entry.items()) if isinstance(entry, dict) else entry)
    return dataset


@functools.cache
def _end_workers_at_exit() -> None:
    """The interpreter ends a worker that is still there with one SIGTERM and waits; such a worker takes two."""

    def end() -> None:
        for child in multiprocessing.active_children():
            child.terminate()

    atexit.register(end)  # runs before the interpreter's own, which is registered earlier


def _leave_signals_to_the_main_process(_: int) -> None:
    """A signal to the whole process group must not take the data away from the step that is finished first.

    A second SIGTERM ends the worker: that is how the main process ends one that hangs, and it tries twice.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: signal.signal(number, signal.SIG_DFL) and None)
