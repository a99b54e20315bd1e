"""Finds the training state to resume from, on any device, and the network that belongs to it."""

import logging
from pathlib import Path
from typing import Any

from ...options import OptionError
from .checkpoints import CheckpointError, read_checkpoint, read_network
from .option_file import Options


def load_resume_state(options: Options) -> dict[str, Any] | None:
    """The training state to go on from, or None to start afresh; the host's function of that name.

    With `--auto_resume` it is the newest state under `training_states/` that can be read and whose network can be
    read as well; ones that cannot are named in the log and passed over. Without it, `path.resume_state` says.

    Raises:
        OptionError: `path.resume_state` names a file that is not a training state.
    """
    from basicsr.utils import check_resume

    if options["auto_resume"]:
        found = _newest_good(options)
    elif options["path"].get("resume_state"):
        path = Path(options["path"]["resume_state"])
        problem, state = _read(path)
        if state is None:
            raise OptionError("path.resume_state", f"{path} {problem}")
        found = path, state
    else:
        found = None
    if found is None:
        return None
    path, state = found
    options["path"]["resume_state"] = str(path)
    check_resume(options, state["iter"])
    return state


def _newest_good(options: Options) -> tuple[Path, dict[str, Any]] | None:
    logger = logging.getLogger("basicsr")
    numbered = [(int(p.stem), p) for p in Path(options["path"]["training_states"]).glob("*.state") if p.stem.isdigit()]
    for iteration, path in sorted(numbered, reverse=True):
        problem, state = _read(path)
        network = Path(options["path"]["models"]) / f"net_g_{iteration}.pth"
        if state is not None and not _readable(network):
            problem, state = f"has no readable network {network.name}", None
        if state is not None:
            return path, state
        logger.warning(f"{path} {problem}; trying an older one")
    return None


def _read(path: Path) -> tuple[str, dict[str, Any] | None]:
    try:
        state = read_checkpoint(path)
    except CheckpointError as error:
        return error.problem.replace("a checkpoint", "a training state"), None
    if not {"iter", "epoch", "optimizers", "schedulers"} <= state.keys():
        return "is not a training state", None
    return "", state


def _readable(network: Path) -> bool:
    try:
        read_network(network)
    except CheckpointError:
        return False
    return True
