"""Loss weights as lines of YAML."""

import json
import re
from collections.abc import Mapping

_YAML_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
"""Plain words that mean something else to YAML 1.1."""


def weights_block(weights: Mapping[str, float]) -> str:
    """Weights by loss name as lines to paste, four digits each: valid YAML.

    >>> print(weights_block({"l1": 1.0, "no": 0.00001}))
    l1: 1
    "no": 1.0e-05
    """
    return "\n".join(f"{_key(name)}: {_number(weight)}" for name, weight in weights.items())


def manual_weights(weights: Mapping[str, float]) -> list[str]:
    """Lines to paste into an option file's `dynamic_loss_scheduling`."""
    return ["  manual_weights:", *(f"    {line}" for line in weights_block(weights).splitlines())]


def _key(name: str) -> str:
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and name.lower() not in _YAML_WORDS
    return name if plain else json.dumps(name)


def _number(value: float) -> str:
    """Four digits; to YAML 1.1 `1e-05` is text, `1.0e-05` is a number."""
    mantissa, e, exponent = f"{value:.4g}".partition("e")
    return f"{mantissa}.0e{exponent}" if e and "." not in mantissa else f"{mantissa}{e}{exponent}"
