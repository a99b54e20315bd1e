"""A dataset around another dataset. The host's loaders and checks see no difference between them."""

from typing import Any

from torch.utils.data import Dataset


class DatasetWrapper(Dataset[Any]):
    """Has the length and every attribute (`opt`, `paths`, ...) of the dataset inside; subclasses give the items.

    Args:
        dataset: The dataset inside.
    """

    def __init__(self, dataset: Any):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "dataset":  # what unpickling asks an empty object for
            raise AttributeError(name)
        return getattr(self.dataset, name)
