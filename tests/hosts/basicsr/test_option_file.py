"""Option files are data: read safely, overridden with types, refused in one line."""

import argparse
import os
from pathlib import Path
from typing import Any

import pytest
from training_parts import batches, build, options_of, train

from paragon_plugin.errors import OptionError
from paragon_plugin.hosts.basicsr.options.file import (
    apply_overrides,
    argument_parser,
    load_options,
    normalised_network,
    read_option_file,
)
from paragon_plugin.resilience.ranks import as_torchrun, is_first_rank


def read(tmp_path: Path, text: str) -> Any:
    file = tmp_path / "options.yml"
    file.write_text(text)
    return read_option_file(file)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("!!float 2e-4", 2e-4), ("5E3", 5000.0), ("-1.5e+3", -1500.0), ("12", 12), ("abc1e4", "abc1e4")],
)
def test_numbers_in_every_spelling(tmp_path: Path, text: str, value: object) -> None:
    result = read(tmp_path, f"lr: {text}")["lr"]
    assert result == value
    assert type(result) is type(value)


def test_a_tag_cannot_run_code(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    with pytest.raises(OptionError, match=r"line 1: the tag !!python/object/apply:os.system is not allowed") as error:
        read(tmp_path, f"name: !!python/object/apply:os.system ['touch {marker}']")
    assert "\n" not in str(error.value)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", r"line 3: 'a' stands twice"),
        ("a: [1,", "line 1"),
        ("- 1\n- 2", "must be a mapping of options, is list"),
        ("", "must be a mapping of options, is NoneType"),
        ("a: \x01", "special characters are not allowed"),
    ],
)
def test_broken_files_are_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"nope\.yml: cannot be read: No such file"):
        read_option_file(tmp_path / "nope.yml")


def test_overrides_are_typed_and_may_create_keys() -> None:
    options: dict[str, Any] = {"train": {"ema_decay": 0.9}}
    apply_overrides(options, ["train:ema_decay=0.999", "train:new:deep=[1, a]", "path:resume=none", "x=1e-3", "y=a=b"])
    assert options == {
        "train": {"ema_decay": 0.999, "new": {"deep": [1, "a"]}},
        "path": {"resume": None},
        "x": 1e-3,
        "y": "a=b",
    }


def test_overrides_never_run_code(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    options: dict[str, Any] = {}
    apply_overrides(options, [f"a=__import__('os').system('touch {marker}')"])
    assert isinstance(options["a"], str)
    with pytest.raises(OptionError):
        apply_overrides(options, [f"a=!!python/object/apply:os.system ['touch {marker}']"])
    assert not marker.exists()


@pytest.mark.parametrize("entry", ["novalue", "=1", "a:=1", "a:b:c=1"])
def test_malformed_overrides_are_refused(entry: str) -> None:
    with pytest.raises(OptionError, match="--force_yml"):
        apply_overrides({"a": {"b": 3}}, [entry])


def test_network_in_one_key_form_and_with_the_files_scale() -> None:
    assert normalised_network({"paragonsr2_s": {"use_attention": True}}, "network_g", 4) == {
        "type": "paragonsr2_s",
        "use_attention": True,
        "scale": 4,
    }
    assert normalised_network({"type": "paragonsr2_s", "scale": 2}, "network_g", None)["scale"] == 2
    with pytest.raises(OptionError, match=r"network_g\.scale: is 2, but the file's scale is 4"):
        normalised_network({"type": "paragonsr2_s", "scale": 2}, "network_g", 4)
    with pytest.raises(OptionError, match="scale: is missing"):
        normalised_network({"type": "paragonsr2_s"}, "network_g", None)
    # the scale of other architectures has other names: theirs is left alone
    assert normalised_network({"type": "RRDBNet"}, "network_g", 4) == {"type": "RRDBNet"}


@pytest.mark.parametrize("network", [None, [], "paragonsr2_s", {}, {"a": 1, "b": 2}, {"paragonsr2_s": 3}])
def test_malformed_networks_are_refused(network: object) -> None:
    with pytest.raises(OptionError, match="network_g"):
        normalised_network(network, "network_g", 2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("name: ../../etc", "name: becomes part of a path"),
        ("manual_seed: abc", "manual_seed: must be a whole number"),
        ("scale: 2.5", "scale: must be a whole number"),
        ("num_gpu: some", "num_gpu: must be a number of GPUs"),
        ("datasets: 3", "datasets: must be a block"),
        ("train: {total_iter: many}", "train.total_iter: must be a whole number"),
        ("network_g: {}", "network_g: has no 'type'"),
    ],
)
@pytest.mark.usefixtures("host")
def test_wrong_values_are_refused_by_path(tmp_path: Path, line: str, message: str) -> None:
    lines = {
        "name": "name: x",
        "model_type": "model_type: ParagonSRModel",
        "datasets": "datasets: {train: {}}",
        "network_g": "network_g: {type: paragonsr2_nano}",
        "train": "train: {total_iter: 1e3}",
    }
    lines[line.split(":")[0]] = line
    file = tmp_path / "options.yml"
    file.write_text("\n".join(lines.values()))
    with pytest.raises(OptionError, match=message):
        load_options(arguments(file), str(tmp_path), is_train=True)


