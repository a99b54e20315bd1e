"""Roles by type name, for the host's losses and those of its forks."""

import pytest

from paragon_plugin.scheduling.roles import role_of

EXPECTED = {
    "pixel": ["L1Loss", "MSELoss", "CharbonnierLoss", "HuberLoss"],
    "structural": ["SSIMLoss", "MSSSIMLoss", "FFTLoss", "FocalFrequencyLoss", "EdgeLoss"],
    "perceptual": ["PerceptualLoss", "LPIPSLoss", "DISTSLoss", "StyleLoss", "VGGLoss", "ContextualLoss"],
    "regularization": ["WeightedTVLoss", "TotalVariationLoss"],
    "adversarial": ["GANLoss", "MultiScaleGANLoss", "GANFeatLoss", "FeatureMatchingLoss"],
}


@pytest.mark.parametrize(("name", "role"), [(name, role) for role, names in EXPECTED.items() for name in names])
def test_role_of_a_loss_type(name: str, role: str):
    assert role_of(name) == role


def test_a_name_that_says_nothing_has_no_role():
    for name in ("MyLoss", "Loss", "", "loss3", "Helmet", "ReadvanceLoss", "my.module.Criterion"):
        assert role_of(name) == "unknown"
    assert role_of("ClippedL1Loss") == "pixel"
