"""Messages for a process that a run depends on and that has died: a data worker, or another rank."""

import re

import torch.distributed as dist

from ..errors import RunError
from .ranks import distributed

_WORKER = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: (\w+)|exited unexpectedly)"
)
_THREAD = "Pin memory thread exited unexpectedly"
_PEER = re.compile(r"gloo|nccl|connection (?:closed|reset) by peer", re.IGNORECASE)


def death_behind(error: BaseException) -> str | None:
    """If an error comes from the death of a process: which process died and what to do, on one line. None for any other
    error.

    Args:
        error: Raised while a run was prepared, by a batch, a step or a validation.
    """
    if isinstance(error, RunError):
        return None
    # A worker's death is raised between any two instructions, also while a file is written: what then fails to close
    # raises on top of it.
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, RuntimeError) and (said := _said_of(behind)) is not None:
            return said
        behind = behind.__cause__ or behind.__context__
    return None


def _said_of(error: RuntimeError) -> str | None:
    text = " ".join(str(error).split())
    worker = _WORKER.search(text)
    if worker or _THREAD in text:
        how = f"was ended by the signal {worker[2]}" if worker and worker[2] else "is gone"
        who = f"a data worker (process {worker[1]})" if worker else "the thread that collects batches"
        return (
            f"{who} {how}; mostly the memory was full: try fewer workers (num_worker_per_gpu) or a smaller batch, and "
            "look at the system's log"
        )
    if distributed() and (isinstance(error, dist.DistError) or _PEER.search(text)):
        return (
            f"rank {dist.get_rank()} has lost another process of this run; its own lines say why it ended, and one "
            "that was killed leaves none: look at the system's log of its machine"
        )
    return None
