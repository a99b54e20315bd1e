"""What `LossBalance` leaves on the network's parameters is the gradient of `sum_i f_i w_i L_i` by autograd."""

from typing import Any

import pytest
import torch
from balance_runs import CRITERIA, FORMS, Form, Run, batch, distance, gradients, network, same, weights
from torch import Tensor, nn

from paragon_plugin.scheduling.balance import LossBalance
from paragon_plugin.scheduling.options import LossRole
from paragon_plugin.scheduling.roles import role_of

LOSSES = {"l1": 1.0, "mse": 40.0, "edge_x": 0.02, "fft": 0.3}


def scaler_of(precision: str) -> Any:
    return torch.amp.GradScaler("cpu") if precision == "fp16" else None


PRECISIONS = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
TOLERANCES = {"float32": 1e-6, "bf16": 2e-2, "fp16": 8e-3}
"""In half precision the oracle itself rounds: its gradients meet in that type."""


def applied(run: Run, number: int) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients that a step left on the parameters, and autograd's with the factors in force at that step."""
    before = weights(run.net)
    held = {name: run.balance.factor(name) for name in run.balance.losses}
    scale = run.scaler.get_scale() if run.scaler is not None else 1.0
    run.step(number)
    last = run.balance.last_step
    assert last is not None
    at_once = run.parts == 1 and run.scaler is None
    factors = dict(last.factors) if at_once else held
    with torch.no_grad():
        for parameter, value in zip(run.net.parameters(), before, strict=True):
            parameter.copy_(value)
    return run.seen, run.gradient_of_the_sum(number, factors, scale)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_those_of_the_weighted_sum(form: Form, parts: int, precision: str) -> None:
    run = Run(form, LOSSES, parts=parts, scaler=scaler_of(precision), autocast=PRECISIONS[precision])
    run.run(1, 14)
    assert run.balance.last_step is not None
    assert max(abs(f - 1) for f in run.balance.last_step.factors.values()) > 0.05
    ours, theirs = applied(run, 15)
    assert distance(ours, theirs) < TOLERANCES[precision]


@pytest.mark.parametrize("form", FORMS)
def test_three_parts(form: Form) -> None:
    run = Run(form, LOSSES, parts=3).run(1, 14)
    ours, theirs = applied(run, 15)
    assert distance(ours, theirs) < 1e-6


@pytest.mark.parametrize("count", range(1, 13))
@pytest.mark.parametrize("form", FORMS)
def test_one_to_twelve_losses(form: Form, count: int) -> None:
    losses = {name: 10 ** (place % 3 - 1.0) for place, name in enumerate(list(CRITERIA)[:count])}
    roles: dict[str, LossRole] = {name: "pixel" for name in losses if role_of(name) == "unknown"}
    options = {"enabled": True, "baseline_iterations": 2, "target": "auto"}
    run = Run(form, losses, options=options, roles=roles).run(1, 8)
    ours, theirs = applied(run, 9)
    assert distance(ours, theirs) < 1e-5


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("parts", [1, 2])
def test_factors_come_from_a_state(form: Form, parts: int) -> None:
    trained = Run("backward", LOSSES, parts=parts).run(1, 16).balance.state_dict()
    run = Run(form, LOSSES, parts=parts)
    run.balance.load_state_dict(trained)
    ours, theirs = applied(run, 17)
    assert distance(ours, theirs) < 1e-6


@pytest.mark.parametrize("form", FORMS)
def test_the_sum_is_exact_in_double_precision(form: Form) -> None:
    wide = {"l1": 1.0, "mse": 40.0, "edge_x": 0.02}
    run = Run(form, wide, net=network(dtype=torch.float64)).run(1, 10)
    ours, theirs = applied(run, 11)
    assert distance(ours, theirs) < 1e-12


@pytest.mark.parametrize("names", [("l1",), ("l1", "mse")])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_factors_of_one_change_no_bit(form: Form, scaled: bool, names: tuple[str, ...]) -> None:
    scaler = torch.amp.GradScaler("cpu") if scaled else None
    run = Run(form, dict.fromkeys(names, 0.3), options={"enabled": True, "observe": True}, scaler=scaler)
    expected = run.gradient_of_the_sum(1, dict.fromkeys(names, 1.0), 65536.0 if scaled else 1.0)
    run.step(1)
    assert same(run.seen, expected)


