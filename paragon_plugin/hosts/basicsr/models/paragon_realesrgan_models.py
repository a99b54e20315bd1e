"""ParagonRealESRNetModel and ParagonRealESRGANModel: training on Real-ESRGAN's degradations, made on the fly.

The degradations are the host's own; here they run on any device. Wang et al., "Real-ESRGAN: Training Real-World Blind
Super-Resolution with Pure Synthetic Data", ICCV Workshops 2021.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from basicsr.models.realesrgan_model import RealESRGANModel
from basicsr.models.realesrnet_model import RealESRNetModel
from basicsr.utils import DiffJPEG, USMSharp
from torch import Tensor

from ....errors import OptionError, shown
from ....scheduling.options import Role
from ..options.known import DEGRADATIONS
from .paragon_gan_model import ParagonGANModel
from .paragon_sr_model import ParagonSRModel


class _Degradations(ParagonSRModel):
    """The host's degradations and its pool of training pairs, on the model's device."""

    host_model: type

    def __init__(self, opt: dict[str, Any]):
        super().__init__(opt)
        if self.is_train:
            for key in self.needed_options(opt):
                if key not in opt:
                    raise OptionError(
                        key, "is missing: an option of Real-ESRGAN's degradations, at the file's top level"
                    )
        self.jpeger = DiffJPEG(differentiable=False).to(self.device)
        self.usm_sharpener = USMSharp().to(self.device)
        self.queue_size = opt.get("queue_size", 180)
        self._uses_pool = True

    @classmethod
    def needed_options(cls, options: Mapping[str, Any]) -> Sequence[str]:
        """The options of the degradations, where they are on."""
        return tuple(DEGRADATIONS) if options.get("high_order_degradation", True) else ()

    @classmethod
    def readers_of_options(cls) -> tuple[type, ...]:
        return (cls, cls.host_model)

    def rehearse(self, batch: Mapping[str, Any]) -> dict[str, float]:
        """With a pool that holds whole batches; the batch does not enter it."""
        self._check_pool(len(batch["gt"]) if "gt" in batch else 1)
        self._uses_pool = False
        try:
            return super().rehearse(batch)
        finally:
            self._uses_pool = True

    @torch.no_grad()
    def feed_data(self, data: dict[str, Any]) -> None:
        """Take a batch; in training, make its low-resolution images."""
        self.host_model.feed_data(self, data)

    def _dequeue_and_enqueue(self) -> None:
        """Swap the batch with samples of earlier ones, so that the degradations within a batch differ."""
        if not self._uses_pool:
            return
        if not hasattr(self, "queue_lr") or not self._fits_the_pool():
            self._check_pool(len(self.lq))
            self.queue_lr, self.queue_gt = (x.new_zeros(self.queue_size, *x.shape[1:]) for x in (self.lq, self.gt))
            self.queue_ptr = 0
        self.host_model._dequeue_and_enqueue(self)

    def _check_pool(self, batch: int) -> None:
        """Raise OptionError unless the pool of training pairs holds whole batches."""
        size = self.queue_size
        if not isinstance(size, int) or size < batch or size % batch:
            raise OptionError("queue_size", f"must be a multiple of the batch size {batch}, is {shown(size)}")

    def _fits_the_pool(self) -> bool:
        """Not so where a run is resumed with other patches, another batch or another pool: it is filled anew."""
        pool, batch = (self.queue_lr, self.queue_gt), (self.lq, self.gt)
        same_size = all(kept.shape[1:] == new.shape[1:] for kept, new in zip(pool, batch, strict=True))
        return same_size and len(self.queue_lr) == self.queue_size and self.queue_ptr % len(self.lq) == 0

    def _rank_state(self) -> dict[str, Any]:
        """With the pool of training pairs: it holds batches that no later one brings back."""
        state = super()._rank_state()
        if hasattr(self, "queue_lr"):
            filled = slice(self.queue_ptr)
            state["pool"] = {
                "size": self.queue_size,
                "lr": packed(self.queue_lr[filled]),
                "gt": packed(self.queue_gt[filled]),
            }
        return state

    def _load_rank_state(self, state: dict[str, Any]) -> None:
        super()._load_rank_state(state)
        if "pool" not in state:
            return
        for name in ("lr", "gt"):
            filled = unpacked(state["pool"][name]).to(self.device)
            queue = filled.new_zeros(state["pool"]["size"], *filled.shape[1:])
            queue[: len(filled)] = filled
            setattr(self, f"queue_{name}", queue)
            self.queue_ptr = len(filled)

    def nondist_validation(self, *args: Any, **kwargs: Any) -> None:
        """Validation images are not degraded."""
        training, self.is_train = self.is_train, False
        try:
            super().nondist_validation(*args, **kwargs)
        finally:
            self.is_train = training


def packed(images: Tensor) -> Tensor:
    """Images (N, C, H, W) in [0, 1] on the CPU: bytes where those lose nothing, as of image files; else as they are."""
    images = images.cpu()
    steps = (images * 255).round().clamp(0, 255).byte()
    return steps if torch.equal(unpacked(steps), images) else images.clone()


def unpacked(images: Tensor) -> Tensor:
    """What `packed` was given."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


class ParagonRealESRNetModel(_Degradations):
    """ParagonSRModel on Real-ESRGAN's degradations; takes BasicSR's options of RealESRNetModel."""

    host_model = RealESRNetModel


class ParagonRealESRGANModel(_Degradations, ParagonGANModel):
    """ParagonGANModel on Real-ESRGAN's degradations; takes BasicSR's options of RealESRGANModel.

    `l1_gt_usm`, `percep_gt_usm` and `gan_gt_usm` say which losses compare with the sharpened ground truth: pixel and
    structural ones, perceptual ones, the adversarial ones. LDL always compares with the plain one.
    """

    host_model = RealESRGANModel
    gt_usm: Tensor
    """The sharpened ground truth, made by the host's feed_data."""

    def _targets(self, part: slice) -> dict[Role, Tensor]:
        sharp = self.gt_usm[part]
        roles: dict[str, tuple[Role, ...]] = {
            "l1_gt_usm": ("pixel", "structural"),
            "percep_gt_usm": ("perceptual",),
            "gan_gt_usm": ("adversarial",),
        }
        return {role: sharp for key, group in roles.items() if self.opt.get(key, True) is not False for role in group}
