"""The bundled photographs: pairs that belong together, patches within them, errors for what cannot be."""

from typing import Any

import numpy as np
import pytest
import torch

from paragon_plugin.errors import OptionError


@pytest.fixture(autouse=True)
def _host(host: None) -> None:
    pass


def dataset(**options: Any) -> Any:
    from basicsr.utils.registry import DATASET_REGISTRY

    return DATASET_REGISTRY.get("SamplePhotosDataset")({"phase": "train", "scale": 2, "gt_size": 48, **options})


def test_training_and_validation_photographs_differ() -> None:
    train, val = dataset(), dataset(phase="val")
    assert len(train) >= 8
    assert len(val) >= 2
    assert not set(train.names) & set(val.names)


def test_validation_pairs_are_the_whole_photograph_and_its_matlab_bicubic() -> None:
    import skimage.data
    from basicsr.utils.matlab_functions import imresize

    val = dataset(phase="val", scale=3)
    item = next(item for item in val if item["gt_path"] == "coffee.png")
    photo = skimage.data.coffee()[: 400 // 3 * 3].astype(np.float32) / 255
    assert torch.equal(item["gt"], torch.from_numpy(photo.transpose(2, 0, 1).copy()))
    expected = imresize(photo, 1 / 3).clip(0, 1)
    assert np.abs(item["lq"].numpy().transpose(1, 2, 0) - expected).max() <= 0.5 / 255 + 1e-6
    steps = item["lq"] * 255
    assert torch.allclose(steps, steps.round(), atol=1e-4)


def test_patches_of_a_pair_show_the_same_place() -> None:
    """The HR patch reduced by averaging is the LR patch but for the reduction's kernel; of another place it is not."""
    train = dataset()
    own, other = [], []
    items = [train[i % len(train)] for i in range(16)]
    for item, stranger in zip(items, items[1:] + items[:1], strict=True):
        assert item["gt"].shape == (3, 48, 48)
        assert item["lq"].shape == (3, 24, 24)
        small = torch.nn.functional.avg_pool2d(item["gt"][None], 2)[0]
        own.append((small - item["lq"]).abs().mean().item())
        other.append((small - stranger["lq"]).abs().mean().item())
    assert np.mean(own) < 0.1 * np.mean(other)


def test_scale_one_pairs_are_equal() -> None:
    item = dataset(scale=1)[0]
    assert torch.equal(item["lq"], item["gt"])


@pytest.mark.parametrize("size", [None, 0, 47, 5000, "48", True])
def test_a_patch_that_cannot_be_cut_is_refused(size: object) -> None:
    with pytest.raises(OptionError, match="gt_size: must be a multiple of scale 2"):
        dataset(gt_size=size)
