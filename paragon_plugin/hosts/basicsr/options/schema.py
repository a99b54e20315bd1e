"""A JSON schema of option files for editors: completes and checks the `dynamic_loss_scheduling` block while one types.

    python -m paragon_plugin.hosts.basicsr.options.schema > options/schema.json

Everything else of an option file is the host's and left open.
"""

import ast
import inspect
import json
import textwrap
from typing import Any

import msgspec

from ....scheduling.options import DynamicLossScheduling


def field_docstrings(struct: type) -> dict[str, str]:
    """The docstring under each field of a struct, on one line."""
    body = ast.parse(textwrap.dedent(inspect.getsource(struct))).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[field.target.id] = " ".join(str(ast.literal_eval(text.value)).split())
    return found


def option_file_schema() -> dict[str, Any]:
    """The schema, as plain values."""
    (block,), components = msgspec.json.schema_components([DynamicLossScheduling], ref_template="#/$defs/{name}")
    definition = components[DynamicLossScheduling.__name__]
    for name, text in field_docstrings(DynamicLossScheduling).items():
        definition["properties"][name]["description"] = text
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Option file of BasicSR with paragon-plugin",
        "type": "object",
        "properties": {"train": {"type": "object", "properties": {"dynamic_loss_scheduling": block}}},
        "$defs": components,
    }


if __name__ == "__main__":
    print(json.dumps(option_file_schema(), indent=1))
