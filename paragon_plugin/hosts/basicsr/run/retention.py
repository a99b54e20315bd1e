"""Which numbered checkpoints of a run stay on disk: `logger: keep_last: N`."""

import logging
import re
from pathlib import Path

from ....resilience.checkpoints import CheckpointError, peek
from ..options.file import Options
from .resume import trouble_of

_NUMBERED = re.compile(r"(?:net_\w+_)?(\d+)\.(?:pth|state)")
_LEFTOVER = re.compile(r"\.(?:net_\w+|\d+)\.(?:pth|state)\.\d+\.tmp")


def rotate(options: Options, iteration: int) -> None:
    """Delete the numbered checkpoints before the last `keep_last` ones, counted from the one just written.

    What a resume needs is never deleted. This is the checkpoint just written, and any checkpoint after it. It is also
    the last healthy one, if all that stay were saved in trouble. States are deleted before networks, so a kill in
    between leaves no state without its networks. `net_g_best.pth` and `net_g_latest.pth` have no number and stay.
    """
    number = options["logger"].get("keep_last")
    if number is None:
        return
    states, models = Path(options["path"]["training_states"]), Path(options["path"]["models"])
    written = sorted(found for path in states.glob("*.state") if (found := _iteration(path)) <= iteration)
    oldest = written[-number:][0] if written else iteration
    healthy = next((found for found in reversed(written) if _is_healthy(states / f"{found}.state")), None)
    for folder in (states, models):
        for path in folder.iterdir():
            if 0 <= (found := _iteration(path)) < oldest and found != healthy:
                path.unlink(missing_ok=True)


def _is_healthy(path: Path) -> bool:
    try:
        return not trouble_of(peek(path))
    except CheckpointError:
        return False


def set_aside_newer(options: Options, iteration: int) -> None:
    """Rename the states of a branch that was left by going back to an iteration, so that none is resumed from."""
    for path in Path(options["path"]["training_states"]).glob("*.state"):
        if _iteration(path) > iteration:
            path.replace(path.with_name(f"{path.name}.set_aside"))
            logging.getLogger("basicsr").info(f"Going on from iteration {iteration:,}: {path} is set aside.")


def remove_leftovers(options: Options) -> None:
    """Delete what a killed run was writing."""
    for key in ("training_states", "models"):
        for path in Path(options["path"][key]).glob(".*.tmp"):
            if _LEFTOVER.fullmatch(path.name):
                path.unlink(missing_ok=True)


def _iteration(path: Path) -> int:
    """Number in a checkpoint's name, -1 where there is none."""
    match = _NUMBERED.fullmatch(path.name)
    return int(match[1]) if match else -1
