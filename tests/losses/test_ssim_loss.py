"""SSIM and MS-SSIM losses against scikit-image's and a pyramid of its own."""

from typing import Any

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch.nn import functional as F


@pytest.fixture(autouse=True)
def _host(host: None) -> None:
    pass


def photographs(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two crops of a photograph, and the same with noise."""
    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import sample_photo

    photo = torch.from_numpy(sample_photo("astronaut")).permute(2, 0, 1).double() / 255
    clean = torch.stack([photo[:, 40 : 40 + side, 80 : 80 + side], photo[:, 100 : 100 + side, 200 : 200 + side]])
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (clean + 0.1 * noise), clean


def reference(x: np.ndarray, y: np.ndarray) -> float:
    """scikit-image's mean over pixels whose whole window lies inside, Gaussian weights of sigma 1.5 over 11 pixels."""
    result: Any = structural_similarity(
        x,
        y,
        channel_axis=0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        full=True,
        win_size=11,
    )
    return float(result[1][:, 5:-5, 5:-5].mean())


def test_ssim_is_scikit_images() -> None:
    from paragon_plugin.losses import SSIMLoss

    noisy, clean = photographs(64)
    expected = np.mean([reference(x.numpy(), y.numpy()) for x, y in zip(noisy, clean, strict=True)])
    assert 0.2 < expected < 0.9
    assert SSIMLoss(2.0)(noisy, clean).item() == pytest.approx(2 * (1 - expected), rel=1e-3)
    assert SSIMLoss()(clean, clean).item() == pytest.approx(0, abs=1e-6)


def contrast(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(B,): contrast and structure by the definition, window by window."""
    grid = torch.arange(11, dtype=torch.float64) - 5
    line = torch.exp(-(grid**2) / (2 * 1.5**2))
    window = (line[:, None] * line[None]) / line.sum() ** 2

    def mean(z: torch.Tensor) -> torch.Tensor:
        b, c, h, w = z.shape
        return F.conv2d(z.reshape(b * c, 1, h, w), window[None, None]).reshape(b, c, h - 10, w - 10)

    mx, my = mean(x), mean(y)
    covariance = mean(x * y) - mx * my
    variances = mean(x * x) - mx**2 + mean(y * y) - my**2
    return ((2 * covariance + 0.03**2) / (variances + 0.03**2)).mean(dim=(1, 2, 3))


@pytest.mark.parametrize(("side", "scales"), [(176, 5), (96, 4), (24, 2), (16, 1)])
def test_ms_ssim_is_the_papers_with_the_scales_that_fit(side: int, scales: int) -> None:
    from paragon_plugin.losses import MSSSIMLoss

    noisy, clean = photographs(side)
    exponents = torch.tensor([0.0448, 0.2856, 0.3001, 0.2363, 0.1333], dtype=torch.float64)[:scales]
    exponents = exponents / exponents.sum() * 1.0001  # their sum over the five
    product, x, y = torch.ones(2, dtype=torch.float64), noisy, clean
    for scale in range(scales):
        last = scale == scales - 1
        ssim = torch.tensor([reference(a.numpy(), b.numpy()) for a, b in zip(x, y, strict=True)])
        product = product * (ssim if last else contrast(x, y)) ** exponents[scale]
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    assert MSSSIMLoss()(noisy, clean).item() == pytest.approx(1 - product.mean().item(), rel=2e-3)


@pytest.mark.parametrize("loss_type", ["SSIMLoss", "MSSSIMLoss"])
def test_gradient_is_finite_wherever_training_may_start(loss_type: str) -> None:
    """From noise, from the negative of the image, and from values outside [0, 1]."""
    from paragon_plugin import losses

    _, clean = photographs(64)
    for start in (1 - clean, torch.randn_like(clean), torch.zeros_like(clean), 3 * clean - 1):
        y = start.float().requires_grad_()
        loss = getattr(losses, loss_type)()(y, clean.float())
        loss.backward()
        assert y.grad is not None
        assert torch.isfinite(y.grad).all()
        assert torch.isfinite(loss)


def test_descending_it_brings_the_image_closer() -> None:
    from paragon_plugin.losses import MSSSIMLoss

    noisy, clean = photographs(64)
    y = noisy.float().requires_grad_()
    optimizer = torch.optim.Adam([y], lr=0.01)
    first = (noisy - clean).abs().mean()
    for _ in range(30):
        optimizer.zero_grad()
        MSSSIMLoss()(y, clean.float()).backward()
        optimizer.step()
    assert (y.detach() - clean).abs().mean() < 0.7 * first


def test_images_smaller_than_the_window_are_refused() -> None:
    from paragon_plugin.losses import MSSSIMLoss, SSIMLoss

    small = torch.rand(1, 3, 10, 40)
    for loss in (SSIMLoss(), MSSSIMLoss()):
        with pytest.raises(ValueError, match="at least 11 x 11"):
            loss(small, small)
