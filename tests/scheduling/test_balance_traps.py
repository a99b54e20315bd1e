"""What goes wrong between a loss and its gradient: each trap of `LossBalance`, and the rule that keeps it out of it."""

import gc
import logging
import math
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from balance_runs import CRITERIA, FORMS, OPTIONS, Form, Run, batch, distance, gradients, network, same, weights
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from paragon_plugin.scheduling import LossBalance, NonFiniteLossError
from paragon_plugin.scheduling.readings import Reading
from paragon_plugin.scheduling.scheduler import DynamicLossScheduler
from paragon_plugin.scheduling.tapped_loop import SILENT_STEPS

LOSSES = {"l1": 1.0, "mse": 40.0}
GAN = {"l1": 1.0, "gan": 0.5}

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9, weight_decay=0.1),
    "adam": torch.optim.Adam,
    "adamw": lambda p, lr: torch.optim.AdamW(p, lr=lr, weight_decay=0.5),
    "fused adam": lambda p, lr: torch.optim.Adam(p, lr=lr, fused=True),
    "fused adamw": lambda p, lr: torch.optim.AdamW(p, lr=lr, weight_decay=0.5, fused=True),
}


class Watched(DynamicLossScheduler):
    """Notes what it is told."""

    told: list[tuple[int, Mapping[str, Reading]]]

    def step(self, iteration: int, readings: Mapping[str, Reading], complexity: float | None = None) -> Any:
        self.told.append((iteration, dict(readings)))
        return super().step(iteration, readings, complexity)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Mapping[str, Reading]]]:
    """Iteration and readings of each decision."""
    Watched.told = []
    monkeypatch.setattr("paragon_plugin.scheduling.step_balance.DynamicLossScheduler", Watched)
    return Watched.told


def tapped(
    losses: Mapping[str, float],
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    options: Mapping[str, Any] = OPTIONS,
    **settings: Any,
) -> tuple[nn.Module, torch.optim.Optimizer, LossBalance]:
    net = network()
    own = optimizer(net.parameters(), lr=1e-2)
    balance = LossBalance(losses, options, total_iter=1000, network=net, **settings)
    balance.ride_with(own)
    return net, own, balance


def norm(gradient: Tensor) -> float:
    """n_i, on its own."""
    return sum(math.sqrt(sum(v * v for v in sample.flatten().tolist())) for sample in gradient) / len(gradient)


