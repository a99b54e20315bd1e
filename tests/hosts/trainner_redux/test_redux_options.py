"""The block in redux's option files: what is taken, and what is refused in one line."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from redux_runs import GAN, read_options, write_options

from paragon_plugin.hosts.trainner_redux.schema import with_our_parts

TEMPLATES = Path(__file__).resolve().parents[3] / "options" / "trainner_redux"
BLOCK = "train__dynamic_loss_scheduling"
ON = {"enabled": True}
KNOWN = "known: l_g_fft, l_g_l1"


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({**ON, "momentun": 0.5}, "momentun: unknown option; did you mean 'momentum'?"),
        ({**ON, "momentum": 1.0}, "momentum: must be"),
        ({**ON, "momentum": "much"}, "momentum: must be"),
        ({**ON, "signal": "value"}, "signal: must be one of gradient, loss_ratio, loss_velocity"),
        ({**ON, "target": {"l_g_l1": 0.5}}, "target"),
        ({**ON, "target": {"l1_loss": 0.5, "l_g_fft": 0.5}}, "target.l1_loss: no such loss"),
        ({**ON, "manual_weights": {"l1": 2.0}}, "manual_weights.l1: no such loss"),
        ({"auto_calibrate": True}, "needs 'enabled: true' or 'enabled: false'"),
        ({**ON, "enabled": 1}, "enabled: must be true or false"),
        (True, "must be a block of options"),
        ("on", "must be a block of options"),
        ([1], "must be a block of options"),
    ],
)
def test_a_bad_block_is_one_line_with_its_place(
    block: object, told: str, redux: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_options(tmp_path, **{BLOCK: block})
    with pytest.raises(SystemExit) as refused:
        read_options(file, redux)
    (line,) = capsys.readouterr().err.splitlines()
    assert refused.value.code == 2
    assert line.startswith("paragon-plugin: train.dynamic_loss_scheduling")
    assert told in line
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"train__optim_g": ...}, "needs train.optim_g"),
        ({"network_g": ..., "network_ae": {"type": "autoencoder"}}, "schedules the losses of network_g"),
    ],
)
def test_a_file_that_has_nothing_to_schedule_is_refused(
    changes: dict[str, Any], told: str, redux: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        read_options(write_options(tmp_path, **changes), redux)
    assert told in capsys.readouterr().err
    read_options(write_options(tmp_path, **changes, **{BLOCK: {"enabled": False}}), redux)


@pytest.mark.parametrize("path", ["train__dynamic_loss_schedulin", "train__totaliter", "scal", "train__eco__enable"])
@pytest.mark.parametrize("block", [ON, ...])
def test_misspelt_options_of_redux_stay_refused(path: str, block: Any, redux: Path, tmp_path: Path) -> None:
    import msgspec

    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        read_options(write_options(tmp_path, **{BLOCK: block, path: True}), redux)


def test_no_block_and_an_empty_one_are_plain_redux(redux: Path, tmp_path: Path) -> None:
    assert read_options(write_options(tmp_path, **{BLOCK: ...}), redux).train.dynamic_loss_scheduling is None
    assert read_options(write_options(tmp_path, **{BLOCK: None}), redux).train.dynamic_loss_scheduling is None


def test_the_older_form_of_losses_is_known(redux: Path, tmp_path: Path) -> None:
    changes = {"train__losses": ..., "train__pixel_opt": {"type": "l1loss", "loss_weight": 1.0}}
    block = {**ON, "manual_weights": {"l_g_l1": 0.5}}
    opt = read_options(write_options(tmp_path, **changes, **{BLOCK: block}), redux)
    assert opt.train.dynamic_loss_scheduling.manual_weights == {"l_g_l1": 0.5}


def test_options_are_copied_with_their_block(redux: Path, tmp_path: Path) -> None:
    opt = read_options(write_options(tmp_path, **GAN), redux)
    assert copy.deepcopy(opt).train.dynamic_loss_scheduling == opt.train.dynamic_loss_scheduling


def test_registered_networks_are_built_by_redux(redux: Path, tmp_path: Path) -> None:
    from traiNNer.archs import build_network  # pyright: ignore[reportMissingImports]

    read_options(write_options(tmp_path), redux)
    for name in ("paragonsr2_nano", "ParagonSR2_xs", "paragonsr2_realtime"):
        net = build_network({"type": name, "scale": 4})
        assert net.hyperparameters["paragon"]["type"] == name.lower()
    with pytest.raises(ValueError, match="use_atention"):
        build_network({"type": "paragonsr2_nano", "scale": 4, "use_atention": True})


def test_a_network_of_the_checkout_keeps_its_name(redux: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from traiNNer.utils import registry  # pyright: ignore[reportMissingImports]

    from paragon_plugin.hosts.trainner_redux.networks import register_networks

    assert redux.is_dir()
    fresh = registry.Registry("arch")

    def paragonsr2_nano() -> None: ...

    fresh.register(paragonsr2_nano)
    monkeypatch.setattr(registry, "ARCH_REGISTRY", fresh)
    register_networks()
    assert fresh.get("paragonsr2_nano") is paragonsr2_nano
    assert "paragonsr2_pro" in fresh


@pytest.mark.parametrize("file", sorted(TEMPLATES.rglob("*.yml")), ids=lambda file: file.name)
def test_templates_are_taken_by_redux_and_by_the_schema(file: Path, redux: Path, tmp_path: Path) -> None:
    shutil.copy(file, tmp_path / "custom.yml")
    opt = read_options(tmp_path / "custom.yml", redux)
    assert opt.network_g["type"].startswith("paragonsr2_")
    theirs = json.loads((redux / "schemas" / "redux-config.schema.json").read_text())
    written = yaml.safe_load(file.read_text())
    places = [list(error.path) for error in Draft202012Validator(with_our_parts(theirs)).iter_errors(written)]
    # redux's schema does not know its own data set for degradations.
    assert [place for place in places if place != ["datasets", "train", "type"]] == []
    if "train" in written:
        assert written["train"]["dynamic_loss_scheduling"]["enabled"] is True
        written["train"]["dynamic_loss_scheduling"]["enabld"] = True
        assert not Draft202012Validator(with_our_parts(theirs)).is_valid(written)
