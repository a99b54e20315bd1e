"""Real-ESRGAN's data set without its list of files."""

import os
from typing import Any

from basicsr.data.realesrgan_dataset import RealESRGANDataset

from .hr_images import hr_images


class HRDegradationDataset(RealESRGANDataset):
    """HR images for Real-ESRGAN's degradations: the host's `RealESRGANDataset` over a folder, without `meta_info`.

    Options: those of `RealESRGANDataset` but `meta_info` and `io_backend`; and as in `HRImageDataset`:
        dataroot_gt: Folder of HR images, folders below it included.
        images: Names inside the folder; only these. Default: all.
        exclude: Names inside the folder to leave out, such as those that validate.

    Raises:
        OptionError: The folder or a name in it cannot be used.
    """

    def __init__(self, opt: dict[str, Any]):
        opt.setdefault("io_backend", {"type": "disk"})
        files = hr_images(opt.get("dataroot_gt"), opt.get("images"), opt.get("exclude"), "datasets.train")
        super().__init__({**opt, "meta_info": os.devnull})
        self.opt = opt
        self.paths = [str(file) for file in files]
