"""`paragon runs [FOLDER]`: a table of the runs in a folder, the one that was written to last on top."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from ..report.run_table import RunRow


def add_parser(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `paragon`."""
    parser = commands.add_parser("runs", help="a table of the runs in a folder")
    parser.add_argument(
        "folder", metavar="FOLDER", nargs="?", default="experiments", help="folder of the runs (default experiments)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    from ..errors import OptionError, home_expanded
    from ..report.run_table import table

    folder = Path(home_expanded(args.folder, args.folder))
    if not folder.is_dir():
        raise OptionError(args.folder, "no such folder; give the one that holds the runs")
    rows = _rows(folder)
    if not rows:
        raise OptionError(args.folder, "holds no run")
    print("\n".join(table(rows)))
    return 0


def _rows(folder: Path) -> list[RunRow]:
    from ..errors import OptionError, one_line
    from ..hosts.run_reading import find_run, read_run
    from ..report.run_table import row_of, unreadable_row

    rows: list[tuple[float, RunRow]] = []
    for path in folder.iterdir():
        if not path.is_dir():
            continue
        try:
            find_run(str(path))
        except OptionError:
            continue
        try:
            row = row_of(read_run(path))
        except Exception as error:  # of files that anybody may have written
            row = unreadable_row(path.name, one_line(f"{type(error).__name__}: {error}", limit=80))
        rows.append((max((file.stat().st_mtime for file in path.iterdir() if file.is_file()), default=0.0), row))
    return [row for _, row in sorted(rows, key=lambda found: found[0], reverse=True)]
