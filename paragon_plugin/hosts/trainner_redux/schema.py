"""redux's JSON schema of option files with our block and our networks in it, for editors."""

import copy
from typing import Any

from ...scheduling.option_schema import block_schema
from .networks import ENTRY_POINTS
from .options import KEY


def with_our_parts(schema: dict[str, Any]) -> dict[str, Any]:
    """A copy of redux's schema that also takes the scheduler's block, and our networks as `network_g`.

    A part for which the schema has no place is left out. Everything else is as in redux's file.
    """
    schema = copy.deepcopy(schema)
    definitions = schema.setdefault("$defs", {})
    block, components = block_schema()
    definitions |= components
    train = definitions.get("TrainOptions", {}).get("properties")
    if isinstance(train, dict):
        train[KEY] = block
    network = definitions.get("ReduxOptions", {}).get("properties", {}).get("network_g")
    if isinstance(network, dict) and isinstance(network.get("anyOf"), list):
        names = [build.__name__ for build in ENTRY_POINTS]
        network["anyOf"].append({"$ref": "#/$defs/paragonsr2"})
        definitions["paragonsr2"] = {
            "title": "ParagonSR2",
            "type": "object",
            "properties": {"type": {"enum": names}},
            "required": ["type"],
        }
    return schema
