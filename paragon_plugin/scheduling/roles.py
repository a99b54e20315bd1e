"""The role a loss plays in a recipe, and the share of the update that losses of each role typically have."""

from .options import Role

TYPICAL_SHARES: dict[Role, float] = {
    "pixel": 0.25,
    "structural": 0.25,
    "perceptual": 0.65,
    "adversarial": 0.05,
    "regularization": 0.02,
}
"""Typical shares of the gradient on the output in recipes that work; renormalised over the roles present."""

# Matched as substrings of the lower-case type name, in this order: the more specific word stands first
# ("GANFeatureMatchingLoss" is adversarial, "MSSSIMLoss" structural).
_WORDS: tuple[tuple[Role, tuple[str, ...]], ...] = (
    ("adversarial", ("gan", "adversarial", "featurematching", "feature_matching", "discriminator")),
    (
        "perceptual",
        (
            "perceptual",
            "style",
            "lpips",
            "dists",
            "vgg",
            "contextual",
            "cliploss",
            "clip_",
            "clipiqa",
            "dino",
            "topiq",
            "pieapp",
        ),
    ),
    ("regularization", ("tvloss", "totalvariation", "total_variation", "regulari", "r1_", "penalty")),
    ("structural", ("ssim", "fft", "freq", "fourier", "wavelet", "edge", "gradient", "sobel", "laplac", "ldl")),
)


def role_of(loss_type: str) -> Role:
    """Role of a loss by its registered type name; a name that says nothing is a pixel loss.

    >>> role_of("PerceptualLoss"), role_of("L1Loss"), role_of("FFTLoss"), role_of("GANLoss")
    ('perceptual', 'pixel', 'structural', 'adversarial')
    """
    name = loss_type.lower()
    for role, words in _WORDS:
        if any(word in name for word in words):
            return role
    return "pixel"
