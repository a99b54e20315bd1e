"""Ends a script of redux with one line, where redux would print a page of traceback."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from ...errors import OptionError
from ...scheduling.balance import DISABLE


def refuse(error: OptionError) -> NoReturn:
    """End the process with status 2, as `paragon` does; the first rank says why."""
    if os.environ.get("RANK", "0") == "0":
        print(f"paragon-plugin: {error}", file=sys.stderr)
    raise SystemExit(2)


def changed(checkout: Path, missing: list[str]) -> OptionError:
    """What to tell of a redux that is not the one relied on."""
    return OptionError(
        str(checkout),
        f"this traiNNer-redux is not one that paragon-plugin knows: {'; '.join(missing)}. Update paragon-plugin; until "
        f"then `paragon redux unlink` or {DISABLE}=1 trains without it",
    )
