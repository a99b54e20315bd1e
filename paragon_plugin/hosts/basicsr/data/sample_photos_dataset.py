"""A small training set that needs no download: the photographs that come with scikit-image."""

from typing import Any

import numpy as np
import skimage.data
import torch
from basicsr.data.transforms import augment, mod_crop, paired_random_crop
from basicsr.utils.matlab_functions import imresize
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ....errors import OptionError

TRAIN_PHOTOS = ("astronaut", "motorcycle", "rocket", "camera", "grass", "gravel", "brick", "immunohistochemistry")
VALIDATION_PHOTOS = ("chelsea", "coffee")


def sample_photo(name: str) -> NDArray[np.uint8]:
    """A bundled photograph as RGB (H, W, 3), 8 bit; grey ones have three equal channels."""
    photo = skimage.data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(skimage.data, name)()
    return np.repeat(photo[..., None], 3, axis=2) if photo.ndim == 2 else photo


def low_resolution(hr: NDArray[np.floating], scale: int) -> NDArray[np.float32]:
    """The MATLAB-style bicubic reduction of an image (H, W, 3) in [0, 1], in 8-bit steps as from a PNG file."""
    if scale == 1:
        return hr.astype(np.float32)
    lr = np.clip(imresize(hr, 1 / scale), 0, 1)
    return (np.round(lr * 255) / 255).astype(np.float32)


class SamplePhotosDataset(Dataset[dict[str, Any]]):
    """Pairs of bundled photographs and their bicubic reductions; fixed photographs to train on and to validate with.

    Options (BasicSR's names):
        phase: `train` gives random patches, `val` and `test` whole photographs (set from the dataset's key).
        scale: Reduction, an integer.
        gt_size: Side of a training patch in HR pixels, a multiple of scale.
        use_hflip, use_rot: Random flips and rotations of training patches. Default: true.

    Items: `lq` (3, h, w) and `gt` (3, h scale, w scale), RGB float32 in [0, 1]; `lq_path`, `gt_path` name the
    photograph.

    Raises:
        OptionError: A gt_size that is missing, no multiple of scale, or larger than a photograph.
    """

    def __init__(self, opt: dict[str, Any]):
        super().__init__()
        self.opt = opt
        self.training = opt["phase"] == "train"
        self.names = TRAIN_PHOTOS if self.training else VALIDATION_PHOTOS
        scale = opt["scale"]
        self.pairs: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
        for name in self.names:
            hr = mod_crop(sample_photo(name), scale).astype(np.float32) / 255
            self.pairs.append((hr, low_resolution(hr, scale)))
        if self.training:
            self._check_patch(opt.get("gt_size"), scale)

    def _check_patch(self, size: Any, scale: int) -> None:
        limit = min(min(hr.shape[:2]) for hr, _ in self.pairs)
        if not isinstance(size, int) or isinstance(size, bool) or size < scale or size % scale or size > limit:
            raise OptionError(
                "datasets.train.gt_size", f"must be a multiple of scale {scale}, at most {limit}, is {size!r}"
            )

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        hr, lr = self.pairs[index]
        if self.training:
            hr, lr = paired_random_crop(hr, lr, self.opt["gt_size"], self.opt["scale"])
            # augment flips in place; the crops are views of the photograph
            pair = augment([hr.copy(), lr.copy()], self.opt.get("use_hflip", True), self.opt.get("use_rot", True))
            hr, lr = np.asarray(pair[0]), np.asarray(pair[1])
        name = f"{self.names[index]}.png"
        return {"lq": _tensor(lr), "gt": _tensor(hr), "lq_path": name, "gt_path": name}


def _tensor(image: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
