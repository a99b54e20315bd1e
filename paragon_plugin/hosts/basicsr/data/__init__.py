"""Data sets that are registered with the host."""

from .sample_photos_dataset import SamplePhotosDataset

__all__ = ["SamplePhotosDataset"]
