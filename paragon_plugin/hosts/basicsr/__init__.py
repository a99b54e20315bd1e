"""BasicSR 1.4.2 as the host: repairs it for today's libraries and registers our parts with it."""

import importlib
import importlib.util
import logging

from ...errors import OptionError
from . import patches

_installed = False


class HostMissingError(OptionError, ImportError):
    """BasicSR, or a package without which it cannot be imported, is not installed; one line with the remedy."""


def install() -> None:
    """Repair BasicSR where it needs it and register everything of ours; does nothing the second time.

    All or nothing: what can fail (imports) comes before what changes the host's registries, and a registry that
    already holds one of our names is left as it is.

    Raises:
        HostMissingError: BasicSR or a package that it needs is not installed. It is an ImportError and an OptionError.
        ImportError: What is installed cannot be imported.
    """
    global _installed
    if _installed:
        return
    try:
        if importlib.util.find_spec("basicsr") is None:
            raise ModuleNotFoundError(name="basicsr")
        patches.provide_functional_tensor()
        importlib.import_module("basicsr")
        patches.apply()
        from .registration import register_parts
    except ModuleNotFoundError as error:
        what = "needs BasicSR" if error.name == "basicsr" else f"BasicSR needs the module {error.name}"
        raise HostMissingError("", f'{what}: pip install "paragon-plugin[basicsr]"') from error
    # What the parts without a host log goes where the host's log goes.
    logging.getLogger("paragon_plugin").parent = logging.getLogger("basicsr")
    register_parts()
    _installed = True
