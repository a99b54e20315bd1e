"""Finds the training state to resume from, on any device, and the networks that belong to it."""

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ....errors import OptionError
from ....resilience.checkpoints import CheckpointError, network_weights, nonfinite_weight, peek, read_checkpoint
from ....resilience.checksum import verify_checksum
from ....resilience.ranks import from_first_rank
from ..options.file import Options


def load_resume_state(options: Options) -> dict[str, Any] | None:
    """The training state to go on from, or None to start afresh; the host's function of that name.

    With `--auto_resume` it is the newest state under `training_states/` that is whole, was not saved in trouble, and
    whose networks are the ones saved with it; ones that are not are named in the log and passed over. Where every
    whole one was saved in trouble it is the newest of them. Without it, `path.resume_state` says. In a distributed
    run rank 0 chooses for all.

    Raises:
        OptionError: `path.resume_state` names a file that cannot be resumed from, or the states are of another kind
            of run.
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
    for network in _needed_networks(options):
        file = _network_file(options, path, network, state["iter"])
        options["path"][network.replace("net_", "pretrain_network_")] = str(file)
    for key in [key for key in options["path"] if key.startswith("param_key")]:
        options["path"][key] = "params"  # ours have that level, whatever the file that the run began with had
    for line in said.getvalue().splitlines():
        logging.getLogger("basicsr").info(line, extra={"file_only": True})
    return state


def numbered_states(options: Options) -> list[tuple[int, Path]]:
    """The training states of a run, newest first."""
    paths = Path(options["path"]["training_states"]).glob("*.state")
    return sorted(((int(path.stem), path) for path in paths if path.stem.isdigit()), reverse=True)


def trouble_of(state: Mapping[str, Any]) -> str:
    """What was the matter with the run when a training state was saved, in words; empty where nothing was known."""
    health = state.get("health")
    trouble = health.get("trouble") if isinstance(health, Mapping) else ""
    return trouble if isinstance(trouble, str) else ""


def where_to_go_on(options: Options) -> str:
    """The checkpoint that a run can go on from, as the last sentence of what it stops with."""
    newest: Path | None = None
    for _, path in numbered_states(options):
        newest = newest or path
        try:
            trouble = trouble_of(peek(path))
        except CheckpointError:
            continue
        if not trouble and path == newest:
            return f"The last checkpoint is {path}; --auto_resume goes on from it."
        if not trouble:
            return (
                f"The last healthy checkpoint is {path} ({newest.name} was saved in trouble); "
                "--auto_resume goes on from it."
            )
    if newest is None:
        return "No checkpoint yet."
    return f"No checkpoint is healthy: all up to {newest} were saved in trouble. Start afresh, under another name."


def _newest_good(options: Options) -> Path | None:
    logger = logging.getLogger("basicsr")
    in_trouble: list[tuple[Path, str]] = []
    passed_over = False
    for _, path in numbered_states(options):
        if problem := _problem(options, path):
            passed_over = True
            logger.warning(f"{path} {problem}; trying an older one")
        elif trouble := trouble_of(peek(path)):
            in_trouble.append((path, trouble))
        else:
            for newer, why in in_trouble:
                logger.warning(f"{newer} was saved in trouble ({why}); going on from {path}, the last healthy one")
            return path
    if in_trouble:
        path, why = in_trouble[0]
        logger.warning(f"{path} was saved in trouble ({why}), and no older checkpoint is healthy")
        return path
    if passed_over:
        logger.warning("No checkpoint of this run can be used; it starts afresh.")
    return None


def _problem(options: Options, path: Path) -> str:
    """Why a run cannot go on from a training state, to stand after its name; empty where it can.

    Raises:
        OptionError: The state is of another kind of run.
    """
    try:
        state = read_checkpoint(path)
    except CheckpointError as error:
        return error.problem.replace("a checkpoint", "a training state")
    if not {"iter", "epoch", "optimizers", "schedulers"} <= state.keys():
        return "is not a training state"
    _refuse_another_kind(options, path, state)
    checksums = state.get("networks", {})
    for name in _needed_networks(options):
        network = _network_file(options, path, name, state["iter"])
        try:
            weights = network_weights(read_checkpoint(network), network)
        except CheckpointError as error:
            where = "" if network.exists() else f" (looked in {', '.join(map(str, _model_folders(options, path)))})"
            return f"has no readable network: {network.name} {error.problem}{where}"
        if name in checksums and verify_checksum(network) != checksums[name]:
            return f"was saved with another {network.name}"
        if broken := nonfinite_weight(weights):
            return f"has a network with NaN or infinity: {network.name}, {broken}"
    return ""


def _refuse_another_kind(options: Options, path: Path, state: Mapping[str, Any]) -> None:
    """A run with a discriminator does not go on from one without, nor the other way round.

    Raises:
        OptionError: The state was saved with other networks than the option file has.
    """
    keys = ("optim_g", "optim_d") if "network_d" in options else ("optim_g",)
    wanted = sum(isinstance((options.get("train") or {}).get(key), Mapping) for key in keys)
    saved = len(state["optimizers"]) if isinstance(state["optimizers"], list) else wanted
    if saved == wanted or options["path"].get("ignore_resume_networks"):
        return
    if (saved, wanted) == (1, 2):
        problem = f"{path} was saved without a discriminator"
    elif (saved, wanted) == (2, 1):
        problem = f"is missing, but {path} was saved with a discriminator"
    else:
        problem = f"{path} was saved with {saved} optimizers, this file has {wanted}"
    network = _network_file(options, path, "net_g", state["iter"])
    begin = f"give this run another name, and begin with what was trained: path.pretrain_network_g: {network}"
    raise OptionError("network_d", f"{problem}; {begin}")


def _model_folders(options: Options, path: Path) -> list[Path]:
    """Where the networks of a training state are looked for: in the folder of its run, beside it, in this run's."""
    folders = [path.parent.parent / "models", path.parent, Path(options["path"]["models"])]
    return list(dict.fromkeys(folders))


def _network_file(options: Options, path: Path, name: str, iteration: int) -> Path:
    """The file of a state's network; where there is none, the one that should be there."""
    files = [folder / f"{name}_{iteration}.pth" for folder in _model_folders(options, path)]
    return next((file for file in files if file.exists()), files[0])


def _needed_networks(options: Options) -> Iterator[str]:
    """Names such as `net_g` of the networks that are loaded with a state: the option file's, as the host does it."""
    ignored = options["path"].get("ignore_resume_networks") or ()
    for block in options:
        if str(block).startswith("network_") and block not in ignored:
            yield block.replace("network_", "net_")
