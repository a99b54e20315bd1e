"""An own loop that is interrupted and resumed trains on as if it never was, and the forms of a step decide alike."""

import contextlib
import copy
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from balance_runs import FORMS, OPTIONS, Form, Run, batch, network, same, weights
from golden import step_traces
from torch import nn

from paragon_plugin.scheduling import LossInfo
from paragon_plugin.scheduling.balance import STATE, LossBalance

LOSSES = {"l1": 1.0, "mse": 40.0, "fft": 0.3}


def decisions(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "loss_schedule.jsonl").read_text().splitlines()]


def scaler_of(scaled: bool) -> Any:
    return torch.amp.GradScaler("cpu", growth_interval=5) if scaled else None


@pytest.mark.parametrize("where", ["an own state", "in the optimizer"])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("last", [5, 9])
def test_a_resumed_run_is_the_uninterrupted_one(
    form: Form, parts: int, scaled: bool, where: str, last: int, tmp_path: Path
) -> None:
    """The interruption comes after a step with NaN, whose fate a scaler has decided on by then."""
    riding = where == "in the optimizer"

    def start(folder: Path) -> Run:
        scaler = scaler_of(scaled)
        return Run(form, LOSSES, parts=parts, scaler=scaler, ride=riding, record=folder, log_every=1)

    def train(run: Run, first: int, last: int) -> None:
        for number in range(first, last + 1):
            run.step(number, spoil=(lambda loss: loss * float("nan")) if number == 9 else None)

    whole = start(tmp_path / "whole")
    train(whole, 1, 16)

    run = start(tmp_path / "parts")
    train(run, 1, last)
    saved: dict[str, Any] = {"net": run.net.state_dict(), "optimizer": run.optimizer.state_dict()}
    if not riding:
        saved["balance"] = run.balance.state_dict()
        saved["optimizer"].pop(STATE, None)
    if scaled:
        saved["scaler"] = run.scaler.state_dict()
    torch.save(saved, tmp_path / "state.pt")
    arrived_at = run.balance.weights()
    train(run, last + 1, last + 3)  # these are lost: killed before the next save

    state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed = start(tmp_path / "parts")
    resumed.net.load_state_dict(state["net"])
    resumed.optimizer.load_state_dict(state["optimizer"])
    if not riding:
        resumed.balance.load_state_dict(state["balance"])
    if scaled:
        resumed.scaler.load_state_dict(state["scaler"])
    assert resumed.balance.weights() == arrived_at
    train(resumed, last + 1, 16)

    assert same(weights(resumed.net), weights(whole.net))
    assert resumed.balance.iteration == whole.balance.iteration == 16
    assert resumed.balance.state_dict() == whole.balance.state_dict()
    assert resumed.balance.log() == whole.balance.log()
    assert decisions(tmp_path / "parts") == decisions(tmp_path / "whole")
    assert any(decision["kind"] == "calibrated" for decision in decisions(tmp_path / "whole"))


def test_a_plain_optimizer_ignores_the_state(tmp_path: Path) -> None:
    run = Run("taps", LOSSES).run(1, 8)
    torch.save(run.optimizer.state_dict(), tmp_path / "optimizer.pt")
    state = torch.load(tmp_path / "optimizer.pt", weights_only=True)
    assert STATE in state
    net = network()
    net.load_state_dict(run.net.state_dict())
    plain = torch.optim.Adam(net.parameters(), lr=1.0)
    plain.load_state_dict(state)
    assert STATE not in plain.state_dict()
    for optimizer, own in ((plain, net), (run.optimizer, run.net)):
        optimizer.zero_grad()
        own(batch(1)[0]).mean().backward()
        optimizer.step()
    assert same(weights(net), weights(run.net))