def optimizer_state(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    states = optimizer.state_dict()["state"]
    return [v.clone() for state in states.values() for v in state.values() if isinstance(v, Tensor)]


# -- one name on one output, several times -----------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 2])
def test_one_name_tapped_twice_adds_up(parts: int, told: list[Any]) -> None:
    net, optimizer, balance = tapped(LOSSES, parts=parts)
    ours, twin = [], network()
    expected = {"l1": 0.0, "mse": 0.0}
    for number in range(parts):
        x, gt = batch(number)
        y = net(x)
        twice = (balance.tap("mse", y) - gt).square().mean() + (balance.tap("mse", y) - gt / 2).square().mean()
        (((balance.tap("l1", y) - gt).abs().mean() + 40 * twice) / parts).backward()
        y = twin(x)
        l1, mse = (y - gt).abs().mean(), 40 * ((y - gt).square().mean() + (y - gt / 2).square().mean())
        for name, loss in {"l1": l1, "mse": mse}.items():
            (g,) = torch.autograd.grad(loss, y, retain_graph=True)
            expected[name] += norm(g) / parts / parts
        ((l1 + mse) / parts).backward()
    ours = gradients(net)
    optimizer.step()
    assert distance(ours, gradients(twin)) < 1e-6
    ((_, readings),) = told
    for name, value in expected.items():
        assert readings[name].gradient_norm == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("form", FORMS)
def test_norms_and_values_are_those_of_the_whole_batch(form: Form, parts: int, told: list[Any]) -> None:
    run = Run(form, LOSSES, parts=parts)
    x, gt = batch(1, samples=6)
    y = run.net(x)
    expected = {name: LOSSES[name] * CRITERIA[name](y, gt) for name in LOSSES}
    norms = {name: norm(torch.autograd.grad(loss, y, retain_graph=True)[0]) for name, loss in expected.items()}
    run.optimizer.zero_grad()
    for xs, gts in zip(x.chunk(parts), gt.chunk(parts), strict=True):
        y = run.net(xs)
        losses = run.losses(y, gts, list(LOSSES), tapped=form == "taps")
        if form == "backward":
            run.balance.backward(losses, y)
        else:
            for name, loss in losses.items():
                run.balance.note_value(name, loss)
            ((losses["l1"] + 40 * losses["mse"]) / parts).backward()
    run.optimizer.step()
    ((_, readings),) = told
    for name in LOSSES:
        assert readings[name].gradient_norm == pytest.approx(norms[name], rel=1e-5)
        assert readings[name].value == pytest.approx(float(expected[name].detach()), rel=1e-5)
        assert run.balance.log()[f"losses/l_{name}"] == pytest.approx(float(expected[name].detach()), rel=1e-5)


# -- a step that is left out -------------------------------------------------------------------------------------------


def nan_value(loss: Tensor) -> Tensor:
    """The value is NaN, the gradient is finite."""
    return loss + math.nan


def nan_gradient(loss: Tensor) -> Tensor:
    """The value is finite, the gradient is NaN."""
    return loss + 0 * (loss - loss.detach()).abs().sqrt()


def everything_nan(loss: Tensor) -> Tensor:
    return loss * math.nan


def infinite(loss: Tensor) -> Tensor:
    return loss * math.inf


SPOILT = {f.__name__: f for f in (nan_value, nan_gradient, everything_nan, infinite)}


def scheduler_state(balance: LossBalance) -> dict[str, Any]:
    """Without the counters of what is not finite."""
    state = balance.state_dict()
    scheduler = {key: value for key, value in state["scheduler"].items() if not key.startswith("nonfinite")}
    return {"scheduler": scheduler, "held": state["held"], "first_shares": state["first_shares"]}


@pytest.mark.parametrize("spoil", SPOILT)
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_that_is_left_out_changes_nothing(
    optimizer: str, form: Form, parts: int, scaled: bool, spoil: str
) -> None:
    scaler = torch.amp.GradScaler("cpu") if scaled else None
    run = Run(form, LOSSES, parts=parts, scaler=scaler, optimizer=OPTIMIZERS[optimizer])
    run.run(1, 7)
    before = weights(run.net), optimizer_state(run.optimizer), scheduler_state(run.balance)
    assert not run.balance.skipped
    for number in (8, 9):
        run.step(number, spoil=SPOILT[spoil])
        assert run.balance.skipped
        assert same(weights(run.net), before[0])
        assert scheduler_state(run.balance) == before[2]
        assert same(optimizer_state(run.optimizer), before[1])
    run.step(10)
    assert not run.balance.skipped
    assert not same(weights(run.net), before[0])
    assert scheduler_state(run.balance) != before[2]
    assert run.balance.iteration == 10


@pytest.mark.parametrize("spoil", SPOILT)
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_too_many_in_a_row_stop_the_run(form: Form, parts: int, spoil: str) -> None:
    run = Run(form, LOSSES, parts=parts, options={**OPTIONS, "max_nonfinite_steps": 3}).run(1, 3)
    run.step(4, spoil=SPOILT[spoil])
    run.step(5, spoil=SPOILT[spoil])
    run.step(6)
    run.step(7, spoil=SPOILT[spoil])
    run.step(8, spoil=SPOILT[spoil])
    with pytest.raises(NonFiniteLossError, match="l1"):
        run.step(9, spoil=SPOILT[spoil])


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_overflows_without_end_stop_the_run(form: Form, fused: bool) -> None:
    run = Run(
        form,
        LOSSES,
        scaler=torch.amp.GradScaler("cpu"),
        optimizer=lambda p, lr: torch.optim.Adam(p, lr=lr, fused=fused),
    ).run(1, 3)

    def train() -> None:
        for number in range(4, 60):
            run.step(number, spoil=nan_gradient)

    with pytest.raises(NonFiniteLossError, match="in a row"):
        train()


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("spoil", SPOILT)
def test_backward_says_whether_the_step_counts(spoil: str, scaled: bool) -> None:
    net = network()
    scaler = torch.amp.GradScaler("cpu") if scaled else None
    balance = LossBalance(LOSSES, OPTIONS, total_iter=99, network=net, scaler=scaler)
    x, gt = batch(1)
    for spoilt in (False, True):
        y = net(x)
        values = {name: CRITERIA[name](y, gt) for name in LOSSES}
        values["mse"] = SPOILT[spoil](values["mse"]) if spoilt else values["mse"]
        assert balance.backward(values, y) is not spoilt


def test_a_loss_without_a_value_overflows_like_any_other() -> None:
    """A fused optimizer is called on an overflow; ten of them are no ten losses that are NaN."""
    scaler = torch.amp.GradScaler("cpu")
    options = {**OPTIONS, "max_nonfinite_steps": 3}
    net, optimizer, balance = tapped(LOSSES, OPTIMIZERS["fused adam"], options, scaler=scaler)
    for number in range(1, 9):
        x, gt = batch(number)
        optimizer.zero_grad()
        scaler.scale(sum(map(nan_gradient, l1_and_mse(balance, net(x), gt)), torch.zeros(()))).backward()
        scaler.step(optimizer)
        scaler.update()
        assert balance.skipped
    assert balance.state_dict()["scheduler"]["nonfinite_total"] == 0


def test_others_that_are_not_finite_are_let_through_by_one_that_observes() -> None:
    net = network()
    balance = LossBalance(LOSSES, {**OPTIONS, "observe": True}, total_iter=99, network=net)
    x, gt = batch(1)
    y = net(x)
    others = math.nan * next(net.parameters()).sum()
    assert balance.backward({name: CRITERIA[name](y, gt) for name in LOSSES}, y, others=others)
    assert next(net.parameters()).grad is not None
    assert balance.weights() == LOSSES


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scaled", [False, True])
def test_one_that_observes_lets_a_value_pass_that_is_nan(form: Form, scaled: bool) -> None:
    """As the plain sum does: its gradient is finite."""
    settings: dict[str, Any] = {"scaler": torch.amp.GradScaler("cpu") if scaled else None}
    run = Run(form, LOSSES, options={"enabled": True, "observe": True}, **settings)
    expected = run.gradient_of_the_sum(1, dict.fromkeys(LOSSES, 1.0), 65536.0 if scaled else 1.0)
    before = weights(run.net)
    run.step(1, spoil=nan_value)
    assert same(run.seen, expected)
    assert not same(weights(run.net), before)


@pytest.mark.parametrize("form", FORMS)
def test_one_that_observes_never_ends_a_training(form: Form) -> None:
    run = Run(form, LOSSES, options={"enabled": True, "observe": True, "max_nonfinite_steps": 2})
    for number in range(1, 8):
        run.step(number, spoil=nan_value)


@pytest.mark.parametrize("scaled", [False, True])
def test_others_that_are_not_finite_leave_the_step_out(scaled: bool) -> None:
    net = network()
    scaler = torch.amp.GradScaler("cpu") if scaled else None
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    balance = LossBalance(LOSSES, OPTIONS, total_iter=99, network=net, scaler=scaler)

    def step(number: int, factor: float) -> bool:
        x, gt = batch(number)
        optimizer.zero_grad()
        y = net(x)
        others = factor * sum((p.square().sum() for p in net.parameters()), torch.zeros(()))
        went = balance.backward({name: CRITERIA[name](y, gt) for name in LOSSES}, y, others=others)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        return went

    assert step(1, 1e-4)
    before = weights(net)
    assert not step(2, math.nan)
    assert balance.skipped
    assert same(weights(net), before)
    assert step(3, 1e-4)
    assert not same(weights(net), before)


@pytest.mark.parametrize("form", FORMS)
def test_a_scaler_that_is_not_enabled_is_none(form: Form) -> None:
    run = Run(form, LOSSES, scaler=torch.amp.GradScaler("cpu", enabled=False)).run(1, 5)
    plain = Run(form, LOSSES).run(1, 5)
    assert same(weights(run.net), weights(plain.net))
    before = weights(run.net)
    run.step(6, spoil=nan_gradient)  # nobody else would leave it out
    assert run.balance.skipped
    assert same(weights(run.net), before)


# -- overflows under a scaler ------------------------------------------------------------------------------------------


def overflowing(run: Run, number: int) -> None:
    """A step whose gradients on the output are finite, and overflow inside the network."""
    hook = next(run.net.parameters()).register_hook(lambda gradient: gradient * math.inf)
    run.step(number)
    hook.remove()


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("ride", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_an_overflow_inside_the_network_teaches_nothing(form: Form, ride: bool, parts: int, fused: bool) -> None:
    scaler = torch.amp.GradScaler("cpu")
    run = Run(
        form,
        LOSSES,
        parts=parts,
        scaler=scaler,
        ride=ride,
        optimizer=lambda p, lr: torch.optim.Adam(p, lr=lr, fused=fused),
    )
    run.run(1, 7)
    before = weights(run.net), optimizer_state(run.optimizer), scheduler_state(run.balance)
    overflowing(run, 8)
    assert run.balance.skipped
    assert same(weights(run.net), before[0])
    assert scheduler_state(run.balance) == before[2]
    overflowing(run, 9)
    assert same(weights(run.net), before[0])
    run.step(10)
    assert not run.balance.skipped
    assert not same(weights(run.net), before[0])
    assert scheduler_state(run.balance) != before[2]
    assert run.balance.iteration == 10


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize("parts", [1, 2])
def test_infinite_norms_of_an_overflow_do_not_mix_with_the_next(parts: int, set_to_none: bool, told: list[Any]) -> None:
    scaler = torch.amp.GradScaler("cpu")
    run = Run("taps", LOSSES, parts=parts, scaler=scaler)
    zero = run.optimizer.zero_grad
    run.optimizer.zero_grad = lambda set_to_none=set_to_none: zero(set_to_none)
    run.run(1, 3)
    run.step(4, spoil=nan_gradient)
    run.step(5)
    assert [iteration for iteration, _ in told] == [1, 2, 3, 5]
    twin = Run("taps", LOSSES, parts=parts, scaler=torch.amp.GradScaler("cpu")).run(1, 3)
    twin.step(5)
    assert told[3][1]["mse"].gradient_norm == pytest.approx(told[-1][1]["mse"].gradient_norm, rel=1e-6)


def test_a_loop_that_leaves_its_step_out_is_not_mixed_with_the_next(told: list[Any]) -> None:
    """Without a scaler: the loop looks at its own loss and goes on to the next batch."""
    net, optimizer, balance = tapped(LOSSES)
    balance_steps = 0
    for number in range(6):
        x, gt = batch(number)
        optimizer.zero_grad()
        y = net(x)
        total = (balance.tap("l1", y) - gt).abs().mean() + 40 * (balance.tap("mse", y) - gt).square().mean()
        total.backward()
        if number == 2:
            continue
        optimizer.step()
        balance_steps += 1
    assert [sorted(readings) for _, readings in told] == [["l1", "mse"]] * 6  # at the gate each was decided on
    assert [iteration for iteration, _ in told] == [1, 2, 3, 4, 5, 6]
    assert balance.iteration == 6


# -- one decision per optimizer step -----------------------------------------------------------------------------------


def l1_and_mse(balance: LossBalance, y: Tensor, gt: Tensor) -> tuple[Tensor, Tensor]:
    return (balance.tap("l1", y) - gt).abs().mean(), 40 * (balance.tap("mse", y) - gt).square().mean()


def three_parts_undeclared(net: nn.Module, balance: LossBalance, number: int) -> None:
    for part in range(3):
        x, gt = batch(3 * number + part)
        (sum(l1_and_mse(balance, net(x), gt), torch.zeros(())) / 3).backward()


def interleaved_outputs(net: nn.Module, balance: LossBalance, number: int) -> None:
    (x, gt), (other_x, other_gt) = batch(2 * number), batch(2 * number + 1)
    first, second = net(x), net(other_x)
    ours, theirs = l1_and_mse(balance, first, gt), l1_and_mse(balance, second, other_gt)
    sum(theirs, torch.zeros(())).backward()
    sum(ours, torch.zeros(())).backward()


def one_after_the_other(net: nn.Module, balance: LossBalance, number: int) -> None:
    x, gt = batch(number)
    l1, mse = l1_and_mse(balance, net(x), gt)
    l1.backward(retain_graph=True)
    mse.backward()


def each_when_it_is_there(net: nn.Module, balance: LossBalance, number: int) -> None:
    x, gt = batch(number)
    y = net(x)
    (balance.tap("l1", y) - gt).abs().mean().backward(retain_graph=True)
    (40 * (balance.tap("mse", y) - gt).square().mean()).backward()


def weights_from_the_last_layer(net: nn.Module, balance: LossBalance, number: int) -> None:
    x, gt = batch(number)
    l1, mse = l1_and_mse(balance, net(x), gt)
    last = list(net.parameters())[-1]
    for loss in (l1, mse):
        torch.autograd.grad(loss, last, retain_graph=True)
    (l1 + mse).backward()


SHAPES = (
    three_parts_undeclared,
    interleaved_outputs,
    one_after_the_other,
    each_when_it_is_there,
    weights_from_the_last_layer,
)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_is_decided_on_once_and_learns_all_its_losses(
    shape: Callable[[nn.Module, LossBalance, int], None], told: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    net, optimizer, balance = tapped(LOSSES)
    for number in range(12):
        optimizer.zero_grad()
        shape(net, balance, number)
        optimizer.step()
    assert [iteration for iteration, _ in told] == list(range(1, 13))
    assert all(sorted(readings) == ["l1", "mse"] for _, readings in told[1:])
    assert (balance.factor("l1"), balance.factor("mse")) != (1, 1)
    assert "different tensors" not in caplog.text


@pytest.mark.parametrize("shape", SHAPES)
def test_every_gradient_of_a_step_carries_factors_of_one_decision(
    shape: Callable[[nn.Module, LossBalance, int], None],
) -> None:
    net, optimizer, balance = tapped(LOSSES)
    for number in range(8):
        optimizer.zero_grad()
        shape(net, balance, number)
        optimizer.step()
    optimizer.zero_grad()
    held = {name: balance.factor(name) for name in LOSSES}
    twin = network()
    twin.load_state_dict(net.state_dict())
    shape(net, balance, 8)
    found = gradients(net)
    optimizer.step()
    assert balance.last_step is not None
    errors: list[float] = []
    for factors in (held, balance.last_step.factors):
        twin.zero_grad()
        shape(twin, Fixed(factors), 8)
        errors.append(distance(found, gradients(twin)))
    assert min(errors) < 1e-6


def test_several_outputs_with_the_same_losses_are_no_different_tensors(caplog: pytest.LogCaptureFixture) -> None:
    """Two outputs in each of two parts, or a loss in one of two parts alone."""
    net, optimizer, balance = tapped(LOSSES, parts=2)
    for number in range(4):
        interleaved_outputs(net, balance, 2 * number)
        interleaved_outputs(net, balance, 2 * number + 1)
        optimizer.step()
        optimizer.zero_grad()
        sum(l1_and_mse(balance, net(batch(number)[0]), batch(number)[1]), torch.zeros(())).backward()
        (balance.tap("l1", net(batch(number)[0])) - batch(number)[1]).abs().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert balance.iteration == 8
    assert "different tensors" not in caplog.text


class Fixed(LossBalance):
    """Weighs by given factors."""

    def __init__(self, factors: Mapping[str, float]):
        super().__init__(LOSSES, {"enabled": False}, total_iter=9, size="nano")
        self.factors = factors

    def tap(self, name: str, output: Tensor) -> Tensor:
        return Scaled.through(output, self.factors[name])


class Scaled(torch.autograd.Function):
    """The identity, its gradient multiplied."""

    @staticmethod
    def through(output: Tensor, factor: float) -> Tensor:
        result = Scaled.apply(output, factor)
        assert isinstance(result, Tensor)
        return result

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        y, ctx.factor = arguments
        return y.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gradients[0] * ctx.factor, None


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.LBFGS])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_step_that_calls_back_for_its_gradients_is_decided_on_after_them(
    make: Callable[..., torch.optim.Optimizer], parts: int, told: list[Any]
) -> None:
    net, optimizer, balance = tapped(LOSSES, make, parts=parts)

    def closure(number: int, factor: float) -> float:
        optimizer.zero_grad()
        for part in range(parts):
            x, gt = batch(number + 100 * part)
            total = factor * sum(l1_and_mse(balance, net(x), gt), torch.zeros(())) / parts
            total.backward()
        return 0.0

    for number in range(1, 7):
        optimizer.step(lambda number=number: closure(number, 1.0))
        assert not balance.skipped
    assert [iteration for iteration, _ in told] == [1, 2, 3, 4, 5, 6]
    before = weights(net)
    optimizer.step(closure=lambda: closure(7, math.nan))
    assert balance.skipped
    assert same(weights(net), before)


# -- edits in place ----------------------------------------------------------------------------------------------------


def clamped_in_place(y: Tensor, gt: Tensor) -> Tensor:
    return (y.clamp_(0.2, 0.8) - gt).abs().mean()


@pytest.mark.parametrize("parts", [1, 2])
def test_a_criterion_may_edit_its_input(parts: int) -> None:
    """It sees a copy: what it edits, the others do not see."""
    criteria = {"l1": CRITERIA["l1"], "mse": clamped_in_place}
    run = Run("taps", LOSSES, parts=parts, criteria=criteria, options={"enabled": True, "observe": True})
    run.step(1)
    outside = {"l1": CRITERIA["l1"], "mse": lambda y, t: clamped_in_place(y.clone(), t)}
    twin = Run("backward", LOSSES, parts=parts, criteria=outside, options={"enabled": False})
    twin.step(1)
    assert same(run.seen, twin.seen)


@pytest.mark.parametrize("parts", [1, 2])
def test_a_loop_may_edit_the_output_between_two_losses(parts: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    net, optimizer, balance = tapped(LOSSES, options={"enabled": True, "observe": True}, parts=parts)
    twin = network()
    for number in range(parts):
        x, gt = batch(number)
        for own, tap in ((net, balance.tap), (twin, lambda _name, y: y)):
            y = own(x)
            l1 = (tap("l1", y) - gt).abs().mean()
            y.clamp_(0.2, 0.8)
            mse = 40 * (tap("mse", y) - gt).square().mean()
            ((l1 + mse) / parts).backward()
    assert distance(gradients(net), gradients(twin)) < 1e-6
    optimizer.step()
    assert "different tensors (l1 | mse)" in caplog.text or "different tensors (mse | l1)" in caplog.text


# -- second gradients --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("loss", ["l1", "mse"])
def test_second_gradients_are_refused(loss: str, parts: int) -> None:
    net, _, balance = tapped(LOSSES, parts=parts)
    x, gt = batch(1)
    value = CRITERIA[loss](balance.tap(loss, net(x)), gt)
    with pytest.raises(RuntimeError, match=f"gradient of {loss} .*create_graph"):
        torch.autograd.grad(value, list(net.parameters()), create_graph=True)


# -- taps that nothing comes back to -----------------------------------------------------------------------------------


def as_a_leaf(net: nn.Module, balance: LossBalance, x: Tensor, gt: Tensor) -> None:
    y = net(x).detach().requires_grad_()
    (balance.tap("l1", y) - gt).abs().mean().backward()


def as_inference(net: nn.Module, balance: LossBalance, x: Tensor, gt: Tensor) -> None:
    with torch.inference_mode():
        y = net(x)
    (balance.tap("l1", y) - gt).abs().mean()


def checkpointed(net: nn.Module, balance: LossBalance, x: Tensor, gt: Tensor) -> None:
    y = net(x)
    loss = checkpoint(lambda y: (balance.tap("l1", y) - gt).abs().mean(), y, use_reentrant=True)
    assert isinstance(loss, Tensor)
    loss.backward()


def never_back(net: nn.Module, balance: LossBalance, x: Tensor, gt: Tensor) -> None:
    (balance.tap("l1", net(x)) - gt).abs().mean()


def trains_itself(net: nn.Module, balance: LossBalance, x: Tensor, _gt: Tensor) -> None:
    judge = nn.Conv2d(3, 1, 3)
    balance.tap_input("l1", judge)
    judge(net(x)).mean().backward()


@pytest.mark.parametrize("loop", [as_a_leaf, as_inference, checkpointed, never_back, trains_itself])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_loss_that_is_never_heard_of_is_told_once(
    loop: Callable[..., None], parts: int, caplog: pytest.LogCaptureFixture
) -> None:
    net, optimizer, balance = tapped({"l1": 1.0}, parts=parts)
    for number in range(SILENT_STEPS + 20):
        optimizer.zero_grad()
        loop(net, balance, *batch(number, samples=1))
        optimizer.step()
        if number == SILENT_STEPS - 2:
            assert "sent no gradient back" not in caplog.text
    assert caplog.text.count("l1 was evaluated 100 times and sent no gradient back") == 1


def test_nothing_is_told_of_a_loss_that_is_not_scheduled(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", logger="paragon_plugin")
    for weight, off in ((0.0, "0"), (1.0, "1")):
        monkeypatch.setenv("PARAGON_DISABLE", off)
        net, _, balance = tapped({"l1": weight})
        judge = nn.Conv2d(3, 1, 3)
        balance.tap_input("l1", judge)
        for _ in range(SILENT_STEPS + 1):
            judge(net(batch(1, samples=1)[0]))
    assert caplog.text == ""


def test_a_loss_that_is_heard_of_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    run = Run("taps", {"l1": 1.0, "mse": 1.0})
    for number in range(SILENT_STEPS + 5):
        run.step(number, ["l1"] if number % 50 else ["l1", "mse"])
    assert "no gradient" not in caplog.text


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("keep", [False, True])
def test_the_graph_of_an_output_dies_with_it(parts: int, back: bool, keep: bool) -> None:
    net, optimizer, balance = tapped(LOSSES, parts=parts)
    activations: list[weakref.ref[Tensor]] = []
    net[1].register_forward_hook(  # pyright: ignore[reportIndexIssue]
        lambda _, __, result: activations.append(weakref.ref(result))
    )

    def look(number: int) -> None:
        x, gt = batch(number)
        y = net(x)
        total = sum(l1_and_mse(balance, y, gt), torch.zeros(()))
        if back:
            total.backward()
        if keep:
            optimizer.step()

    gc.collect()
    gc.disable()
    try:
        for number in range(2 * parts):
            look(number)
    finally:
        gc.enable()
    assert [activation() for activation in activations] == [None] * len(activations)


def test_an_output_that_is_only_looked_at_does_not_disturb_the_next(told: list[Any]) -> None:
    """A validation with gradients on, its output kept by the loop."""
    net, optimizer, balance = tapped(LOSSES)
    kept = None
    for number in range(6):
        if number % 2:
            x, gt = batch(50 + number)
            kept = net(x)
            l1_and_mse(balance, kept, gt)
        x, gt = batch(number)
        optimizer.zero_grad()
        y = net(x)
        sum(l1_and_mse(balance, y, gt), torch.zeros(())).backward()
        optimizer.step()
    assert kept is not None
    assert [iteration for iteration, _ in told] == [1, 2, 3, 4, 5, 6]
    assert balance.iteration == 6


# -- discriminators and modules ----------------------------------------------------------------------------------------


class Judge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(9)
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Conv2d(4, 1, 3))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)

    def forward(self, image: Tensor, condition: Tensor | None = None) -> Tensor:  # noqa: ARG002
        return self.layers(image)


def adversarial_steps(
    count: int,
    *,
    freeze: bool,
    see: Callable[[Tensor], Tensor] = lambda y: y,
    call: Callable[[nn.Module, Tensor], Tensor] = lambda judge, y: judge(y),
    penalty: bool = False,
) -> LossBalance:
    """A generator's and a discriminator's turns, the losses tapped from outside."""
    net, optimizer, balance = tapped(GAN)
    judge, pixel = Judge(), nn.L1Loss()
    optimizer_d = torch.optim.Adam(judge.parameters(), lr=1e-3)
    balance.tap_input("l1", pixel)
    balance.tap_input("gan", judge)
    for number in range(1, count + 1):
        x, gt = batch(number)
        judge.requires_grad_(not freeze)
        optimizer.zero_grad()
        y = net(x)
        total = pixel(y, gt) + 0.5 * functional.softplus(-call(judge, see(y))).mean()
        total.backward()
        optimizer.step()
        judge.requires_grad_(True)
        optimizer_d.zero_grad()
        loss = functional.softplus(-judge(gt)).mean() + functional.softplus(judge(y.detach())).mean()
        if penalty:
            real = 0.9 * gt.clone().requires_grad_() + 0.01  # augmented: no leaf, and with a graph
            (slope,) = torch.autograd.grad(judge(real).sum(), real, create_graph=True)
            loss = loss + slope.square().mean()
        loss.backward()
        optimizer_d.step()
    return balance


def test_a_frozen_discriminator_is_tapped(told: list[Any]) -> None:
    balance = adversarial_steps(8, freeze=True)
    assert [sorted(readings) for _, readings in told] == [["gan", "l1"]] * 8
    assert balance.factor("gan") > 0
    assert "losses/l_gan" not in balance.log()  # what it returns is no loss
    assert balance.log()["losses/l_l1"] > 0


def test_a_discriminator_that_is_not_frozen_is_tapped_on_an_output_that_is_known(told: list[Any]) -> None:
    adversarial_steps(4, freeze=False)
    assert [sorted(readings) for _, readings in told] == [["gan", "l1"]] * 4


@pytest.mark.parametrize("freeze", [True, False])
def test_a_gradient_penalty_is_not_tapped(freeze: bool, told: list[Any]) -> None:
    """It would raise: it differentiates twice."""
    adversarial_steps(5, freeze=freeze, penalty=True)
    assert [sorted(readings) for _, readings in told] == [["gan", "l1"]] * 5


@pytest.mark.parametrize(
    "see", [lambda y: y.double().float(), lambda y: y.flip(-1)], ids=["another precision", "augmented"]
)
def test_a_discriminator_that_sees_a_derived_tensor_is_measured_there_and_told_of(
    see: Callable[[Tensor], Tensor], told: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """One decision a step with both losses, held; once it is said that the tensors differ."""
    balance = adversarial_steps(8, freeze=True, see=see)
    assert [iteration for iteration, _ in told] == list(range(1, 9))
    assert [sorted(readings) for _, readings in told] == [["gan", "l1"]] * 8
    assert balance.factor("gan") > 0
    assert caplog.text.count("Losses are measured on different tensors") == 1
    assert "l1" in caplog.text
    assert "gan" in caplog.text


@pytest.mark.parametrize(
    "call",
    [
        lambda judge, y: judge(image=y),
        lambda judge, y: judge(condition=torch.zeros(1), image=y),
        lambda judge, y: judge(y, torch.zeros(1)),
    ],
    ids=["by keyword", "by a later keyword", "with a condition"],
)
def test_an_input_may_come_by_keyword(call: Callable[[nn.Module, Tensor], Tensor], told: list[Any]) -> None:
    adversarial_steps(3, freeze=True, call=call)
    assert [sorted(readings) for _, readings in told] == [["gan", "l1"]] * 3


class Turned(nn.Module):
    """The target comes first, and the result in one of several dresses."""

    def __init__(self, dress: Callable[[Tensor], Any]):
        super().__init__()
        self.dress = dress

    def forward(self, target: Tensor, output: Tensor) -> Any:
        return self.dress((output - target).abs().mean())


@pytest.mark.parametrize(
    "dress",
    [
        lambda loss: loss,
        lambda loss: {"a": loss / 4, "b": loss * 3 / 4, "map": loss.expand(2), "text": "x", "log": loss.detach()},
        lambda loss: (loss / 2, loss / 2, None),
    ],
    ids=["a scalar", "a dict", "a tuple"],
)
@pytest.mark.parametrize("parts", [1, 2])
def test_results_of_a_module_are_noted_as_its_value(dress: Callable[[Tensor], Any], parts: int) -> None:
    net, optimizer, balance = tapped({"l1": 2.0}, parts=parts)
    criterion = Turned(dress)
    remove = balance.tap_input("l1", criterion)
    expected, (x, gt) = 0.0, batch(0)
    for part in range(parts):
        x, gt = batch(part)
        y = net(x)
        criterion(gt, y)
        loss = (balance.tap("l1", y) - gt).abs().mean()
        expected += 2 * float(loss.detach()) / parts
        (2 * loss / parts).backward()
    optimizer.step()
    assert balance.log()["losses/l_l1"] == pytest.approx(expected, rel=1e-6)
    remove()
    y = net(x)
    assert criterion(gt, y) is not None
    (2 * (balance.tap("l1", y) - gt).abs().mean()).backward()
    optimizer.step()
    assert "losses/l_l1" not in balance.log()


def test_without_gradients_a_tap_is_the_output_itself() -> None:
    net, _, balance = tapped({"l1": 1.0, "mse": 0.0})
    x, _ = batch(1)
    with torch.no_grad():
        y = net(x)
        assert balance.tap("l1", y) is y
    y = net(x)
    assert balance.tap("mse", y) is y
    assert balance.tap("l1", y) is not y
    assert torch.equal(balance.tap("l1", y), y)
