"""BasicSR 1.4.2 as the host: repairs it for today's libraries and registers our parts with it."""

import importlib
import logging

from . import patches

_installed = False


def install() -> None:
    """Repair BasicSR where it needs it and register everything of ours; does nothing the second time.

    All or nothing: what can fail (imports) comes before what changes the host's registries, and a registry that
    already holds one of our names is left as it is.

    Raises:
        ImportError: BasicSR is missing or cannot be imported.
    """
    global _installed
    if _installed:
        return
    patches.provide_functional_tensor()
    importlib.import_module("basicsr")
    patches.apply()
    # What the parts without a host log goes where the host's log goes.
    logging.getLogger("paragon_plugin").parent = logging.getLogger("basicsr")
    from .registration import register_parts

    register_parts()
    _installed = True
