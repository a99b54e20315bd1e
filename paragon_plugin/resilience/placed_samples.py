"""Samples whose augmentations depend only on the seed, the epoch and the place in the epoch.

The sampler gives keys (epoch, place, index) instead of indices. The dataset seeds the generators by the key, for that
one sample. The key reaches any number of data workers with the sample. So an epoch can be entered at any place without
loading the samples before it.
"""

from collections.abc import Iterator
from typing import Any

from torch.utils.data import Sampler

from .dataset_wrapper import DatasetWrapper
from .random_state import seeded_by

Key = tuple[int, int, int]
"""Epoch, place in the epoch over all ranks, index of the image."""


class PlacedSamples(DatasetWrapper):
    """A dataset that is indexed by keys. All its other attributes are those of the dataset inside.

    Args:
        dataset: Any map-style dataset that draws from Python's, numpy's or torch's global generator.
        seed: Seed of the run.
    """

    def __init__(self, dataset: Any, seed: int):
        super().__init__(dataset)
        self.seed = seed

    def __getitem__(self, key: Key | int) -> Any:
        """A sample by key; by a bare index whatever the generators then give."""
        if isinstance(key, int):
            return self.dataset[key]
        epoch, place, index = key
        with seeded_by((self.seed, epoch, place)):
            return self.dataset[index]


class PlacedSampler(Sampler[Key]):
    """Keys of this rank's samples, from any place in an epoch on.

    Args:
        sampler: The host's sampler, whose order depends on `set_epoch` alone and gives rank r of n every n-th sample.
        world_size: n.
        rank: r.
    """

    def __init__(self, sampler: Any, world_size: int = 1, rank: int = 0):
        self.sampler = sampler
        self.world_size = world_size
        self.rank = rank
        self.epoch = self.place = 0

    def start(self, epoch: int, place: int) -> None:
        """Where the next iteration begins.

        Args:
            epoch: From 0.
            place: Samples of the epoch, over all ranks, that are left out.
        """
        self.epoch, self.place = epoch, place

    def __iter__(self) -> Iterator[Key]:
        self.sampler.set_epoch(self.epoch)
        for number, index in enumerate(self.sampler):
            if number * self.world_size >= self.place:
                yield self.epoch, number * self.world_size + self.rank, index

    def __len__(self) -> int:
        """Samples of a whole epoch on this rank."""
        return len(self.sampler)
