"""Starts a script of traiNNer-redux with our parts, for those who want no file in its checkout.

    python -m paragon_plugin.hosts.trainner_redux train.py -opt FILE
    torchrun --nproc-per-node 4 -m paragon_plugin.hosts.trainner_redux train.py --launcher pytorch -opt FILE

`test.py` and `convert_to_onnx.py` start in the same way.
"""

import runpy
import sys
from pathlib import Path

from ...errors import OptionError
from . import install
from .refusal import refuse

USAGE = "is missing; say: python -m paragon_plugin.hosts.trainner_redux train.py -opt FILE"


def main(arguments: list[str]) -> None:
    """Run a script of redux as Python would, after `install`.

    Args:
        arguments: The script and what it is given.
    """
    if not arguments:
        refuse(OptionError("SCRIPT", USAGE))
    script = Path(arguments[0])
    if not script.is_file():
        refuse(OptionError(str(script), "is no file; give train.py of a checkout of traiNNer-redux"))
    folder = script.resolve().parent
    if not (folder / "traiNNer").is_dir():
        refuse(OptionError(str(script), "is no script of traiNNer-redux: there is no folder traiNNer beside it"))
    sys.argv = arguments
    sys.path[0] = str(folder)
    install()
    runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