@pytest.mark.parametrize("riding", [False, True])
@pytest.mark.parametrize(
    "change", [{"l1": 2.0, "mse": 40.0, "fft": 0.3}, {"l1": 1.0, "mse": 40.0}, {"l1": 1.0, "mse": 40.0, "ssim": 1.0}]
)
def test_a_state_of_another_recipe_starts_afresh(
    change: dict[str, float], riding: bool, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run("backward", LOSSES, ride=riding).run(1, 12)
    saved = run.optimizer.state_dict()
    net = network()
    balance = LossBalance(change, OPTIONS, total_iter=1000, network=net)
    optimizer = torch.optim.Adam(net.parameters())
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        if riding:
            balance.ride_with(optimizer)
            optimizer.load_state_dict(saved)
        else:
            balance.load_state_dict(run.balance.state_dict())
    assert [record.message for record in caplog.records if "calibration starts afresh" in record.message]
    assert len(caplog.records) == 1
    assert balance.weights() == change


def test_a_state_without_a_balance_starts_afresh(caplog: pytest.LogCaptureFixture) -> None:
    plain = torch.optim.Adam(network().parameters())
    run = Run("taps", LOSSES)
    caplog.clear()
    run.optimizer.load_state_dict(plain.state_dict())
    assert [record.message for record in caplog.records] == [
        "The training state holds no loss scheduler (it was saved without one); calibration starts afresh."
    ]
    run.run(1, 3)
    assert run.balance.iteration == 3


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scaled", [False, True])
def test_a_state_that_is_loaded_in_the_middle_of_a_step_begins_one(form: Form, scaled: bool) -> None:
    """In one process: a loop that goes back to its last good state."""
    run = Run(form, LOSSES, parts=2, scaler=scaler_of(scaled)).run(1, 6)
    state = copy.deepcopy([run.balance.state_dict(), run.net.state_dict(), run.optimizer.state_dict()])
    expected = run.run(7, 9).balance.state_dict()
    x, gt = batch(10)
    y = run.net(x)  # the first of two parts
    if form == "backward":
        run.balance.backward({"l1": (y - gt).abs().mean()}, y)
    else:
        (run.balance.tap("l1", y) - gt).abs().mean().backward()
    run.net.load_state_dict(state[1])
    run.optimizer.load_state_dict(state[2])
    run.balance.load_state_dict(state[0])
    assert run.balance.state_dict() == state[0]
    assert run.run(7, 9).balance.state_dict() == expected


@pytest.mark.parametrize("form", FORMS)
def test_a_state_that_is_loaded_after_a_scaled_step_forgets_it(form: Form) -> None:
    """The fate of that step is not known yet."""
    run = Run(form, LOSSES, scaler=scaler_of(True)).run(1, 6)
    state = copy.deepcopy(run.balance.state_dict())
    run.step(7)
    run.balance.load_state_dict(state)
    assert run.balance.state_dict() == state


def test_the_gate_decides_as_backward_does(tmp_path: Path) -> None:
    runs = {form: Run(form, LOSSES, record=tmp_path / form, log_every=1) for form in FORMS}
    for number in range(1, 61):
        for form, run in runs.items():
            run.step(number, ["l1", "mse"] if number < 10 else None)
            assert run.balance.iteration == number, form
        ours, theirs = (run.balance.log() for run in runs.values())
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-9)
    check_alike(decisions(tmp_path / "backward"), decisions(tmp_path / "taps"))


