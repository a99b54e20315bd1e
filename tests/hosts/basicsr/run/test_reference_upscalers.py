"""Reference metrics against a computation of their own."""

import numpy as np
import pytest


@pytest.mark.usefixtures("host")
def test_bicubic_psnr_is_that_of_its_definition() -> None:
    from basicsr.utils.matlab_functions import imresize
    from torch.utils.data import DataLoader

    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import SamplePhotosDataset
    from paragon_plugin.hosts.basicsr.run.reference_upscalers import reference_metrics

    loader = DataLoader(SamplePhotosDataset({"phase": "val", "scale": 2, "name": "x"}), batch_size=1)
    metrics = {"psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": True}}
    result = reference_metrics(loader, metrics, 2)

    expected = []
    for item in loader:
        hr = np.round(item["gt"][0].numpy() * 255)
        up = np.round(np.clip(np.asarray(imresize(item["lq"][0], 2)), 0, 1) * 255)
        luma = np.array([65.481, 128.553, 24.966])[:, None, None] / 255
        difference = ((up - hr) * luma).sum(0)[2:-2, 2:-2]
        expected.append(10 * np.log10(255**2 / np.mean(difference**2)))
    assert result["bicubic"]["psnr"] == pytest.approx(np.mean(expected), abs=0.02)
    assert result["Magic Kernel Sharp 2021"]["psnr"] > result["bicubic"]["psnr"]
    assert reference_metrics(loader, metrics, 1) == {}
