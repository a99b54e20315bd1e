"""A checkpoint's tensors say which network it is for; anything else is refused by what was seen."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from golden_tiers import golden
from torch import Tensor

from paragon_plugin.nets.checkpoint_detection import detect
from paragon_plugin.nets.paragonsr2 import SIZES, build_paragonsr2
from paragon_plugin.nets.released import TIERS, build_released
from paragon_plugin.ops.magic_kernel import SCALES

FLAGS = ("use_attention", "use_content_aware", "use_learnable_magic_kernel")


def state_of(name: str, scale: int, **options: Any) -> dict[str, Tensor]:
    """Names and shapes of a network's tensors; they have no values."""
    with torch.device("meta"):
        build = build_released if name in TIERS else build_paragonsr2
        return build(name, scale=scale, **options).state_dict()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", SIZES)
def test_sizes(size: str, scale: int) -> None:
    found = detect(state_of(size, scale))
    assert (found.registered_name, found.scale) == (f"paragonsr2_{size}", scale)
    assert found.options == {"in_chans": 3, **dict.fromkeys(FLAGS, False)}


@pytest.mark.parametrize("flags", list(itertools.product([False, True], repeat=3)))
def test_options_of_sizes(flags: tuple[bool, ...]) -> None:
    options = {**dict(zip(FLAGS, flags, strict=True)), "in_chans": 4}
    found = detect(state_of("tiny", 3, **options))
    assert (found.registered_name, found.scale, found.options) == ("paragonsr2_tiny", 3, options)
    build_paragonsr2("tiny", scale=3, **found.options).load_state_dict(
        build_paragonsr2("tiny", scale=3, **options).state_dict()
    )


@pytest.mark.parametrize("base", ["magic_kernel_sharp", "released"])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("tier", TIERS)
def test_tiers(tier: str, scale: int, base: str) -> None:
    found = detect(state_of(tier, scale, base=base))
    assert (found.registered_name, found.scale) == (f"paragonsr2_{tier}", scale)
    assert found.options["base"] == base
    for options in ({"in_chans": 1}, {"export_safe": True, "window_size": 8, "use_checkpointing": True}):
        found = detect(state_of(tier, scale, base=base, **options))
        assert (found.registered_name, found.scale) == (f"paragonsr2_{tier}", scale)
        assert found.options["in_chans"] == options.get("in_chans", 3)
        if tier in ("photo", "pro"):
            assert found.options["export_safe"] is options.get("export_safe", False)


@pytest.mark.parametrize("tier", TIERS)
def test_released_checkpoints(tier: str) -> None:
    file = golden(tier)
    found = detect(file.checkpoint)
    assert (found.registered_name, found.scale) == (f"paragonsr2_{tier}", file.scale)
    net = build_released(tier, scale=found.scale, **found.options).eval()
    net.load_state_dict(file.checkpoint, strict=True)
    assert net.upsampler_alpha == file.alpha
    with torch.no_grad():
        torch.testing.assert_close(net(file.tensors["input"]), file.tensors["output"], rtol=0, atol=1e-5)


def changed(name: str, **changes: tuple[int, ...] | None) -> dict[str, Tensor]:
    """A network's tensors, some with another shape or gone; `__` in a name stands for a dot."""
    state = dict(state_of(name, 2))
    for key, shape in changes.items():
        key = key.replace("__", ".")
        if shape is None:
            del state[key]
        else:
            state[key] = torch.empty(shape, device="meta")
    return state


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, "expected conv_in, body and conv_out, saw nothing"),
        ({"params": {}, "params_ema": {}}, "saw params, params_ema$"),
        ({f"layer{i}.weight": torch.zeros(3, 3) for i in range(9)}, "saw layer0.weight, .*, layer3.weight and 5 more"),
        (changed("s", conv_in__weight=(50, 3, 3, 3)), "no size of ParagonSR2 has the 50 features"),
        (changed("photo", conv_in__weight=(96, 3, 3, 3)), "no released tier of ParagonSR2 has the 96 features"),
        (
            changed("s", conv_out__weight=(15, 48, 3, 3)),
            r"conv_out.weight has shape \(15, 48, 3, 3\).* 3 times the square",
        ),
        (
            changed("pro", up__0__weight=(65, 64, 3, 3)),
            r"up.0.weight has shape \(65, .* 64 times the square of .*\(1, 2, 3",
        ),
        (changed("s", gain=None), "looks like paragonsr2_s at x2, but lacks gain"),
        (changed("stream", conv_mid__bias=None), "looks like paragonsr2_stream at x2, but lacks conv_mid.bias"),
        (changed("tiny", ema=(1,)), "looks like paragonsr2_tiny at x2, but also has ema"),
        (changed("xs", gain=(1,)), r"paragonsr2_xs at x2, but gain has shape \(1,\) instead of \(\)"),
        (changed("photo", conv_mid__weight=(64, 64, 1, 1)), r"conv_mid.weight has shape .*1, 1\) instead of .*3, 3\)"),
        (changed("nano", body__0__convs__7__x=(1,)), "paragonsr2_nano at x2, but also has body.0.convs.7.x"),
        (changed("micro", body__1__convs__2__bias=None), "paragonsr2_micro at x2, but lacks body.1.convs.2.bias"),
        (changed("tiny", body__7__convs__0__bias=(1,)), "paragonsr2_tiny at x2, but also has body.7.convs.0.bias"),
    ],
)
def test_refuses_what_is_not_ours(state: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        detect(state)


def test_looks_at_nothing_but_names_and_shapes() -> None:
    state = {
        key: torch.full_like(value, torch.nan)
        for key, value in build_released("realtime", scale=2).state_dict().items()
    }
    assert detect(state) == detect(state_of("realtime", 2))
