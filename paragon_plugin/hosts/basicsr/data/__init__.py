"""Data sets that are registered with the host."""

from .hr_degradation_dataset import HRDegradationDataset
from .hr_image_dataset import HRImageDataset
from .sample_photos_dataset import SamplePhotosDataset

__all__ = ["HRDegradationDataset", "HRImageDataset", "SamplePhotosDataset"]
