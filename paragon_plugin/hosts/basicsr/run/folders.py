"""The folders of a run. Only one process uses them, and none is outside the run's own folder."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ....errors import OptionError
from ....resilience.ranks import from_first_rank
from ....resilience.run_lock import RunLock
from ..options.file import Options

FOLDERS = ("experiments_root", "results_root", "models", "training_states", "visualization", "log")


@contextlib.contextmanager
def owned(options: Options) -> Iterator[None]:
    """Own the run's folder inside the block. Rank 0 holds the lock for all ranks; every rank must enter.

    Raises:
        OptionError: A living process owns it; on every rank.
    """
    lock = RunLock(run_folder(options))
    problem: OptionError | None = None
    if options["rank"] == 0:
        try:
            lock.acquire()
        except OptionError as error:
            problem = error
    problem = from_first_rank(problem)
    if problem is not None:
        raise problem
    try:
        yield
    finally:
        lock.release()


def run_folder(options: Options) -> Path:
    """`experiments/NAME`, in a test `results/NAME`."""
    return Path(options["path"]["experiments_root" if options["is_train"] else "results_root"])


def make_folders(options: Options) -> None:
    """Make the run's folders, and move an older one of the name aside; on rank 0, as the host's function does.

    The host makes a folder of whatever else stands under `path:`.
    """
    from basicsr.utils import make_exp_dirs

    known = {key: options["path"][key] for key in FOLDERS if key in options["path"]}
    make_exp_dirs({**options, "path": known})
