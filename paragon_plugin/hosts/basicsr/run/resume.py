"""Finds the training state to resume from, on any device, and the networks that belong to it."""

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ....errors import OptionError
from ....resilience.checkpoints import CheckpointError, network_weights, read_checkpoint
from ....resilience.checksum import verify_checksum
from ....resilience.ranks import from_first_rank
from ..options.file import Options


def load_resume_state(options: Options) -> dict[str, Any] | None:
    """The training state to go on from, or None to start afresh; the host's function of that name.

    With `--auto_resume` it is the newest state under `training_states/` that is whole and whose networks are the ones
    saved with it; ones that are not are named in the log and passed over. Without it, `path.resume_state` says. In a
    distributed run rank 0 chooses for all.

    Raises:
        OptionError: `path.resume_state` names a file that cannot be resumed from.
    """
    from basicsr.utils import check_resume

    path: Path | None = None
    if options["auto_resume"]:
        path = from_first_rank(_newest_good(options) if options["rank"] == 0 else None)
    elif options["path"].get("resume_state"):
        path = Path(options["path"]["resume_state"])
        if problem := _problem(options, path):
            raise OptionError("path.resume_state", f"{path} {problem}")
    if path is None:
        return None
    state = read_checkpoint(path)
    options["path"]["resume_state"] = str(path)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        check_resume(options, state["iter"])
    for key in [key for key in options["path"] if key.startswith("param_key")]:
        options["path"][key] = "params"  # ours have that level, whatever the file that the run began with had
    for line in said.getvalue().splitlines():
        logging.getLogger("basicsr").info(line, extra={"file_only": True})
    return state


def numbered_states(options: Options) -> list[tuple[int, Path]]:
    """The training states of a run, newest first."""
    paths = Path(options["path"]["training_states"]).glob("*.state")
    return sorted(((int(path.stem), path) for path in paths if path.stem.isdigit()), reverse=True)


def _newest_good(options: Options) -> Path | None:
    logger, passed_over = logging.getLogger("basicsr"), False
    for _, path in numbered_states(options):
        problem = _problem(options, path)
        if not problem:
            return path
        passed_over = True
        logger.warning(f"{path} {problem}; trying an older one")
    if passed_over:
        logger.warning("No checkpoint of this run can be used; it starts afresh.")
    return None


def _problem(options: Options, path: Path) -> str:
    """Why a run cannot go on from a training state, to stand after its name; empty where it can."""
    try:
        state = read_checkpoint(path)
    except CheckpointError as error:
        return error.problem.replace("a checkpoint", "a training state")
    if not {"iter", "epoch", "optimizers", "schedulers"} <= state.keys():
        return "is not a training state"
    checksums = state.get("networks", {})
    for name in _needed_networks(options):
        network = Path(options["path"]["models"]) / f"{name}_{state['iter']}.pth"
        try:
            network_weights(read_checkpoint(network), network)
        except CheckpointError as error:
            return f"has no readable network: {network.name} {error.problem}"
        if name in checksums and verify_checksum(network) != checksums[name]:
            return f"was saved with another {network.name}"
    return ""


def _needed_networks(options: Options) -> Iterator[str]:
    """Names such as `net_g` of the networks that are loaded with a state: the option file's, as the host does it."""
    ignored = options["path"].get("ignore_resume_networks") or ()
    for block in options:
        if str(block).startswith("network_") and block not in ignored:
            yield block.replace("network_", "net_")
