"""A dataset that replaces images it cannot read, and the count that stops a run with too many of them.

The dataset replaces an image that it cannot give by the next image that it can give. It writes what was wrong into the
sample. The note reaches the main process with the batch, from any number of workers. There it is taken out and counted.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import OptionError, RunError, one_line
from .dataset_wrapper import DatasetWrapper
from .image_damage import image_damage

MARK = "unreadable"
"""Key of a sample that holds what could not be read on the way to it, a line each."""

MAX_UNREADABLE = 0.01
"""Share of a set's images that may be unreadable, unless `datasets: train: max_unreadable:` says otherwise."""


class UnreadableImagesError(RunError):
    """An image that a validation needs, or too many of a training set, cannot be read."""

    def __init__(self, message: str):
        # From a data worker it comes back with the worker's traceback around it: the last line is ours.
        lines = message.strip().splitlines()
        super().__init__(lines[-1].removeprefix(f"{__name__}.{type(self).__name__}: ") if lines else "")


class FaultTolerantDataset(DatasetWrapper):
    """A dataset of the host in which an image that cannot be used is replaced by the next one.

    An image cannot be used where the host's dataset raises on it, or where its file is damaged in a way that decoders
    do not report (see `image_damage`). The replacement depends on the index alone.

    Args:
        dataset: Any map-style dataset whose samples are mappings. `paths`, where it has them, name its files.
        path: Where it stands in the option file (`datasets.train`).
        replace: False for validation sets: an image that cannot be used is an error that names it.

    Raises:
        UnreadableImagesError: From `__getitem__`: none of the images can be used, or one cannot with `replace` off.
    """

    def __init__(self, dataset: Any, path: str, *, replace: bool = True):
        super().__init__(dataset)
        self.path = path
        self.replace = replace
        self.on_disk = _on_disk(dataset)  # now: with its first image the host takes the type out of its options

    def __getitem__(self, index: int) -> Any:
        faults: list[str] = []
        for place in range(index, index + len(self.dataset)):
            current = place % len(self.dataset)
            try:
                self._refuse_damaged(current)
                sample = self.dataset[current]
            except OptionError:
                raise
            except Exception as error:  # the host's datasets raise nearly anything on an image they cannot use
                faults.append(f"{current}\t{self._named(current, error)}")
                if not self.replace:
                    raise UnreadableImagesError(f"{self.path}: {self._named(current, error)}") from error
                continue
            if self.replace:
                return {**sample, MARK: "\n".join(faults)}
            return sample
        raise UnreadableImagesError(
            f"{self.path}: none of {len(self.dataset)} images can be used; the first: {faults[0]}"
        )

    def _refuse_damaged(self, index: int) -> None:
        for file in self.files(index):
            problem = image_damage(file)
            if problem:
                raise DamagedFileError(f"{file} {problem}")

    def files(self, index: int) -> list[str]:
        """The image files of a sample; none where the dataset does not tell, or keeps its images in a database."""
        if not self.on_disk:
            return []
        entry = self.dataset.paths[index]
        return [str(value) for value in (entry.values() if isinstance(entry, dict) else [entry])]

    def _named(self, index: int, error: Exception) -> str:
        """What is wrong with a sample, with its files, on one line."""
        if isinstance(error, DamagedFileError):
            return one_line(str(error))
        text = " ".join(" ".join(str(a) for a in error.args).split())
        if isinstance(error, AttributeError) and "NoneType" in text:  # what imfrombytes makes of a decoder's refusal
            text = "cannot be decoded"
        files = [file for file in self.files(index) if file not in text]
        return one_line(f"{', '.join(files) or f'sample {index}'}: {text or type(error).__name__}")


class DamagedFileError(ValueError):
    """An image file is damaged."""


def _on_disk(dataset: Any) -> bool:
    """Whether a host's dataset tells its files, and they are on disk."""
    options = getattr(dataset, "opt", None)
    backend = options.get("io_backend") if isinstance(options, Mapping) else None
    if not isinstance(getattr(dataset, "paths", None), list) or not isinstance(backend, Mapping):
        return False
    return backend.get("type", "disk") == "disk"


class UnreadableImages:
    """Counts, in the main process, the distinct images of a set that could not be used.

    Args:
        path: Where the set stands in the option file.
        images: Images of the set.
        max_share: Share of them that may be unusable.
    """

    def __init__(self, path: str, images: int, max_share: float = MAX_UNREADABLE):
        self.path = path
        self.images = images
        self.max_share = max_share
        self.found: dict[int, str] = {}
        """What is wrong, by index."""

    def watched(self, batches: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The batches, as a training without this module has them.

        Raises:
            UnreadableImagesError: More than `max_share` of the images cannot be used.
        """
        for batch in batches:
            self.take(batch)
            yield batch

    def take(self, batch: dict[str, Any]) -> None:
        """Take the marks out of a batch; each image is reported at its first mark.

        Raises:
            UnreadableImagesError: More than `max_share` of the images cannot be used.
        """
        for line in [line for mark in batch.pop(MARK, []) for line in mark.splitlines()]:
            index, _, problem = line.partition("\t")
            if int(index) not in self.found:
                self.found[int(index)] = problem
                logging.getLogger(__name__).warning(
                    f"{self.path}: {problem}; the next image takes its place ({len(self.found)} of {self.images})"
                )
        if too_many(len(self.found), self.images, self.max_share):
            raise UnreadableImagesError(unusable(self.path, list(self.found.values()), self.images, self.max_share))


def too_many(count: int, images: int, max_share: float) -> bool:
    return count > max_share * images


def unusable(path: str, problems: list[str], images: int, max_share: float) -> str:
    """The line that stops a run."""
    return (
        f"{path}: {len(problems)} of {images} images cannot be used, more than {max_share:.3g} of them "
        f"(max_unreadable); the first: {problems[0]}"
    )
