"""A data set of HR images alone: LR patches are made on the fly."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from basicsr.data.transforms import augment
from basicsr.utils import imfrombytes, img2tensor
from torch import Tensor
from torch.utils.data import Dataset

from ....errors import OptionError, shown
from ....ops.bicubic_reduction import bicubic_reduction
from .decoded_images import DecodedImages
from .hr_images import hr_images

CACHE_MB = 1024
"""Decoded images that a process keeps, in megabytes, unless the option `cache_mb` says otherwise."""


class HRImageDataset(Dataset[dict[str, Any]]):
    """HR images and their MATLAB-style bicubic reductions, made while training (see `ops.bicubic_reduction`).

    The patches are those that `PairedImageDataset` gives from the same images and their reductions as 8-bit files,
    with the same random numbers.

    Options (BasicSR's names where it has them):
        dataroot_gt: Folder of HR images, folders below it included.
        images: Names inside the folder; only these. Default: all.
        exclude: Names inside the folder to leave out, such as those that validate.
        phase: `train` gives random patches, `val` and `test` whole images (set from the data set's key).
        scale: Reduction, a whole number.
        gt_size: Side of a training patch in HR pixels, a multiple of scale.
        use_hflip, use_rot: Random flips and rotations of training patches. Default: true.
        cache_mb: Decoded images that each data worker keeps, in megabytes. Default: 1024.

    Items: `lq` (3, h, w) and `gt` (3, h scale, w scale), RGB float32 in [0, 1]; `lq_path`, `gt_path`: an image's file,
    or its name with its folders where another image of the set has the same file name.

    Raises:
        OptionError: The folder, a name in it, or gt_size cannot be used.
    """

    def __init__(self, opt: dict[str, Any]):
        super().__init__()
        self.opt = {"io_backend": {"type": "disk"}, **opt}
        self.training = opt["phase"] == "train"
        self.scale = opt["scale"]
        block = f"datasets.{opt['phase']}"
        files = hr_images(opt.get("dataroot_gt"), opt.get("images"), opt.get("exclude"), block)
        self.paths = [str(file) for file in files]
        self.names = dict(zip(self.paths, _distinct_names(files, Path(opt["dataroot_gt"])), strict=True))
        self.size = opt.get("gt_size")
        if self.training and (not _whole(self.size) or self.size < self.scale or self.size % self.scale):
            raise OptionError(f"{block}.gt_size", f"must be a multiple of scale {self.scale}, is {shown(self.size)}")
        limit = opt.get("cache_mb", CACHE_MB)
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 <= limit < float("inf"):
            raise OptionError(f"{block}.cache_mb", f"must be a number of megabytes, is {shown(limit)}")
        self.images = DecodedImages(decode, int(limit * 1e6))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self.paths[index]
        hr = self.images[path]
        height, width = hr.shape[0] // self.scale, hr.shape[1] // self.scale
        if self.training:
            side = self.size // self.scale
            if min(height, width) < side:
                raise ValueError(f"is {hr.shape[1]} x {hr.shape[0]}, smaller than gt_size {self.size}")
            # In the order in which the host's `paired_random_crop` draws.
            top, left = random.randint(0, height - side), random.randint(0, width - side)
            height = width = side
        else:
            top = left = 0
        lr = bicubic_reduction(hr, self.scale, (top, left, height, width))
        hr = hr.narrow(0, top * self.scale, height * self.scale).narrow(1, left * self.scale, width * self.scale)
        images = [part.numpy().astype("float32") / 255 for part in (hr, lr)]
        if self.training:
            images = augment(images, self.opt.get("use_hflip", True), self.opt.get("use_rot", True))
        gt, lq = img2tensor(images, bgr2rgb=True, float32=True)
        return {"lq": lq, "gt": gt, "lq_path": self.names[path], "gt_path": self.names[path]}


def decode(file: str) -> Tensor:
    """An image file as the host reads it: BGR (H, W, 3), 8 bit."""
    return torch.from_numpy(imfrombytes(Path(file).read_bytes(), float32=False))


def _distinct_names(files: list[Path], root: Path) -> list[str]:
    """The file where its stem is the only one of the set; else a name that holds the folders as well."""
    stems = Counter(file.stem for file in files)
    return [str(file) if stems[file.stem] == 1 else "_".join(file.relative_to(root).parts) for file in files]


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