def arguments(file: Path, *more: str) -> argparse.Namespace:
    return argument_parser().parse_args(["-opt", str(file), *more])


@pytest.mark.usefixtures("host")
def test_derived_entries_are_the_hosts(tmp_path: Path, short_options: Any) -> None:
    options = load_options(arguments(short_options(), "--auto_resume"), str(tmp_path), is_train=True)
    assert options["auto_resume"] is True
    assert options["dist"] is False
    assert options["datasets"]["train"]["phase"] == "train"
    assert options["datasets"]["val"]["scale"] == 2
    assert options["path"]["models"] == str(tmp_path / "experiments" / "short" / "models")
    debug = load_options(arguments(short_options(), "--debug"), str(tmp_path), is_train=True)
    assert debug["name"] == "debug_short"
    assert debug["logger"]["print_freq"] == 1


def test_overrides_may_be_given_in_several_places() -> None:
    args = argument_parser().parse_args(["-opt", "a.yml", "--force_yml", "a=1", "b=2", "--force_yml", "c=3"])
    assert args.force_yml == ["a=1", "b=2", "c=3"]


def test_srun_is_as_good_as_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    given = {"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "MASTER_ADDR": "node1"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert not is_first_rank("slurm")
    as_torchrun(port=None)
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    assert [os.environ.pop(name) for name in names] == ["5", "8", "1", "node1", "29500"]


@pytest.mark.usefixtures("host")
def test_a_schedule_without_milestones_keeps_its_learning_rate(tmp_path: Path, short_options: Any) -> None:
    from paragon_plugin.hosts.basicsr.checks.rules import check_training_options

    scheduler = {"type": "MultiStepLR", "milestones": [], "gamma": 0.5}
    options = options_of(short_options(train__scheduler=scheduler), tmp_path)
    check_training_options(options)
    model = build(options)
    train(model, batches(3))
    assert model.get_current_learning_rate() == [2e-3]


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        (
            {"type": "CosineAnnealingRestartLR", "periods": [], "restart_weights": [], "eta_min": 1e-5},
            "train.scheduler.periods: must be a list of numbers of at least 1, is []",
        ),
        (
            {"type": "MultiStepLR", "milestones": None, "gamma": 0.5},
            "train.scheduler.milestones: must be a list of numbers of at least 0, is None",
        ),
        (
            {"type": "MultiStepLR", "milestones": [[]], "gamma": 0.5},
            "train.scheduler.milestones: must be a list of numbers of at least 0, is [[]]",
        ),
    ],
)
def test_schedules_without_the_numbers_that_they_need_are_refused(
    tmp_path: Path, short_options: Any, scheduler: dict[str, Any], message: str
) -> None:
    from paragon_plugin.hosts.basicsr.checks.rules import check_training_options

    options = options_of(short_options(train__scheduler=scheduler), tmp_path)
    with pytest.raises(OptionError) as error:
        check_training_options(options)
    assert str(error.value) == message
