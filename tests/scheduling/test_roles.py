"""Roles by type name, for the host's losses and those of its forks."""

import re
from pathlib import Path

import pytest

from paragon_plugin.scheduling.options import ROLES, WISHES
from paragon_plugin.scheduling.roles import TYPICAL_SHARES, role_of

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


def test_the_page_shows_the_typical_shares_in_force():
    page = Path(__file__).parents[2].joinpath("docs", "scheduler.md").read_text(encoding="utf-8")
    _, _, rest = page.partition("### The wish and the typical shares")
    rows = re.findall(r"^\| (\w+)(?:, at most)? \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", rest, re.MULTILINE)
    shown = {role: dict(zip(WISHES, map(float, shares), strict=True)) for role, *shares in rows}
    assert shown.keys() == set(ROLES)
    for wish, typical in TYPICAL_SHARES.items():
        assert {role: shares[wish] for role, shares in shown.items()} == typical
