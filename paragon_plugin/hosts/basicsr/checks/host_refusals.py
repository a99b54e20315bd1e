"""Turns the errors of the host into one line, where it cannot build something from the options."""

import contextlib
from collections.abc import Iterator

from ....errors import OptionError


@contextlib.contextmanager
def host_refusals(where: str) -> Iterator[None]:
    """An error that the host raises while it builds a part becomes one line that names the part.

    The host's own errors name no option, and they can be of nearly any type. `--debug` shows the traceback.
    """
    try:
        yield
    except OptionError:
        raise
    except Exception as error:
        text = str(error).strip() or "failed"
        text = text if len(text) <= 300 else f"{text[:300]} ..."
        if isinstance(error, KeyError) and " " not in text:
            text = f"the option {text} is missing"
        elif not isinstance(error, ValueError | KeyError | AssertionError | NotImplementedError | OSError):
            text = f"{text} ({type(error).__name__}; --debug shows where)"
        raise OptionError(where, text) from error
