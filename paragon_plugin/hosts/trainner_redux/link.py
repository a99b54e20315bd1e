"""A file in a checkout of traiNNer-redux that makes plain `python train.py ...` find us; git does not track it.

redux imports every `*_arch.py` of its folder `archs`. Beside it a schema for editors is written, redux's own with our
parts in it.
"""

import json
from pathlib import Path

from ...errors import OptionError
from .contract import changes
from .refusal import changed
from .schema import with_our_parts

LINK = Path("traiNNer/archs/paragon_arch.py")
SCHEMA = Path("schemas/redux-config.schema.json")
OUR_SCHEMA = Path("schemas/paragon.schema.json")

_MARK = "# Written by `paragon redux link`"
_TEXT = f'''{_MARK}; `paragon redux unlink` removes it. PARAGON_DISABLE=1 makes it do nothing.
"""The ParagonSR2 networks and the loss scheduler of paragon-plugin."""

try:
    from paragon_plugin.hosts.trainner_redux import install
except ModuleNotFoundError as error:
    print(f"paragon-plugin cannot be imported ({{error}}); redux runs without it. Install it, or remove {{__file__}}")
else:
    install()
'''


def link(checkout: Path) -> list[str]:
    """Write the file and the schema; returns what was done, in words.

    Raises:
        OptionError: The folder is no checkout of redux, or of one that has changed; a file of that name is not ours;
            the folder cannot be written to.
    """
    _refuse_other_folders(checkout)
    if missing := changes(checkout):
        raise changed(checkout, missing)
    said = [_write(checkout / LINK, _TEXT)]
    try:
        schema = json.loads((checkout / SCHEMA).read_text("utf-8"))
    except (OSError, ValueError):
        return [*said, f"{checkout / SCHEMA} cannot be read: editors get no schema with our block"]
    return [*said, _write(checkout / OUR_SCHEMA, json.dumps(with_our_parts(schema)))]


def unlink(checkout: Path) -> list[str]:
    """Remove what `link` wrote; returns what was done, in words.

    Raises:
        OptionError: The folder is no checkout of redux; the file is not ours, or cannot be removed.
    """
    _refuse_other_folders(checkout)
    said: list[str] = []
    for file in (checkout / LINK, checkout / OUR_SCHEMA):
        if file.exists():
            _refuse_foreign(file)
            try:
                file.unlink()
            except OSError as error:
                raise OptionError(str(file), f"cannot be removed: {error.strerror or error}") from None
            said.append(f"removed  {file}")
    return said or [f"nothing to remove in {checkout}"]


def _write(file: Path, text: str) -> str:
    if file.exists():
        if file.read_text("utf-8", errors="replace") == text:
            return f"is there {file}"
        _refuse_foreign(file)
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise OptionError(str(file), f"cannot be written: {error.strerror or error}") from None
    return f"written  {file}"


def _refuse_foreign(file: Path) -> None:
    text = file.read_text("utf-8", errors="replace")
    if file.name == LINK.name and not text.startswith(_MARK):
        raise OptionError(str(file), "was not written by `paragon redux link`; move it away first")


def _refuse_other_folders(checkout: Path) -> None:
    for needed in (LINK.parent, Path("train.py")):
        if not (checkout / needed).exists():
            what = f"has no {needed.as_posix()}" if checkout.is_dir() else "there is no such folder"
            raise OptionError(str(checkout), f"is no checkout of traiNNer-redux: {what}")
