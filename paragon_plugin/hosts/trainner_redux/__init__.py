"""traiNNer-redux as the host: our networks by name, our block in its option files, our taps on its losses.

Nothing of redux is edited. `install` hooks in while redux is imported; the file that `paragon redux link` writes calls
it, and so does the launcher `python -m paragon_plugin.hosts.trainner_redux train.py -opt FILE`.
"""

import importlib
import os
from pathlib import Path

from ...scheduling.balance import DISABLE
from .contract import changes
from .refusal import changed, refuse

_installed = False


def install() -> None:
    """Make redux take our block and our networks; does nothing the second time, nor with `PARAGON_DISABLE=1`.

    A redux that lacks what is relied on ends the process with one line and status 2.
    """
    global _installed
    if _installed or os.environ.get(DISABLE) == "1":
        return
    package = importlib.import_module("traiNNer.utils.options")
    checkout = Path(str(package.__file__)).parents[2]
    if missing := changes(checkout):
        refuse(changed(checkout, missing))
    from .typed_options import ReduxOptions

    package.ReduxOptions = ReduxOptions  # type: ignore[attr-defined]
    _installed = True
