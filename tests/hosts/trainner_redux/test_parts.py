"""What stands between redux and the parts without a host: taps on modules, roles, networks, schema."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator
from safetensors.torch import save_file
from torch import Tensor, nn

from paragon_plugin.hosts.trainner_redux.networks import ENTRY_POINTS
from paragon_plugin.hosts.trainner_redux.options import role
from paragon_plugin.hosts.trainner_redux.schema import with_our_parts
from paragon_plugin.hosts.trainner_redux.taps import tap_criterion, tap_discriminator, total
from paragon_plugin.inference.load_network import load_network
from paragon_plugin.scheduling import LossBalance


class Adversarial(nn.Module):
    """Called as redux calls its GAN loss."""

    def forward(self, prediction: Tensor, real: bool, is_disc: bool = False) -> Tensor:
        sign = -1.0 if real else 1.0
        return nn.functional.softplus(sign * prediction).mean() * (2.0 if is_disc else 1.0)


class Parts(nn.Module):
    """A criterion of two parts, one of which may be below 0."""

    def forward(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {"near": (output - target).square().mean(), "low": (output - target).mean()}


def step(weights: dict[str, float], parts: int = 1) -> tuple[LossBalance, list[float]]:
    """Thirty steps in redux's order of calls; returns the discriminator's own losses as well."""
    torch.manual_seed(0)
    net, disc = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 1, 3)
    criteria = {"l_g_l1": nn.L1Loss(), "l_g_parts": Parts(), "l_g_gan": Adversarial()}
    optimizer, optimizer_d = torch.optim.AdamW(net.parameters(), 1e-3), torch.optim.AdamW(disc.parameters(), 1e-3)
    balance = LossBalance(weights, total_iter=100, network=net, parts=parts, roles={"l_g_parts": "perceptual"})
    balance.ride_with(optimizer)
    for label in ("l_g_l1", "l_g_parts"):
        tap_criterion(balance, label, criteria[label])
    tap_discriminator(balance, "l_g_gan", disc, criteria["l_g_gan"])
    values: list[float] = []
    for part in range(30 * parts):
        x = torch.rand(2, 3, 8, 8)
        disc.requires_grad_(False)
        y = net(x)
        loss = torch.zeros(())
        for label, weight in weights.items():
            result = criteria[label](disc(y), True, is_disc=False) if label == "l_g_gan" else criteria[label](y, x)
            for entry in result.values() if isinstance(result, dict) else [result]:
                if entry > 0:
                    loss = loss + entry * weight / parts
        loss.backward()
        last = (part + 1) % parts == 0
        if last:
            optimizer.step()
            optimizer.zero_grad()
        disc.requires_grad_(True)
        d_loss = criteria["l_g_gan"](disc(x), True, is_disc=True) + criteria["l_g_gan"](
            disc(y.detach()), False, is_disc=True
        )
        d_loss.backward()
        values.append(d_loss.item())
        if last:
            optimizer_d.step()
            optimizer_d.zero_grad()
    return balance, values


@pytest.mark.parametrize("parts", [1, 2])
def test_each_loss_is_measured_and_the_wrong_one_pulled_back(parts: int) -> None:
    balance, values = step({"l_g_l1": 100.0, "l_g_parts": 1.0, "l_g_gan": 0.1}, parts)
    numbers = balance.log()
    assert balance.iteration == 30
    assert {"l_g_l1", "l_g_parts", "l_g_gan"} == set(balance.weights())
    assert numbers["loss_shares/l_g_gan"] <= 0.1 + 1e-9
    assert all(f"losses/l_{label}" in numbers for label in balance.weights())
    assert numbers["losses/l_l_g_gan"] < 0.1 * 1.5  # softplus near 0, without the factor of the discriminator's turn
    assert values[-1] != values[0]


def test_value_of_several_parts_is_the_sum_of_those_above_0() -> None:
    assert float(total({"a": torch.tensor(2.0), "b": torch.tensor(-1.0), "c": torch.tensor(0.5)})) == 2.5
    assert float(total(torch.tensor(-3.0))) == -3.0


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ("l1loss", "pixel"),
        ("CharbonnierLoss", "pixel"),
        ("hsluvloss", "pixel"),
        ("mssimloss", "structural"),
        ("MSSSIML1Loss", "structural"),
        ("FFLoss", "structural"),
        ("linedistillerloss", "structural"),
        ("perceptualfp16loss", "perceptual"),
        ("ADISTSLoss", "perceptual"),
        ("fliploss", "perceptual"),
        ("ganloss", "adversarial"),
    ],
)
def test_roles_of_losses_of_redux(loss: str, expected: str) -> None:
    assert role(loss) == expected


def test_networks_have_the_names_of_the_other_host_and_their_options_with_them(tmp_path: Path) -> None:
    names = [build.__name__ for build in ENTRY_POINTS]
    assert len(names) == len(set(names)) == 12
    nano = dict(zip(names, ENTRY_POINTS, strict=True))["paragonsr2_nano"](scale=2, upsampler_alpha=0.7)
    # As redux saves a network that has hyperparameters, in its two formats.
    described: dict[str, Any] = nano.hyperparameters  # pyright: ignore[reportAssignmentType]
    save_file(nano.state_dict(), tmp_path / "net.safetensors", metadata={"metadata": json.dumps(described)})
    torch.save({"metadata": described, "params_ema": nano.state_dict()}, tmp_path / "net.pth")
    x = torch.rand(1, 3, 8, 8)
    for file in ("net.safetensors", "net.pth"):
        loaded = load_network(tmp_path / file)
        assert (loaded.name, loaded.scale) == ("paragonsr2_nano", 2)
        torch.testing.assert_close(loaded.net(x), nano.eval()(x))


def test_a_file_with_metadata_of_somebody_else_is_read(tmp_path: Path) -> None:
    nano = ENTRY_POINTS[0](scale=2)
    for number, text in enumerate(("no JSON", "[1]", '{"num_feat": 3}')):
        save_file(nano.state_dict(), tmp_path / f"{number}.safetensors", metadata={"metadata": text})
        assert load_network(tmp_path / f"{number}.safetensors").name == "paragonsr2_nano"


THEIRS = {
    "$ref": "#/$defs/ReduxOptions",
    "$defs": {
        "ReduxOptions": {
            "properties": {
                "network_g": {"anyOf": [{"$ref": "#/$defs/span"}]},
                "train": {"$ref": "#/$defs/TrainOptions"},
            },
            "additionalProperties": False,
        },
        "TrainOptions": {"properties": {"total_iter": {"type": "integer"}}, "additionalProperties": False},
        "span": {"properties": {"type": {"enum": ["span"]}}},
    },
}
"""The form of redux's schema."""


def test_schema_takes_what_both_know_and_nothing_else() -> None:
    valid = Draft202012Validator(with_our_parts(THEIRS)).is_valid
    block = {"enabled": True}
    assert valid({"train": {"total_iter": 1, "dynamic_loss_scheduling": block}, "network_g": {"type": "span"}})
    assert valid({"network_g": {"type": "paragonsr2_xl", "use_attention": False}})
    assert not valid({"network_g": {"type": "paragonsr2_xxl"}})
    assert not valid({"train": {"dynamic_loss_scheduling": {**block, "momentun": 0.5}}})
    assert not valid({"train": {"totaliter": 1}})
    assert "dynamic_loss_scheduling" not in str(THEIRS)


def test_schema_of_a_form_that_is_unknown_is_left_as_it_is() -> None:
    assert with_our_parts({"type": "object"})["type"] == "object"


def test_templates_name_networks_that_exist() -> None:
    root = Path(__file__).resolve().parents[3] / "options" / "trainner_redux"
    names = {build.__name__ for build in ENTRY_POINTS}
    files = sorted(root.rglob("*.yml"))
    assert len(files) == 5
    for file in files:
        (name,) = re.findall(r"^network_g:\n  type: (\w+)", file.read_text(), re.M)
        assert name in names
