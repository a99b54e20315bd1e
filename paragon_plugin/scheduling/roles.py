"""The role a loss plays in a recipe, and the share of the update that losses of each role typically have."""

import re

from .options import DynamicLossScheduling, LossRole, Role, Wish

COMPARING: tuple[LossRole, ...] = ("pixel", "structural", "perceptual", "unknown")
"""Roles of losses that compare the output with its target: they get target shares. The others are limited only."""

TYPICAL_SHARES: dict[Wish, dict[Role, float]] = {
    "fidelity": {
        "pixel": 0.8,
        "structural": 0.8,
        "perceptual": 0.1,
        "adversarial": 0.02,
        "regularization": 0.02,
    },
    "balanced": {
        "pixel": 0.4,
        "structural": 0.4,
        "perceptual": 0.6,
        "adversarial": 0.05,
        "regularization": 0.02,
    },
    "perceptual": {
        "pixel": 0.02,
        "structural": 0.02,
        "perceptual": 0.95,
        "adversarial": 0.1,
        "regularization": 0.02,
    },
}
"""By wish: typical shares of the gradient on the output, renormalised over the roles present; of losses that do not
compare with the target, the largest share. Where the numbers come from stands in docs/scheduler.md."""


def typical_shares(options: DynamicLossScheduling) -> dict[Role, float]:
    """The typical shares under an option block: those of its wish, with what it overrides by role."""
    shares = dict(TYPICAL_SHARES[options.prefer or "balanced"])
    if options.adversarial_share is not None:
        shares["adversarial"] = options.adversarial_share
    return shares | options.typical_shares


def typical_limits(options: DynamicLossScheduling) -> dict[Role, tuple[float, float]]:
    """Smallest and largest share of the losses that do not compare with the target, by role, under `auto`.

    The largest is the typical share. The smallest one of adversarial losses is that over `share_tolerance`, as far from
    typical as two losses with a target may be. A penalty has none: it may well have nothing to say.
    """
    shares = typical_shares(options)
    least = shares["adversarial"] / options.share_tolerance
    return {"adversarial": (least, shares["adversarial"]), "regularization": (0.0, shares["regularization"])}


# Looked for anywhere in a name, in this order: the more specific word stands first ("GANFeatureMatchingLoss" is
# adversarial, "MSSSIMLoss" structural, "MSEFeatureLoss" perceptual).
_ANYWHERE: tuple[tuple[Role, str], ...] = (
    ("adversarial", "gan advers featurematching feature_matching discriminator hinge wasserstein critic"),
    (
        "perceptual",
        "percep content style lpips dists vgg contextual feature cliploss clip_ clipiqa dino topiq pieapp resnet",
    ),
    ("regularization", "totalvariation total_variation regulari penalty weight_decay sparsity"),
    ("structural", "ssim fft freq fourier wavelet edge gradient sobel laplac ldl hfen"),
    (
        "pixel",
        "pixel charbonnier huber luma chroma color colour oklab hsluv photometric reconstruction bicubic averagepool",
    ),
)
# Words of their own, between capitals, underscores and digits ("tv" in "WeightedTVLoss" and "tv_loss").
_ALONE: tuple[tuple[Role, str], ...] = (
    ("adversarial", "adv"),
    ("regularization", "tv kl kld r1 r2 reg prior"),
    ("structural", "dwt"),
    ("pixel", "l1 l2 mse mae rmse psnr pix charb recon rec ncc"),
)


def role_of(loss_type: str) -> LossRole:
    """Role of a loss by the name of its type; `unknown` where the name does not say it.

    >>> role_of("PerceptualLoss"), role_of("L1Loss"), role_of("FFTLoss"), role_of("GANLoss"), role_of("MyLoss")
    ('perceptual', 'pixel', 'structural', 'adversarial', 'unknown')
    """
    name = loss_type.lower()
    for role, words in _ANYWHERE:
        if any(word in name for word in words.split()):
            return role
    alone = _words_of(loss_type)
    for role, words in _ALONE:
        if any(word in alone for word in words.split()):
            return role
    return "unknown"


def _words_of(name: str) -> set[str]:
    """Words of a name in camel or snake case, lower case, without the ending "loss"."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    words = re.split(r"[^a-z0-9]+", spaced.lower())
    return {word.removesuffix("loss") or word for word in words}
