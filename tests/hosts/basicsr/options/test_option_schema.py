"""The schema for editors is the struct's, is committed, and says no where the struct says no."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from paragon_plugin.errors import OptionError
from paragon_plugin.hosts.basicsr.options.schema import option_file_schema
from paragon_plugin.scheduling.options import DynamicLossScheduling, parse_dynamic_loss_scheduling

COMMITTED = Path(__file__).resolve().parents[4] / "options" / "schema.json"


def test_the_committed_schema_is_current() -> None:
    assert json.loads(COMMITTED.read_text()) == json.loads(json.dumps(option_file_schema()))


def test_every_option_is_described() -> None:
    properties = option_file_schema()["$defs"]["DynamicLossScheduling"]["properties"]
    assert set(properties) == set(DynamicLossScheduling.__struct_fields__)
    assert all(len(p["description"]) > 20 for p in properties.values())


@pytest.mark.parametrize(
    ("block", "valid"),
    [
        ({"enabled": True, "auto_calibrate": True}, True),
        ({"enabled": True, "target": {"l1_loss": 0.3}}, True),
        ({"enabled": True, "momentun": 0.5}, False),
        ({"enabled": True, "momentum": 1.0}, False),
        ({"auto_calibrate": True}, False),
        ({"enabled": True, "signal": "value"}, False),
    ],
)
def test_schema_and_struct_agree(block: dict[str, Any], valid: bool) -> None:
    document = {"name": "x", "model_type": "x", "datasets": {}, "network_g": {"type": "anything"}}
    document["train"] = {"total_iter": 1, "dynamic_loss_scheduling": block}
    assert jsonschema.Draft202012Validator(option_file_schema()).is_valid(document) is valid
    try:
        parse_dynamic_loss_scheduling(block)
    except OptionError:
        assert not valid
    else:
        assert valid
