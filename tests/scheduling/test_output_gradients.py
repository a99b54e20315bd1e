"""Gradients on the output against autograd through the plain weighted sum."""

import gc
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from paragon_plugin.scheduling.output_gradients import OutputGradients, weighted_sum

FACTORS = {"l1": 0.7, "mse": 31.0, "content": 1.0, "style": 2e-3}


def _network(dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GELU(), nn.Conv2d(8, 3, 3, padding=1)).to(dtype)


def _features(dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU()).to(dtype).requires_grad_(False)


def _pixel(y: Tensor) -> dict[str, Tensor]:
    return {"l1": y.abs().mean(), "mse": (y - 0.3).square().mean()}


def _perceptual(features: nn.Module):
    def compute(y: Tensor) -> dict[str, Tensor]:
        f_BCHW = features(y)  # one pass for both
        f_BCN = f_BCHW.flatten(2)
        return {"content": (f_BCHW - 0.1).abs().mean(), "style": (f_BCN @ f_BCN.mT).square().mean()}

    return compute


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)], ids=["float64", "float32"]
)
def test_parameter_gradients_equal_those_of_the_weighted_sum(dtype, tolerance):
    x = torch.rand(4, 3, 12, 12, dtype=dtype, generator=torch.Generator().manual_seed(2))
    features = _features(dtype)

    net = _network(dtype)
    gradients = OutputGradients(net(x))
    gradients.add(_pixel)
    gradients.add(_perceptual(features))
    gradients.backward(FACTORS)
    ours = [p.grad for p in net.parameters()]

    plain = _network(dtype)
    y = plain(x)
    losses = {**_pixel(y), **_perceptual(features)(y)}
    torch.stack([FACTORS[name] * loss for name, loss in losses.items()]).sum().backward()

    for own, parameter in zip(ours, plain.parameters(), strict=True):
        assert own is not None
        assert parameter.grad is not None
        assert (own - parameter.grad).norm() <= tolerance * parameter.grad.norm()
    assert {name: value.item() for name, value in gradients.values.items()} == {
        name: loss.item() for name, loss in losses.items()
    }


@settings(max_examples=25, deadline=None)
@given(factors=st.lists(st.floats(1e-6, 1e6), min_size=4, max_size=4))
def test_the_gradient_on_the_output_is_linear_in_the_factors(factors):
    y = torch.rand(2, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).requires_grad_()
    features = _features(torch.float64)
    gradients = OutputGradients(y)
    gradients.add(_pixel)
    gradients.add(_perceptual(features))
    by_name = dict(zip(FACTORS, factors, strict=True))
    gradients.backward(by_name)
    assert y.grad is not None
    losses = {**_pixel(y), **_perceptual(features)(y)}
    (expected,) = torch.autograd.grad(sum((by_name[n] * loss for n, loss in losses.items()), torch.zeros(())), y)
    assert (y.grad - expected).norm() <= 1e-12 * expected.norm()


def test_factors_of_one_are_exact():
    y = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(4)).requires_grad_()
    gradients = OutputGradients(y)
    gradients.add(_pixel)
    gradients.backward({"l1": 1.0, "mse": 1.0})
    expected = [torch.autograd.grad(loss, y)[0] for loss in _pixel(y).values()]
    assert y.grad is not None
    assert torch.equal(y.grad, expected[0] + expected[1])


def test_a_weighted_sum_leaves_its_terms_alone():
    terms = [torch.ones(3), torch.full((3,), 2.0), torch.full((3,), 4.0)]
    result = weighted_sum([(1, terms[0]), (1, terms[1]), (0.5, terms[2])])
    assert result.tolist() == [5.0] * 3
    assert [t[0].item() for t in terms] == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_norms_are_the_mean_over_samples_of_the_norm_of_each(dtype):
    y = torch.rand(5, 3, 7, 7, generator=torch.Generator().manual_seed(5)).to(dtype).requires_grad_()
    gradients = OutputGradients(y)
    weight = torch.rand(y.shape, generator=torch.Generator().manual_seed(6)).to(dtype)
    gradients.add(lambda y: {"a": (y * weight).sum(), "b": (y * weight * weight).sum()})
    weight = weight.to(torch.promote_types(dtype, torch.float32))  # half precision is gone behind the output
    for name, g in {"a": weight, "b": weight * weight}.items():
        per_sample = [sum(v * v for v in sample.double().flatten().tolist()) ** 0.5 for sample in g]
        expected = sum(per_sample) / len(per_sample)
        assert gradients.norms()[name].item() == pytest.approx(expected, rel=1e-13 if dtype == torch.float64 else 1e-6)
        assert gradients.norms()[name].dim() == 0


def test_norms_of_half_precision_gradients_do_not_overflow():
    y = torch.zeros(1, 3, 64, 64, dtype=torch.float16, requires_grad=True)
    gradients = OutputGradients(y)
    gradients.add(lambda y: {"a": (y.float() * 6e4).sum()})  # the squares are beyond float16
    assert gradients.norms()["a"].item() == pytest.approx(6e4 * (3 * 64 * 64) ** 0.5, rel=1e-3)


def test_the_graph_of_a_group_is_freed_before_the_next_is_evaluated():
    alive: list[weakref.ref] = []

    def group(y: Tensor) -> dict[str, Tensor]:
        gc.collect()
        assert [reference() for reference in alive] == [None] * len(alive)
        shared = (y * 2).exp()
        alive.append(weakref.ref(shared))
        return {f"a{len(alive)}": shared.mean(), f"b{len(alive)}": shared.square().mean()}

    gradients = OutputGradients(torch.rand(2, 3, 4, 4, requires_grad=True))
    for _ in range(3):
        gradients.add(group)
    assert len(gradients.gradients) == 6
    assert not any(g.requires_grad for g in gradients.gradients.values())
    assert not any(v.requires_grad for v in gradients.values.values())


def test_the_buffers_of_a_group_are_freed_even_where_its_losses_are_kept():
    kept: dict[str, Tensor] = {}

    def group(y: Tensor) -> dict[str, Tensor]:
        shared = (y * 2).exp()
        kept.update(a=shared.mean(), b=shared.square().mean())
        return kept

    OutputGradients(torch.rand(2, 3, 4, 4, requires_grad=True)).add(group)
    with pytest.raises(RuntimeError, match="already been freed"):
        kept["b"].backward()


def test_the_networks_graph_is_gone_through_once():
    passes = []
    x = torch.rand(2, 3, 4, 4, requires_grad=True)
    y = x * 2
    y.register_hook(lambda g: passes.append(g))
    gradients = OutputGradients(y)
    gradients.add(_pixel)
    assert passes == []
    gradients.backward({"l1": 1.0, "mse": 3.0})
    assert len(passes) == 1
