"""The JSON schema of the scheduler's block; a host puts it into the schema of its option files."""

import ast
import inspect
import textwrap
from typing import Any, cast

import msgspec

from .options import DynamicLossScheduling


def block_schema() -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of the block, and the definitions that it refers to under `$defs`; each option has its docstring."""
    (block,), components = msgspec.json.schema_components([DynamicLossScheduling], ref_template="#/$defs/{name}")
    properties = cast("dict[str, dict[str, Any]]", components[DynamicLossScheduling.__name__]["properties"])
    for name, text in _field_docstrings(DynamicLossScheduling).items():
        properties[name]["description"] = text
    return block, components


def _field_docstrings(struct: type) -> dict[str, str]:
    """The docstring under each field of a struct, on one line."""
    body = ast.parse(textwrap.dedent(inspect.getsource(struct))).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[field.target.id] = " ".join(str(ast.literal_eval(text.value)).split())
    return found