def check_alike(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Kind, iteration and losses exactly, numbers to 1e-5."""
    assert len(ours) >= 3
    for a, b in zip(ours, theirs, strict=True):
        for key in ("kind", "iteration", "losses"):
            assert a[key] == b[key]
        for key in ("before", "after"):
            assert a[key] == pytest.approx(b[key], rel=1e-5)


BLOCKS: dict[Form, dict[str, Any]] = {
    "backward": step_traces.SCHEDULING,
    "taps": {"enabled": True, "target": "auto", "baseline_iterations": 6},  # taps see no target images
}


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_a_loop_decides_as_the_models_of_basicsr_do(
    form: Form, parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps of tests/golden, once by the models' path and once by an own loop."""
    from paragon_plugin.hosts.basicsr.recipe.recipe import build_recipe
    from paragon_plugin.hosts.basicsr.recipe.step_inputs import StepInputs

    losses = [{key: value for key, value in loss.items() if key != "ramp_iter"} for loss in step_traces.LOSSES]
    monkeypatch.setattr(step_traces, "STEPS", 60)
    monkeypatch.setattr(step_traces, "LOSSES", losses)
    monkeypatch.setattr("tempfile.TemporaryDirectory", lambda: contextlib.nullcontext(tmp_path / "basicsr"))
    traced = step_traces.trace({"accum_iter": parts, "scheduling": BLOCKS[form]})["log"]

    net = step_traces.network()
    recipe = build_recipe({"losses": losses}, {})
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    balance = LossBalance(
        [LossInfo(term.name, term.role, term.weight) for loss in recipe for term in loss.terms],
        BLOCKS[form],
        total_iter=400,
        size="nano",
        parts=parts,
        weights_included=True,
        record=tmp_path / "own",
    )
    balance.ride_with(optimizer)
    rows: list[dict[str, float]] = []
    for iteration in range(1, 61):
        lq = (step_traces.waves(4, 3, 8, 8, pitch=0.01 * iteration) + 1) / 2
        gt = (step_traces.waves(4, 3, 16, 16, pitch=0.02 * iteration) + 1) / 2
        optimizer.zero_grad()
        for part in (slice(first, first + 4 // parts) for first in range(0, 4, 4 // parts)):
            active = [loss for loss in recipe if loss.active(iteration)]
            y = net(lq[part])
            if form == "backward":
                values = {name: value for loss in active for name, value in loss(y, StepInputs(gt[part])).items()}
                balance.backward(values, y, gt=gt[part])
                continue
            total = torch.zeros((), dtype=torch.float64)
            for loss in active:
                ((name, value),) = loss(balance.tap(loss.terms[0].name, y), StepInputs(gt[part])).items()
                balance.note_value(name, value)
                total = total + value / parts
            total.backward()
        optimizer.step()
        rows.append(balance.log())
    check_alike(decisions(tmp_path / "basicsr"), decisions(tmp_path / "own"))
    for ours, theirs in zip(rows, traced, strict=True):
        scalars = {f"losses/{tag}" if tag.startswith("l_") else tag: value for tag, value in theirs.items()}
        assert ours == pytest.approx(scalars, rel=1e-5, abs=1e-9)


def test_two_balances_ride_with_their_own_optimizers() -> None:
    """Two generators, one `LossBalance` each."""
    first, second = Run("taps", LOSSES), Run("taps", {"l1": 1.0, "fft": 1.0}, net=network(3))
    alone = Run("taps", LOSSES).run(1, 10)
    for number in range(1, 11):
        first.step(number)
        second.step(number)
    assert same(weights(first.net), weights(alone.net))
    assert isinstance(first.net, nn.Module)


def test_two_balances_on_one_optimizer_need_two_keys() -> None:
    nets = [network(), network()]
    optimizer = torch.optim.Adam([parameter for net in nets for parameter in net.parameters()], 1e-3)
    balances = [
        LossBalance({"l1": weight, "mse": 1.0}, OPTIONS, total_iter=99, network=net)
        for weight, net in zip((1.0, 2.0), nets, strict=True)
    ]
    balances[0].ride_with(optimizer)
    with pytest.raises(ValueError, match="key="):
        balances[1].ride_with(optimizer)
    balances[1].ride_with(optimizer, key="second")
    for number in range(8):
        optimizer.zero_grad()
        x, gt = batch(number)
        for net, balance in zip(nets, balances, strict=True):
            y = net(x)
            balance.backward({"l1": (y - gt).abs().mean(), "mse": (y - gt).square().mean()}, y)
        optimizer.step()
    state = optimizer.state_dict()
    assert state[STATE] == balances[0].state_dict()
    assert state["second"] == balances[1].state_dict()
    assert balances[0].weights() != balances[1].weights()


@pytest.mark.parametrize("form", FORMS)
def test_a_running_balance_goes_back_to_a_state_before_a_late_loss(form: Form) -> None:
    """And where the state is none of its own, it forgets what it had found."""
    run = Run(form, LOSSES)
    late = {"fft": 9}
    state: dict[str, Any] = {}
    for number in range(1, 17):
        if number == 7:
            state = copy.deepcopy(run.balance.state_dict())
        run.step(number, names=[name for name in LOSSES if number >= late.get(name, 0)])
    run.balance.load_state_dict(state)
    assert set(run.balance.weights()) == set(LOSSES)
    assert not any("fft" in name for name in run.balance.log() if name.startswith("loss_shares"))
    run.step(7, names=["l1", "mse"])
    assert not any("fft" in line for line in run.balance.summary())

    run.balance.load_state_dict({})
    assert run.balance.weights() == LOSSES