@pytest.mark.parametrize("form", FORMS)
def test_a_weight_of_zero_is_logged_and_never_trains(form: Form) -> None:
    run = Run(form, {"l1": 1.0, "mse": 0.0, "fft": 0.5}).run(1, 8)
    ours, theirs = applied(run, 9)
    assert distance(ours, theirs) < 1e-6
    assert run.balance.log()["losses/l_mse"] > 0
    assert run.balance.last_step is not None
    assert "mse" not in run.balance.last_step.factors
    assert run.balance.weights()["mse"] == 0


@pytest.mark.parametrize("form", FORMS)
def test_a_negative_weight_keeps_its_sign(form: Form) -> None:
    run = Run(form, {"l1": 1.0, "mse": -0.1, "edge_x": 3.0}).run(1, 10)
    ours, theirs = applied(run, 11)
    assert distance(ours, theirs) < 1e-6
    assert run.balance.weights()["mse"] < 0


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_a_loss_that_starts_late(form: Form, parts: int) -> None:
    run = Run(form, LOSSES, parts=parts)
    for number in range(1, 8):
        run.step(number, ["l1", "mse"])
    run.run(8, 20)
    ours, theirs = applied(run, 21)
    assert distance(ours, theirs) < 1e-6


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_a_loss_that_rests_now_and_then_keeps_its_factor(form: Form, parts: int) -> None:
    run = Run(form, {**LOSSES, "gan": 1000.0}, parts=parts, criteria={**CRITERIA, "gan": CRITERIA["cosh"]})
    for number in range(1, 21):
        run.step(number, [*LOSSES, "gan"] if number % 2 else list(LOSSES))
    factor, weight = run.balance.factor("gan"), run.balance.weights()["gan"]
    assert factor not in (0.0, 1.0)  # without a memory an adversarial loss would have 0 whenever it comes back
    assert weight == pytest.approx(1000 * factor)
    ours, theirs = applied(run, 21)
    assert distance(ours, theirs) < 1e-6


def features(seed: int = 5) -> nn.Module:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return net.requires_grad_(False)


def test_losses_that_share_a_pass_are_parted() -> None:
    net, vgg = network(), features()
    balance = LossBalance({"l1": 1.0, "content": 2.0, "style": 30.0}, {"enabled": True}, total_iter=100, network=net)
    x, gt = batch(1)

    def losses(y: Tensor) -> dict[str, Tensor]:
        ours, theirs = vgg(y), vgg(gt)
        return {
            "l1": (y - gt).abs().mean(),
            "content": (ours - theirs).abs().mean(),
            "style": (ours.mean((2, 3)) - theirs.mean((2, 3))).square().mean(),
        }

    balance.load_state_dict({"iteration": 3})
    y = net(x)
    balance.backward(losses(y), y)
    found = gradients(net)
    net.zero_grad()
    assert balance.last_step is not None
    factors = balance.last_step.factors
    terms = [factors[name] * balance.losses[name].base_weight * value for name, value in losses(net(x)).items()]
    sum(terms, torch.zeros(())).backward()
    assert distance(found, gradients(net)) < 1e-6


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("scaled", [False, True])
def test_others_are_added_as_they_are(parts: int, scaled: bool) -> None:
    scaler = torch.amp.GradScaler("cpu") if scaled else None
    net = network()
    balance = LossBalance({"l1": 2.0}, {"enabled": True}, total_iter=9, network=net, parts=parts, scaler=scaler)

    def others() -> Tensor:
        return sum((0.01 * parameter.square().sum() for parameter in net.parameters()), torch.zeros(()))

    x, gt = batch(1)
    for xs, gts in zip(x.chunk(parts), gt.chunk(parts), strict=True):
        y = net(xs)
        balance.backward({"l1": (y - gts).abs().mean()}, y, others=others())
    found = gradients(net)
    net.zero_grad()
    ((2 * (net(x) - gt).abs().mean() + others()) * (65536.0 if scaled else 1.0)).backward()
    assert distance(found, gradients(net)) < 1e-6


@pytest.mark.parametrize("scaled", [False, True])
def test_a_step_without_losses_is_a_sum_of_none(scaled: bool) -> None:
    net = network()
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0) if scaled else None
    balance = LossBalance({"l1": 1.0, "mse": 0.0}, {"enabled": True}, total_iter=9, network=net, scaler=scaler)
    x, gt = batch(1)
    y = net(x)
    others = sum((parameter.square().sum() for parameter in net.parameters()), torch.zeros(()))
    assert balance.backward({"mse": (y - gt).square().mean()}, y, others=others)
    assert same(gradients(net), [2 * parameter.detach() for parameter in net.parameters()])
    assert balance.last_step is None
    y = net(x)
    assert balance.backward({}, y)
    assert balance.iteration == 2
    assert balance.state_dict()["held"] == {}
    assert balance.last_step is None


