"""What is wrong with an option file: the first problem for a run that must not start, all of them for a check."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ....errors import OptionError, one_line

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Problem:
    """One line about one option."""

    severity: Severity
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.path}: {self.text}"


class Problems:
    """Collects problems in the order in which they are found, each of them once.

    A check that reports an error replaces the refused value by a usable one, or leaves it out. So later checks find
    other problems and not the same one again.
    """

    complete = True
    """Whether everything is wanted; a run that only wants to start leaves out what building its parts tells as well."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.found if problem.severity == "error"]

    def told_of(self, path: str) -> bool:
        """Whether an error was found whose path begins so."""
        return any(problem.path.startswith(path) for problem in self.errors)

    def error(self, path: str, text: str) -> None:
        """The run cannot work with this."""
        self._add(Problem("error", one_line(path), one_line(text)))

    def warn(self, path: str, text: str) -> None:
        """The run works, perhaps not as meant."""
        self._add(Problem("warning", one_line(path), one_line(text)))

    @contextlib.contextmanager
    def collected(self) -> Iterator[None]:
        """Take an OptionError raised inside as an error; what follows goes on."""
        try:
            yield
        except OptionError as error:
            self.error(error.path, error.problem)

    def _add(self, problem: Problem) -> None:
        if problem not in self.found:
            self.found.append(problem)


class FirstProblem(Problems):
    """Raises the first error and logs warnings: what a run does before it starts."""

    complete = False

    def error(self, path: str, text: str) -> None:
        """Raise it.

        Raises:
            OptionError: Always.
        """
        raise OptionError(path, text)

    @contextlib.contextmanager
    def collected(self) -> Iterator[None]:
        yield

    def _add(self, problem: Problem) -> None:
        super()._add(problem)
        logging.getLogger("basicsr").warning(f"{problem.path}: {problem.text}")
