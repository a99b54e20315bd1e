"""A checkpoint is whole or is not there."""

from pathlib import Path
from typing import Any

import pytest
import torch

from paragon_plugin.hosts.basicsr.checkpoints import save_atomically


def test_a_saved_state_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "a.state"
    save_atomically({"x": torch.arange(3)}, file)
    assert torch.load(file, weights_only=True)["x"].tolist() == [0, 1, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["a.state"]


def test_a_failing_write_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.state"
    save_atomically({"x": 1}, file)

    def full_disk(state: Any, stream: Any) -> None:
        stream.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_atomically({"x": 2}, file)
    monkeypatch.undo()
    assert torch.load(file, weights_only=True) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.state"]
