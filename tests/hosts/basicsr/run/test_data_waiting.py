"""A training that waits for its images says so once, with what helps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from paragon_plugin.hosts.basicsr.run import data_waiting
from paragon_plugin.hosts.basicsr.run.data_waiting import MUCH, WINDOW, DataWaiting
from paragon_plugin.hosts.run_reading import read_run
from paragon_plugin.report.summary import closing_summary

PAIRED = {"type": "PairedImageDataset", "num_worker_per_gpu": 0}


def told(waiting: DataWaiting, share: float, steps: int) -> list[str]:
    return [text for _ in range(steps) if (text := waiting.add(share, 1.0)) is not None]


def test_much_waiting_is_told_once_and_little_never() -> None:
    waiting = DataWaiting(PAIRED, 500)
    assert told(waiting, MUCH - 0.01, 5 * WINDOW) == []
    assert waiting.closing() is None
    (text,) = told(waiting, 0.75, 5 * WINDOW)
    assert text.startswith("Training waits for images: ")
    assert "num_worker_per_gpu (0 now" in text
    closing = waiting.closing()
    assert closing is not None
    assert closing.startswith("54% of the time")


def test_the_start_of_the_workers_and_a_slow_moment_do_not_count() -> None:
    waiting = DataWaiting(PAIRED, 500)
    waiting.add(1e6, 1e6)
    assert told(waiting, 0.1, WINDOW) == []
    assert told(waiting, 0.9, WINDOW // 5) + told(waiting, 0.1, WINDOW) == []
    assert waiting.closing() is None


@pytest.mark.parametrize(
    ("block", "steps", "words", "not_words"),
    [
        (PAIRED, 500, ("num_worker_per_gpu", "tiles"), ("enlarge", "cache_mb")),
        ({**PAIRED, "num_worker_per_gpu": 1000}, 500, ("tiles",), ("num_worker_per_gpu", "enlarge")),
        ({**PAIRED, "num_worker_per_gpu": 1000}, 5, ("dataset_enlarge_ratio (an epoch has 5 steps",), ()),
        ({**PAIRED, "num_worker_per_gpu": 1000, "persistent_workers": True}, 5, ("tiles",), ("enlarge",)),
        ({"type": "HRImageDataset", "num_worker_per_gpu": 2000}, 500, ("cache_mb",), ("tiles", "num_worker_per_gpu")),
    ],
)
def test_what_helps_fits_the_data_set(
    block: dict[str, Any], steps: int, words: tuple[str, ...], not_words: tuple[str, ...]
) -> None:
    (text,) = told(DataWaiting(block, steps), 0.9, 2 * WINDOW)
    assert all(word in text for word in words)
    assert not [word for word in not_words if word in text]


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("large", [True, False])
def test_a_run_with_large_images_waits_for_them(
    train_here: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    monkeypatch.setattr(data_waiting, "WINDOW", 3)
    options: dict[str, Any] = {"train__total_iter": 5}
    if large:
        generator = np.random.default_rng(0)
        for folder, side in (("HR", 1600), ("LR", 800)):
            (tmp_path / folder).mkdir()
            pixels = generator.integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / "a.png", compress_level=1)
        options |= {"datasets__train__type": "PairedImageDataset", "datasets__train__io_backend": {"type": "disk"}}
        options |= {"datasets__train__dataroot_gt": str(tmp_path / "HR")}
        options |= {"datasets__train__dataroot_lq": str(tmp_path / "LR"), "datasets__train__dataset_enlarge_ratio": 40}
    result = train_here(**options)
    warnings = read_run(tmp_path / "experiments" / "short").warnings
    assert any("Training waits for images: " in text for text in warnings) == large
    assert ("of the time went into waiting for images" in closing_summary(result)) == large