@pytest.mark.parametrize("form", FORMS)
def test_weights_that_are_included_are_not_multiplied_again(form: Form) -> None:
    own = {"l1": 3.0, "mse": 0.5}
    weighted = {name: lambda y, t, name=name: own[name] * CRITERIA[name](y, t) for name in own}
    net = network()
    included = LossBalance(own, {"enabled": True}, total_iter=9, network=net, weights_included=True)
    plain = Run(form, own, options={"enabled": True})
    included.ride_with(torch.optim.SGD(net.parameters(), lr=0.0))
    x, gt = batch(1)
    y = net(x)
    if form == "backward":
        included.backward({name: loss(y, gt) for name, loss in weighted.items()}, y)
    else:
        values = {name: loss(included.tap(name, y), gt) for name, loss in weighted.items()}
        for name, value in values.items():
            included.note_value(name, value)
        sum(values.values(), torch.zeros(())).backward()
    plain.step(1)
    assert distance(gradients(net), plain.seen) < 1e-7
    ours, theirs = included.log(), plain.balance.log()
    for tag in ("losses/l_l1", "losses/l_mse", "loss_shares/l1"):
        assert ours[tag] == pytest.approx(theirs[tag], rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", FORMS)
def test_gradients_on_a_half_precision_output_add_up_in_float32(form: Form, dtype: torch.dtype) -> None:
    """Three equal gradients and their opposite cancel exactly only where the sum is wide."""
    leaf = torch.full((2, 3, 4, 4), 0.5, requires_grad=True)
    parts = torch.tensor([1.0, 1 / 1024, 1 / 1024, -1.0]).tolist()
    names = ["a", "b", "c", "d"]
    balance = LossBalance(dict.fromkeys(names, 1.0), {"enabled": True, "observe": True}, total_iter=9, size="nano")
    balance.ride_with(torch.optim.SGD([leaf], lr=0.1))
    y = leaf.to(dtype)
    if form == "backward":
        balance.backward({name: (y.float() * part).sum() for name, part in zip(names, parts, strict=True)}, y)
    else:
        terms = [(balance.tap(name, y).float() * part).sum() for name, part in zip(names, parts, strict=True)]
        sum(terms, torch.zeros(())).backward()
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, torch.full_like(leaf, 2 / 1024))


def test_a_loss_without_a_name_or_a_path_is_refused() -> None:
    net = network()
    balance = LossBalance({"l1": 1.0}, total_iter=9, network=net)
    y = net(batch(1)[0])
    with pytest.raises(ValueError, match="no loss 'l2'"):
        balance.backward({"l2": y.mean()}, y)
    with pytest.raises(ValueError, match="does not depend on the network's output"):
        balance.backward({"l1": next(net.parameters()).sum()}, y)
    with pytest.raises(ValueError, match="no loss 'l2'"):
        balance.tap("l2", y)
    with pytest.raises(RuntimeError, match="ride_with"):
        balance.tap("l1", y)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("scaled", [False, True])
def test_switched_off_every_bit_is_the_plain_sums(
    form: Form, parts: int, scaled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARAGON_DISABLE", "1")
    run = Run(form, LOSSES, parts=parts, scaler=torch.amp.GradScaler("cpu") if scaled else None)
    for number in range(1, 4):
        before = weights(run.net)
        run.step(number)
        after = weights(run.net)
        with torch.no_grad():
            for parameter, value in zip(run.net.parameters(), before, strict=True):
                parameter.copy_(value)
        assert same(run.seen, run.gradient_of_the_sum(number, dict.fromkeys(LOSSES, 1.0), 65536.0 if scaled else 1.0))
        with torch.no_grad():
            for parameter, value in zip(run.net.parameters(), after, strict=True):
                parameter.copy_(value)
    assert run.balance.last_step is None
    assert run.balance.weights() == LOSSES
    assert run.balance.summary() == []
    assert not run.balance.skipped


@pytest.mark.parametrize("form", FORMS)
def test_observing_reports_shares_and_changes_nothing(form: Form) -> None:
    losses = {"l1": 1.0, "mse": 40.0}
    run = Run(form, losses, options={"enabled": True, "baseline_iterations": 3, "observe": True})
    plain = Run("backward", losses, options={"enabled": False})
    for number in range(1, 12):
        run.step(number)
        plain.step(number)
        assert same(run.seen, plain.seen)
    assert run.balance.weights() == losses
    log = run.balance.log()
    assert log["loss_shares/l1"] + log["loss_shares/mse"] == pytest.approx(1)
    assert 0.01 < log["loss_shares/l1"] < 0.99
