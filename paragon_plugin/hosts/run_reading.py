"""Finds and reads runs, whichever host trained them."""

from pathlib import Path

from ..errors import OptionError, home_expanded
from ..report.recorded_run import read_recorded_run
from ..report.run_history import RunHistory
from ..scheduling.run_record import HEAD_FILE
from .basicsr.stock_run.reading import read_stock_run, stock_traces


def find_run(argument: str) -> Path:
    """The folder of a run, from its path or from its name under `experiments/`.

    Raises:
        OptionError: There is none, or it holds nothing that training leaves behind.
    """
    folder = Path(home_expanded(argument, argument))
    if not folder.exists() and (Path("experiments") / argument).is_dir():
        folder = Path("experiments") / argument
    if not folder.is_dir():
        what = "is a file; give the folder that `paragon train` made" if folder.exists() else "no such folder"
        there = sorted(p.name for p in Path("experiments").glob("*") if p.is_dir())
        raise OptionError(argument, f"{what}; runs here: {', '.join(there)}" if there and what[0] == "n" else what)
    if not (folder / HEAD_FILE).is_file() and not stock_traces(folder):
        raise OptionError(argument, f"holds no training run: no {HEAD_FILE}, no train_*.log, no loss_schedule.jsonl")
    return folder


def read_run(folder: Path, now: float | None = None) -> RunHistory:
    """Read a run from its record; one that has none from what BasicSR's loop leaves behind.

    Args:
        folder: The run's folder, see `find_run`.
        now: Seconds since the epoch by which to tell a running from a silent run. Default: the present.
    """
    return read_recorded_run(folder, now) or read_stock_run(folder, now)
