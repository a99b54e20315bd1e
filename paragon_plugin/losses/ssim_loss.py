"""Structural similarity losses, with the windowed statistics of the optional package torchmetrics."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WINDOW = 11
"""Side of torchmetrics' Gaussian window of sigma 1.5."""

SCALE_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first."""

_LEAST = 1e-6
"""Similarities below are taken as this: a power below 1 has no finite derivative at 0, and none at all below it."""


def _ssim(x: Tensor, y: Tensor) -> Tensor:
    """(B,): mean over the pixels whose whole window lies inside the image."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    scales(min(x.shape[-2:]))
    _, full = structural_similarity_index_measure(x, y, data_range=1.0, return_full_image=True)
    inside = slice(WINDOW // 2, -(WINDOW // 2))
    return full[..., inside, inside].flatten(1).mean(1)


def _contrast(x: Tensor, y: Tensor) -> Tensor:
    """(B,): SSIM's contrast and structure terms alone, over the same pixels."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    _, contrast = structural_similarity_index_measure(
        x, y, data_range=1.0, reduction="none", return_contrast_sensitivity=True
    )
    return contrast.reshape(-1)


def _ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """(B,): as many of the five scales as the images hold, their exponents scaled up to the same sum."""
    exponents = SCALE_EXPONENTS[: scales(min(x.shape[-2:]))]
    product = torch.ones(len(x), device=x.device)
    for scale, exponent in enumerate(exponents, start=1):
        part = _ssim(x, y) if scale == len(exponents) else _contrast(x, y)
        product = product * part.clamp(min=_LEAST) ** (exponent * sum(SCALE_EXPONENTS) / sum(exponents))
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return product


class _SimilarityLoss(nn.Module):
    """`w (1 - similarity)`, averaged over the batch.

    Args:
        loss_weight: w.

    Raises:
        ValueError: torchmetrics is not installed.
    """

    similarity: Callable[[Tensor, Tensor], Tensor]
    """(B, C, H, W) twice, in [0, 1] and float32, to (B,)."""

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        try:
            import torchmetrics  # noqa: F401
        except ImportError as error:
            raise ValueError("needs the package torchmetrics: pip install 'paragon-plugin[metrics]'") from error
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """pred, target: (B, C, H, W) in [0, 1], sides of at least 11; computed in float32. Returns a scalar.

        Raises:
            ValueError: Images smaller than the window.
        """
        with torch.autocast(pred.device.type, enabled=False):
            return self.loss_weight * (1 - type(self).similarity(pred.float(), target.float()).mean())


class SSIMLoss(_SimilarityLoss):
    """`w (1 - SSIM(x, y))`, 11 x 11 Gaussian window of sigma 1.5, per channel.

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", TIP 2004.

    Args:
        loss_weight: w.
    """

    similarity = _ssim


class MSSSIMLoss(_SimilarityLoss):
    """`w (1 - MS-SSIM(x, y))` over the five scales of the paper, or as many of them as the images hold.

    `MS-SSIM = SSIM_K^a_K prod_{k<K} CS_k^a_k` with CS the contrast and structure terms, each scale half the one
    before. Wang et al., "Multi-scale Structural Similarity for Image Quality Assessment", Asilomar 2003. Five scales
    need sides of 176; training patches are often smaller. There the coarsest scales are left out and the exponents of
    the others scaled up to the same sum.

    Args:
        loss_weight: w.
    """

    similarity = _ms_ssim


def scales(side: int) -> int:
    """How many of the five scales images of this smaller side hold: at scale k the window must fit `side / 2^k`.

    Raises:
        ValueError: Not even the first.
    """
    count = sum(side // 2**k >= WINDOW for k in range(len(SCALE_EXPONENTS)))
    if count == 0:
        raise ValueError(f"needs images of at least {WINDOW} x {WINDOW}, got a side of {side}")
    return count
