"""A checkpoint is written whole or not at all, and read without running anything in it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from paragon_plugin.errors import OptionError
from paragon_plugin.nets.paragonsr2 import build_paragonsr2
from paragon_plugin.nets.released import build_released
from paragon_plugin.resilience.checkpoints import (
    METADATA,
    CheckpointError,
    network_metadata,
    read_checkpoint,
    read_metadata,
    read_network,
    save_atomically,
)


def test_a_saved_state_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "a.state"
    save_atomically({"x": torch.arange(3)}, file)
    assert torch.load(file, weights_only=True)["x"].tolist() == [0, 1, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["a.state"]


def test_a_failing_write_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.state"
    save_atomically({"x": 1}, file)

    def full_disk(_state: Any, stream: Any) -> None:
        stream.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_atomically({"x": 2}, file)
    monkeypatch.undo()
    assert torch.load(file, weights_only=True) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.state"]


# -- reading -----------------------------------------------------------------------------------------------------------

W = {"conv.weight": torch.arange(6.0).view(2, 3)}
LAYOUTS: dict[str, Any] = {
    "params": {"params": W},
    "params_ema before params": {"params": {"conv.weight": torch.zeros(2, 3)}, "params_ema": W},
    "top level": W,
    "module.": {"params": {"module.conv.weight": W["conv.weight"]}},
    "compiled in DataParallel": {"module._orig_mod.conv.weight": W["conv.weight"]},
    "with metadata": {"params": W, "paragon": {"type": "a", "scale": 2, "options": {}}},
    "metadata at the top level": {**W, "paragon": {"type": "a", "scale": 2, "options": {}}},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_weights(tmp_path: Path, layout: str) -> None:
    file = tmp_path / "a.pth"
    torch.save(LAYOUTS[layout], file)
    weights = read_network(file)
    assert list(weights) == ["conv.weight"]
    assert torch.equal(weights["conv.weight"], W["conv.weight"])


def test_safetensors_with_and_without_levels(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    description = {"type": "paragonsr2_s", "scale": 4, "options": {"use_attention": True}}
    for prefix in ("", "params.", "params_ema.", "module.", "params.module."):
        tensors = {f"{prefix}conv.weight": W["conv.weight"]}
        if prefix == "params_ema.":
            tensors["params.conv.weight"] = torch.zeros(2, 3)
        save_file(tensors, file, {"paragon": json.dumps(description)})
        weights = read_network(file)
        assert list(weights) == ["conv.weight"], prefix
        assert torch.equal(weights["conv.weight"], W["conv.weight"]), prefix
        metadata = read_metadata(read_checkpoint(file), file)
        assert metadata is not None
        assert metadata.plain() == description


def test_a_named_level_comes_first_and_none_means_the_top(tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    torch.save({"params": W, "params_ema": {"conv.weight": torch.zeros(2, 3)}}, file)
    assert read_network(file, "params")["conv.weight"].sum() == 15
    assert read_network(file, "params_ema")["conv.weight"].sum() == 0
    with pytest.raises(CheckpointError, match=r"under 'params_ema', not at the top level \(param_key: null\)"):
        read_network(file, None)
    torch.save(W, file)
    assert read_network(file, None)["conv.weight"].sum() == 15


class _Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, ("touch ran",)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("content", ["missing", "folder", "empty", "text", "truncated", "foreign"])
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path, suffix: str, content: str) -> None:
    file = tmp_path / f"a.{suffix}"
    if content == "folder":
        file.mkdir()
    elif content == "truncated":
        torch.save(W, file) if suffix == "pth" else save_file(W, file)
        file.write_bytes(file.read_bytes()[:-20])
    elif content == "foreign":
        torch.save([1, 2, 3], file) if suffix == "pth" else file.write_bytes(b"\xff" * 100)
    elif content != "missing":
        file.write_text("" if content == "empty" else "hello, world " * 10)
    with pytest.raises(CheckpointError, match=rf"a\.{suffix}: \w") as error:
        read_network(file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("place", ["root", "weights", "metadata"])
def test_a_malicious_checkpoint_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "a.pth"
    bad: Any = _Malicious()
    torch.save({"root": bad, "weights": {"params": {"a": bad}}, "metadata": {"params": W, "paragon": bad}}[place], file)
    with pytest.raises(CheckpointError, match=r"holds more than weights and is not loaded: \w+\.system"):
        read_network(file)
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    "state", [{}, {"params": {}}, {"params": {"a": 1}}, {"a": "b"}, {"params": {"a": torch.eye(2).to_sparse()}}]
)
def test_a_mapping_without_weights_is_refused(tmp_path: Path, state: Any) -> None:
    file = tmp_path / "a.pth"
    torch.save(state, file)
    with pytest.raises(CheckpointError, match="holds no network"):
        read_network(file)


def test_metadata_says_what_is_in_effect_and_builds_the_same_network() -> None:
    block = {"type": "paragonsr2_nano", "use_attention": True, "upsampler_alpha": 0.7}
    net = build_paragonsr2("nano", scale=3, use_attention=True, upsampler_alpha=0.7)
    metadata = network_metadata(block, net, 3)
    assert metadata.options["detail_gain"] == 0.1  # the size's default, written out
    again = build_paragonsr2("nano", scale=3, **metadata.options)
    again.load_state_dict(net.state_dict())
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(again(x), net(x))


def test_metadata_of_a_released_tier_builds_it_too() -> None:
    net = build_released("photo", scale=2, window_size=8)
    metadata = network_metadata({"type": "paragonsr2_photo", "scale": 2, "window_size": 8}, net)
    assert metadata.options["window_size"] == 8
    again = build_released("photo", scale=2, **metadata.options)
    again.load_state_dict(net.state_dict())


@pytest.mark.parametrize(
    "value", [1, {}, {"type": 3, "scale": 2, "options": {}}, {"type": "a", "scale": "2", "options": {}}]
)
def test_damaged_metadata_is_refused(value: Any) -> None:
    with pytest.raises(CheckpointError, match="its description of the network"):
        read_metadata({"paragon": value}, "a.pth")


@pytest.mark.usefixtures("host")
def test_metadata_loads_safely_and_stock_basicsr_passes_over_it(tmp_path: Path) -> None:
    from basicsr.models.base_model import BaseModel

    net = build_paragonsr2("nano", scale=2)
    metadata = network_metadata({"type": "paragonsr2_nano"}, net, 2)
    file = tmp_path / "a.pth"
    save_atomically({"params": net.state_dict(), METADATA: metadata.plain()}, file)
    assert read_metadata(read_checkpoint(file), file) == metadata
    stock = BaseModel({"num_gpu": 0, "is_train": False})
    other = build_paragonsr2("nano", scale=2)
    assert not torch.equal(other.conv_in.weight, net.conv_in.weight)
    stock.load_network(other, str(file), True, "params")
    assert torch.equal(other.conv_in.weight, net.conv_in.weight)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(("state", "param_key"), [({"params": W}, "params"), (W, None), (W, "params")])
def test_training_accepts_what_the_reader_reads(tmp_path: Path, state: Any, param_key: str | None) -> None:
    from paragon_plugin.hosts.basicsr.checks.pretrained import check_pretrained

    for file in (tmp_path / "a.pth", tmp_path / "a.safetensors"):
        torch.save(state, file) if file.suffix == ".pth" else save_file(W, file)
        check_pretrained("path.pretrain_network_g", file, param_key)
    (tmp_path / "a.pth").write_text("no")
    with pytest.raises(OptionError, match=r"path\.pretrain_network_g: .*a\.pth is damaged or not a checkpoint"):
        check_pretrained("path.pretrain_network_g", tmp_path / "a.pth", param_key)


# -- memory ------------------------------------------------------------------------------------------------------------


def rewritten(source: Path, target: Path, compression: int, replaced: dict[str, bytes]) -> None:
    """The same zip file with other parts, or compressed."""
    import zipfile

    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for part in old.infolist():
            data = next((d for end, d in replaced.items() if part.filename.endswith(end)), old.read(part))
            new.writestr(part.filename, data)


def test_a_checkpoint_that_inflates_is_refused_from_its_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred megabytes of zeros in a file of a hundred kilobytes; nothing of it is loaded."""
    import zipfile

    torch.save({"params": {"a": torch.zeros(4)}}, tmp_path / "plain.pth")
    rewritten(tmp_path / "plain.pth", tmp_path / "bomb.pth", zipfile.ZIP_DEFLATED, {"data/0": bytes(100 << 20)})
    assert (tmp_path / "bomb.pth").stat().st_size < 1 << 18
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(CheckpointError, match=r"has [\d,]+ bytes and would take 104,[\d,]+: torch\.save compresses"):
        read_checkpoint(tmp_path / "bomb.pth")


def test_a_plain_copy_of_a_checkpoint_is_read(tmp_path: Path) -> None:
    """The same parts in another zip file, as tools leave it, say no more than the file has."""
    import zipfile

    torch.save({"params": {"a": torch.ones(4)}}, tmp_path / "plain.pth")
    rewritten(tmp_path / "plain.pth", tmp_path / "copy.pth", zipfile.ZIP_STORED, {})
    assert torch.equal(read_network(tmp_path / "copy.pth")["a"], torch.ones(4))


@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_a_list_of_itself_many_times_over_is_refused(tmp_path: Path, kind: type) -> None:
    """Forty levels of two: a trillion values for whoever walks through them."""
    value: Any = [0]
    for _ in range(40):
        value = {"a": value, "b": value} if kind is dict else kind([value, value])
    description = {"type": "paragonsr2_nano", "scale": 2, "options": {"x": value}}
    torch.save({"params": {"a": torch.zeros(1)}, "paragon": description}, tmp_path / "bomb.pth")
    with pytest.raises(CheckpointError, match="holds more than 50,000,000 values"):
        read_checkpoint(tmp_path / "bomb.pth")
