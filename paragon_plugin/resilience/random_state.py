"""The global random generators that datasets, degradations and networks draw from: Python's, numpy's and torch's."""

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """State of all generators, of every GPU's as well, as tensors and plain values that load without running code."""
    _, words, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (torch.from_numpy(np.asarray(words).astype(np.int64)), int(position), int(has_gauss), float(gauss)),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Go on from `random_state()`; GPUs that are not there any more are passed over."""
    random.setstate(state["python"])
    words, position, has_gauss, gauss = state["numpy"]
    np.random.set_state(("MT19937", words.numpy().astype(np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available():
        for device, generator in enumerate(state["cuda"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(generator, device)


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """Restores the random states at the end of the block: what follows draws as if the block had drawn nothing."""
    state = random_state()
    try:
        yield
    finally:
        set_random_state(state)


@contextlib.contextmanager
def seeded_by(key: Sequence[int]) -> Iterator[None]:
    """Draws inside the block depend on the key alone. Draws after the block do not depend on those inside. For the CPU
    (data loading).

    Args:
        key: Whole numbers from 0. Keys that differ in one number give independent streams.
    """
    words = np.random.SeedSequence(list(key)).generate_state(8)
    python, numpy, generator = random.getstate(), np.random.get_state(), torch.default_generator
    torch_cpu = generator.get_state()
    random.seed(int.from_bytes(words[:2].tobytes(), "little"))
    np.random.seed(words[2:6])
    generator.manual_seed(int.from_bytes(words[6:].tobytes(), "little") >> 1)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        generator.set_state(torch_cpu)
