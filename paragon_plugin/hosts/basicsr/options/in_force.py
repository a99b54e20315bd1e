"""The options in force as an option file: read again, they make the same run.

They are the file's with the overrides, the plugin's defaults, the seed and what `--debug` sets. What follows from them
on the machine at hand (ranks, folders) is not among them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from ....errors import one_line, shown
from .file import EXPONENTS


class _Dumper(yaml.SafeDumper):
    """Writes what `file.OptionLoader` reads back as the same values: text that looks like `1e-4` is quoted."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def text(self, data: str) -> yaml.ScalarNode:
        # PyYAML reads these line ends back as spaces, unless they stand in double quotes.
        style = '"' if any(end in data for end in "\x85\u2028\u2029") else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style)


_Dumper.yaml_implicit_resolvers = {key: list(known) for key, known in _Dumper.yaml_implicit_resolvers.items()}
_Dumper.add_implicit_resolver(*EXPONENTS)
_Dumper.add_representer(str, _Dumper.text)


def as_file(options: Mapping[str, Any], comments: Sequence[str] = ()) -> str:
    """The text of an option file; comments come first, a line each."""
    lines = "".join(f"# {one_line(comment, 10_000)}".rstrip() + "\n" for comment in comments)
    return lines + yaml.dump(
        dict(options), Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=10**6
    )


def changes(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """What differs, a line for each option: `train.total_iter: 40 -> 60`."""
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from changes(old, new, f"{path}{key}.")
        elif old != new:
            was, is_now = (shown(block[key]) if key in block else "not given" for block in (before, after))
            yield f"{path}{key}: {was} -> {is_now}"
