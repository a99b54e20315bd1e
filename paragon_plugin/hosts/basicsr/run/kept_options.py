"""What was run is what is kept: the option file as written, and the options in force, in the run's folder.

A resumed run leaves the files of its beginning alone. Where it goes on with other options, they stand in files of
their own, with the iteration in their names.
"""

import argparse
import logging
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from ....errors import OptionError
from ....resilience.atomic_file import atomic_file
from ....scheduling.run_record import versions
from ..options.file import IN_FORCE, read_option_file
from ..options.in_force import as_file, changes
from .preparation import Run

NAME = "options_in_force"
"""Of the files, without `.yml` and, of a resumed run, `_ITERATION`."""


def keep_options(run: Run, args: argparse.Namespace, text: str) -> None:
    """Write the files, and tell what has changed since the run began; on rank 0, into a folder that is there.

    Args:
        run: About to begin, or to go on.
        args: Its command line.
        text: The option file.

    Raises:
        OSError: A file cannot be written.
    """
    options = {**run.options[IN_FORCE], "manual_seed": run.seed}
    kept = _kept(run.folder, run.iteration) if run.resume_state is not None else None
    suffix, changed = "", []
    if kept is not None:
        suffix = f"_{run.iteration}"
        changed = _changed(kept, options)
        if not changed:
            return
        told = f"Options changed since {kept.name}: {'; '.join(changed)}."
        logging.getLogger("basicsr").info(told)
    place = run.folder / f"{NAME}{suffix}.yml"
    comments = _comments(run, args, place, changed)
    _write(place, as_file(options, comments))
    given = Path(args.opt)
    if not given.stem.startswith(NAME):  # else it is one of these files
        _write(run.folder / f"{given.stem}{suffix}{given.suffix}", text)


def _kept(folder: Path, iteration: int) -> Path | None:
    """The file of the latest change up to an iteration; None where the run has none."""
    found: list[tuple[int, Path]] = []
    for file in folder.glob(f"{NAME}*.yml"):
        if match := re.fullmatch(rf"{NAME}(?:_(\d{{1,18}}))?", file.stem):
            found.append((int(match[1] or 0), file))
    return max(((at, file) for at, file in found if at <= iteration), default=(0, None))[1]


def _changed(kept: Path, options: dict[str, Any]) -> list[str]:
    try:
        return list(changes(read_option_file(kept), options))
    except OptionError as error:
        return [f"which of them cannot be told, for {error}"]


def _comments(run: Run, args: argparse.Namespace, place: Path, changed: list[str]) -> list[str]:
    from basicsr.version import __version__ as basicsr

    root = Path(run.options["root_path"])
    shown = place.relative_to(root) if place.is_relative_to(root) else place
    used = {**versions(), "basicsr": basicsr}
    lines = [f"Options in force of the run {run.options['name']}: the file's, with overrides, defaults and the seed."]
    if run.iteration == 0:
        lines += ["This file repeats the run:", f"  paragon train -opt {shlex.quote(shown.as_posix())}"]
    else:
        lines += [f"They hold from iteration {run.iteration} on.", *(f"  {change}" for change in changed)]
    lines += [f"Command: {shlex.join(map(str, getattr(args, 'command_line', sys.argv)))}"]
    lines += [f"Versions: {', '.join(f'{name} {version}' for name, version in used.items())}"]
    if run.options["world_size"] > 1:
        lines += [f"Processes: {run.options['world_size']}"]
    return [*lines, ""]


def _write(file: Path, text: str) -> None:
    with atomic_file(file) as target:
        target.write(text.encode(errors="backslashreplace"))
