"""A JSON schema of option files for editors: completes and checks the `dynamic_loss_scheduling` block while one types.

    python -m paragon_plugin.hosts.basicsr.options.schema > options/schema.json

Everything else of an option file is the host's and left open.
"""

import json
from typing import Any

from ....scheduling.option_schema import block_schema


def option_file_schema() -> dict[str, Any]:
    """The schema, as plain values."""
    block, components = block_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Option file of BasicSR with paragon-plugin",
        "type": "object",
        "properties": {"train": {"type": "object", "properties": {"dynamic_loss_scheduling": block}}},
        "$defs": components,
    }


if __name__ == "__main__":
    print(json.dumps(option_file_schema(), indent=1))
