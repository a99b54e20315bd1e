"""The run's folder holds the option file as written, and one that makes the same run."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.usefixtures("host")

Train = Callable[..., Any]


def in_force(folder: Path, name: str = "options_in_force.yml") -> dict[str, Any]:
    from paragon_plugin.hosts.basicsr.options.file import read_option_file

    return read_option_file(folder / name)


def final_state(folder: Path, iteration: int = 4) -> list[Any]:
    networks = torch.load(folder / f"models/net_g_{iteration}.pth", weights_only=True)
    state = torch.load(folder / f"training_states/{iteration}.state", weights_only=True)
    return [networks["params"], networks["params_ema"], state["optimizers"], state["seed"]]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


DRAWN = {"manual_seed": ..., "datasets__train__accum_iter": 2}
"""A seed drawn at random, and a batch that the plugin multiplies."""


@pytest.mark.parametrize("flags", [(), ("--debug",)])
def test_the_options_in_force_repeat_the_run(flags: tuple[str, ...], train_here: Train, tmp_path: Path) -> None:
    overrides = ("--force_yml", "train:optim_g:lr=3e-3", "train:losses=[{type: L1Loss, loss_weight: 1e-1}]")
    train_here(*flags, *overrides, **DRAWN)
    name = "debug_short" if flags else "short"
    run = tmp_path / "experiments" / name
    assert (run / "short.yml").read_text() == (tmp_path / "short.yml").read_text()
    kept = in_force(run)
    assert kept["train"]["optim_g"]["lr"] == 3e-3
    assert kept["name"] == name
    assert kept["datasets"]["train"]["batch_size_per_gpu"] == 4
    text = (run / "options_in_force.yml").read_text()
    assert f"#   paragon train -opt experiments/{name}/options_in_force.yml" in text
    assert "# Versions: paragon_plugin" in text
    first = final_state(run)
    train_here(file=run / "options_in_force.yml")
    (archived,) = (tmp_path / "experiments").glob(f"{name}_archived_*")
    assert same(final_state(archived), first)
    assert same(final_state(run), first)
    assert in_force(run) == kept


def test_another_seed_would_be_another_run(train_here: Train, tmp_path: Path) -> None:
    train_here(manual_seed=1)
    one = final_state(tmp_path / "experiments/short")
    train_here(manual_seed=2)
    assert not same(final_state(tmp_path / "experiments/short"), one)


def test_a_resumed_run_keeps_its_first_options_and_tells_what_changed(
    train_here: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_here(**DRAWN)
    run = tmp_path / "experiments/short"
    begun = {file.name: file.read_bytes() for file in run.glob("*.yml")}
    assert set(begun) == {"short.yml", "options_in_force.yml"}
    train_here("--auto_resume", **DRAWN, train__total_iter=6, train__optim_g__lr=1e-3)
    told = "Options changed since options_in_force.yml: train.total_iter: 4 -> 6; train.optim_g.lr: 0.002 -> 0.001."
    assert told in capsys.readouterr().out
    assert {name: (run / name).read_bytes() for name in begun} == begun
    assert set(begun) | {"short_4.yml", "options_in_force_4.yml"} == {file.name for file in run.glob("*.yml")}
    second = in_force(run, "options_in_force_4.yml")
    assert (second["train"]["total_iter"], second["manual_seed"]) == (6, in_force(run)["manual_seed"])
    assert "#   train.total_iter: 4 -> 6\n" in (run / "options_in_force_4.yml").read_text()
    assert (run / "short_4.yml").read_text() == (tmp_path / "short.yml").read_text()


def test_a_run_that_goes_on_as_it_began_writes_no_more_options(
    train_here: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_here(**DRAWN)
    run = tmp_path / "experiments/short"
    (run / "training_states/4.state").unlink()
    capsys.readouterr()
    assert train_here("--auto_resume", file=run / "options_in_force.yml").iteration == 4
    said = capsys.readouterr().out
    assert "Resuming from iteration 2" in said
    assert "Options changed" not in said
    assert {file.name for file in run.glob("*.yml")} == {"short.yml", "options_in_force.yml"}


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats()
    | st.dates()
    | st.sampled_from(["1e-4", "-2E+5", "1.", "0x1f", "1:30", "yes", "~", "", "=", "<<", "2026-01-01", "a: b #c"])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab<=~1e-", max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(options=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), VALUES, max_size=4))
def test_what_is_written_is_read_back(options: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    from paragon_plugin.hosts.basicsr.options.file import read_option_file
    from paragon_plugin.hosts.basicsr.options.in_force import as_file

    file = tmp_path_factory.getbasetemp() / "options.yml"
    file.write_bytes(as_file(options, ["a comment\nof two lines: [", ""]).encode())
    assert alike(read_option_file(file), options)


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return type(one) is type(other) and one == other
