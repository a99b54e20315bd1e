"""The frequency loss against numpy's Fourier transform."""

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _host(host: None) -> None:
    pass


def test_equals_numpys_spectrum() -> None:
    from paragon_plugin.losses import FFTLoss

    rng = np.random.default_rng(0)
    x, y = rng.random((2, 2, 3, 8, 10))
    spectrum = np.fft.rfft2(x - y)
    expected = 0.05 * np.mean(np.stack([np.abs(spectrum.real), np.abs(spectrum.imag)]))
    got = FFTLoss(0.05)(torch.from_numpy(x), torch.from_numpy(y))
    assert got.item() == pytest.approx(expected, rel=1e-5)


def test_half_precision_input_is_computed_in_single() -> None:
    from paragon_plugin.losses import FFTLoss

    x = torch.full((1, 3, 64, 64), 1.0, dtype=torch.half)
    # the DC term of 64 x 64 ones is 4096, times 3 channels: far outside what half precision adds up exactly
    loss = FFTLoss()(x, torch.zeros_like(x))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(4096 / (64 * 33 * 2))
