"""The exact bicubic reduction against the host's and Pillow's, and region by region."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from paragon_plugin.ops.bicubic_reduction import bicubic_reduction

SCALES = (2, 3, 4, 8)


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    """Smooth shapes with noise and hard edges over the whole range."""
    y, x, channel = np.mgrid[:height, :width, :3]
    noise = np.random.default_rng(seed).normal(0, 20, (height, width, 3))
    image = 128 + 110 * np.sin(x / 7) * np.cos(y / 5 + channel) + noise
    image[height // 3 : height // 2, width // 4 : width // 2] = 255
    return torch.from_numpy(np.clip(image, 0, 255).astype(np.uint8))


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("scale", SCALES)
def test_equals_the_imresize_of_the_host(scale: int) -> None:
    from basicsr.utils.matlab_functions import imresize

    hr = picture(scale * 17, scale * 23)
    theirs = np.clip(imresize(hr.numpy().astype(np.float64) / 255, 1 / scale), 0, 1) * 255
    ours = bicubic_reduction(hr, scale).numpy()
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 0.5 + 1e-3  # theirs is not rounded


@pytest.mark.parametrize("scale", SCALES)
def test_equals_pillow_away_from_the_borders(scale: int) -> None:
    hr = picture(scale * 20, scale * 24)
    channel = Image.fromarray(hr[..., 1].numpy().astype(np.float32))  # in float: in 8 bits it clips after one axis
    theirs = np.asarray(channel.resize((24, 20), Image.Resampling.BICUBIC)).clip(0, 255)
    difference = np.abs(bicubic_reduction(hr, scale)[..., 1].numpy() - theirs)[3:-3, 3:-3]
    assert difference.max() <= 0.5 + 1e-2


@given(scale=st.sampled_from(SCALES), data=st.data())
def test_a_region_is_that_of_the_whole(scale: int, data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    hr = picture(height * scale + data.draw(st.integers(0, scale - 1)), width * scale, seed=height)
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    rows, columns = data.draw(st.integers(1, height - top)), data.draw(st.integers(1, width - left))
    whole = bicubic_reduction(hr, scale)
    part = bicubic_reduction(hr, scale, (top, left, rows, columns))
    assert torch.equal(part, whole[top : top + rows, left : left + columns])


@pytest.mark.parametrize("scale", [1, *SCALES])
@pytest.mark.parametrize("value", [0, 1, 127, 255])
def test_a_constant_image_stays_constant(scale: int, value: int) -> None:
    image = torch.full((5 * scale, 3 * scale, 3), value, dtype=torch.uint8)
    assert (bicubic_reduction(image, scale) == value).all()


@pytest.mark.parametrize("region", [(0, 0, 9, 1), (-1, 0, 2, 2), (0, 0, 0, 2)])
def test_a_region_outside_is_refused(region: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="no region"):
        bicubic_reduction(picture(16, 16), 2, region)


def test_no_8_bit_image_is_refused() -> None:
    with pytest.raises(ValueError, match="8-bit"):
        bicubic_reduction(torch.zeros(8, 8, 3), 2)
