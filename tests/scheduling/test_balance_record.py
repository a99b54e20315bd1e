"""What an own loop leaves behind: its record, the report made from it, and the weights as constants to paste."""

import json
import logging
import re
from pathlib import Path

import pytest
import torch
import yaml
from balance_runs import FORMS, OPTIONS, Form, Run, network

from paragon_plugin.cli.main import main
from paragon_plugin.errors import OptionError
from paragon_plugin.hosts.run_reading import find_run, read_run
from paragon_plugin.report.run_history import RunHistory
from paragon_plugin.scheduling import LossBalance, LossInfo
from paragon_plugin.scheduling.run_record import read_lines

LOSSES = {"l1": 1.0, "mse": 40.0, "vgg": 0.3}


def recorded(
    folder: Path, form: Form, last: int, *, scaled: bool = False, finish: bool = True
) -> tuple[Run, RunHistory]:
    scaler = torch.amp.GradScaler("cpu") if scaled else None
    run = Run(form, LOSSES, record=folder, log_every=2, scaler=scaler).run(1, last)
    if finish:
        run.balance.finish()
    return run, read_run(find_run(str(folder)))


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_run_is_read_back(form: Form, scaled: bool, tmp_path: Path) -> None:
    run, history = recorded(tmp_path / "mine", form, 21, scaled=scaled)
    assert (history.name, history.state, history.iteration, history.total) == ("mine", "finished", 21, 1000)
    assert history.recipe == {"l1": ("pixel", 1.0), "mse": ("pixel", 40.0), "vgg": ("perceptual", 0.3)}
    assert (history.network, history.network_parameters) == ("Sequential", sum(p.numel() for p in run.net.parameters()))
    assert history.scheduled
    assert history.scheduling is not None
    assert history.scheduling.baseline_iterations == 4
    assert {name for name, _, _ in history.parameters} >= {"baseline_iterations", "max_weight"}
    log = run.balance.log()
    for prefix in ("losses/l_", "loss_weights/", "loss_shares/"):
        series = history.under(prefix)
        assert series.keys() == LOSSES.keys()
        for name, points in series.items():
            first = 2 if prefix == "losses/l_" or not scaled else points[0][0]
            assert [iteration for iteration, _ in points] == [*range(first, 21, 2), 21]
            assert points[-1][1] == pytest.approx(log[f"{prefix}{name}"])
    lines = (tmp_path / "mine" / "loss_schedule.jsonl").read_text().splitlines()
    assert [(d.kind, d.iteration, d.reason) for d in history.decisions] == [
        (row["kind"], row["iteration"], row["reason"]) for row in map(json.loads, lines)
    ]
    assert len(lines) >= 3


@pytest.mark.parametrize("form", FORMS)
def test_a_resumed_run_rewinds_its_record(form: Form, tmp_path: Path) -> None:
    whole, expected = recorded(tmp_path / "whole", form, 20)
    run, history = recorded(tmp_path / "run", form, 11, finish=False)
    assert history.state == "running"
    state, net, optimizer = run.balance.state_dict(), run.net.state_dict(), run.optimizer.state_dict()
    state, net = json.loads(json.dumps(state)), {key: value.clone() for key, value in net.items()}
    optimizer = torch.optim.Adam(run.net.parameters()).state_dict() | {
        "state": {k: {n: v.clone() for n, v in s.items()} for k, s in optimizer["state"].items()},
        "param_groups": optimizer["param_groups"],
    }
    run.run(12, 17)  # lost
    resumed = Run(form, LOSSES, record=tmp_path / "run", log_every=2)
    resumed.net.load_state_dict(net)
    optimizer.pop("paragon_loss_balance", None)
    resumed.optimizer.load_state_dict({**optimizer, "paragon_loss_balance": state})
    resumed.balance.load_state_dict(state)
    resumed.run(12, 20)
    resumed.balance.finish()
    history = read_run(tmp_path / "run")
    assert history.state == "finished"
    assert history.resumed_from == [11]
    assert history.series == expected.series
    assert history.decisions == expected.decisions
    assert whole.balance.weights() == resumed.balance.weights()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("finish", [True, False])
def test_a_report_is_made_of_it(form: Form, finish: bool, tmp_path: Path) -> None:
    recorded(tmp_path / "mine", form, 12, finish=finish)
    assert main(["report", str(tmp_path / "mine")]) == 0
    pages = list((tmp_path / "mine").rglob("*.html"))
    assert len(pages) == 1
    page = pages[0].read_text()
    assert "mse" in page
    assert "vgg" in page


def test_a_run_with_scheduling_off_is_recorded_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARAGON_DISABLE", "1")
    _, history = recorded(tmp_path / "mine", "backward", 6)
    assert not history.scheduled
    assert history.state == "finished"
    assert [iteration for iteration, _ in history.series["losses/l_l1"]] == [2, 4, 6]
    assert main(["report", str(tmp_path / "mine")]) == 0


@pytest.mark.parametrize("form", FORMS)
def test_steps_that_are_left_out_are_recorded(form: Form, tmp_path: Path) -> None:
    run = Run(form, LOSSES, record=tmp_path, log_every=1).run(1, 5)
    run.step(6, spoil=lambda loss: loss * float("nan"))
    run.run(7, 8)
    run.balance.finish()
    history = read_run(tmp_path)
    assert [d.iteration for d in history.decisions if d.kind == "nonfinite"] == [6]
    assert run.balance.summary()[-1] == "1 step(s) with NaN or infinity were skipped"


@pytest.mark.parametrize("resumed", [False, True])
def test_an_early_validation_is_kept(resumed: bool, tmp_path: Path) -> None:
    state = recorded(tmp_path, "backward", 5)[0].balance.state_dict() if resumed else {}
    run = Run("backward", LOSSES, record=tmp_path)
    if resumed:
        run.balance.load_state_dict(state)
    run.balance.record_validation("mine", {"psnr": 20.0})
    run.step(6)
    found = [line for line in read_lines(tmp_path) if line["kind"] == "validation"]
    assert [(line["iteration"], line["metrics"]) for line in found] == [(5 if resumed else 0, {"psnr": 20.0})]


def test_a_validation_needs_no_record() -> None:
    Run("backward", LOSSES).balance.record_validation("mine", {"psnr": 20.0})


def test_without_a_record_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Run("backward", LOSSES).run(1, 6).balance.finish()
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_never_begins_leaves_nothing(tmp_path: Path) -> None:
    balance = LossBalance(LOSSES, total_iter=9, network=network(), record=tmp_path / "mine")
    balance.finish()
    assert not (tmp_path / "mine").exists()


def test_the_record_grows_by_a_line_now_and_then(tmp_path: Path) -> None:
    run = Run("backward", LOSSES, record=tmp_path)
    assert run.balance.log_every == 5  # of 1000 iterations
    run.run(1, 12)
    assert [line["iteration"] for line in read_lines(tmp_path) if line["kind"] == "scalars"] == [5, 10]


@pytest.mark.parametrize("names", [list(LOSSES), ["on", "null", "1e5", "a: b", "#c", "l1 loss", "é"]])
def test_the_weights_are_a_block_to_paste(names: list[str]) -> None:
    weights = {name: 10.0 ** (3 * place - 6) for place, name in enumerate(names)}
    options = {**OPTIONS, "target": "baseline"}
    balance = LossBalance({**weights, "off": 0.0, "minus": -2e-7}, options, total_iter=9, network=network())
    block = yaml.safe_load(balance.weights_block())
    assert list(block) == list(balance.weights())
    for name, weight in balance.weights().items():
        assert isinstance(block[name], int | float)
        assert block[name] == pytest.approx(weight, rel=5e-4)


@pytest.mark.parametrize("form", FORMS)
def test_the_weights_arrived_at_are_told(form: Form, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run = Run(form, LOSSES).run(1, 14)
    block = yaml.safe_load(run.balance.weights_block())
    assert block == pytest.approx(run.balance.weights(), rel=5e-4)
    assert block != pytest.approx(LOSSES, rel=5e-4)
    assert run.balance.last_step is not None
    expected = {name: LOSSES[name] * factor for name, factor in run.balance.last_step.factors.items()}
    assert run.balance.weights() == pytest.approx(expected)
    caplog.clear()
    run.balance.finish()
    assert run.balance.weights_block() in caplog.text
    *rows, wished = run.balance.summary()
    assert len(rows) == len(LOSSES)
    assert re.match(
        r"prefer balanced \(the default\): typical is pixel \d+ % and perceptual \d+ %; it changed ", wished
    )


@pytest.mark.parametrize(("role", "limits"), [("adversarial", "2.5 % to 5 %"), ("regularization", "at most 2 %")])
def test_the_closing_lines_say_the_limits(role: str, limits: str) -> None:
    run = Run("backward", LOSSES | {"color": 10.0}, roles={"color": role}).run(1, 14)
    line = next(line for line in run.balance.summary() if line.startswith("color"))
    assert f" now, {limits}; weight" in line


def test_options_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(OptionError, match=r"roles\.l2"):
        LossBalance(LOSSES, total_iter=9, network=network(), roles={"l2": "pixel"})
    with pytest.raises(OptionError, match=r"manual_weights\.l2"):
        LossBalance(LOSSES, {**OPTIONS, "manual_weights": {"l2": 1.0}}, total_iter=9, network=network())
    with pytest.raises(OptionError, match="network"):
        LossBalance(LOSSES, total_iter=9)
    for name, value in (("parts", 0), ("parts", 2.5), ("total_iter", 0), ("total_iter", -5), ("total_iter", "100")):
        with pytest.raises(OptionError, match=rf"{name}: must be a whole number of at least 1"):
            LossBalance(LOSSES, network=network(), **{"total_iter": 9, name: value})  # pyright: ignore[reportArgumentType]
    for weight in (float("nan"), float("inf"), None, "much"):
        with pytest.raises(OptionError, match=r"losses\.l1: its weight must be a finite number"):
            LossBalance({**LOSSES, "l1": weight}, network=network(), total_iter=9)  # pyright: ignore[reportArgumentType]
    with pytest.raises(OptionError, match="unknown option"):
        LossBalance(LOSSES, {"enabled": True, "momentun": 0.9}, total_iter=9, size="nano")
    with pytest.raises(OptionError, match=r"roles\.l1: must be one of pixel, .*, is 'pixels'"):
        LossBalance(LOSSES, total_iter=9, network=network(), roles={"l1": "pixels"})  # type: ignore[dict-item]
    with pytest.raises(OptionError, match=r"size: no ParagonSR2 size 'nan'; did you mean 'nano'\?"):
        LossBalance(LOSSES, total_iter=9, size="nan")
    with pytest.raises(OptionError, match="losses: is empty"):
        LossBalance({}, total_iter=9, size="nano")


@pytest.mark.parametrize("described", [False, True])
def test_weights_and_roles_given_beside_the_losses_win(described: bool) -> None:
    losses = [LossInfo(name, "pixel", weight) for name, weight in LOSSES.items()] if described else LOSSES
    options = {**OPTIONS, "manual_weights": {"l1": 7.0}}
    manual = LossBalance(losses, options, total_iter=9, size=5000, roles={"mse": "structural"})
    assert manual.weights() == {**LOSSES, "l1": 7.0}
    assert manual.losses["mse"].role == "structural"


def test_a_second_run_in_a_folder_begins_afresh(tmp_path: Path) -> None:
    _, first = recorded(tmp_path / "mine", "backward", 21)
    _, second = recorded(tmp_path / "mine", "backward", 3)
    assert first.decisions
    assert (second.iteration, second.decisions) == (3, [])


def test_what_is_no_loss_is_named() -> None:
    balance = LossBalance(LOSSES, total_iter=9, size="nano")
    output = torch.rand(2, 3, 4, 4, requires_grad=True) * 1
    for loss, said in (
        (output.square(), r"l1 must be one number, .*\(2, 3, 4, 4\); take its mean"),
        (0.5, "l1 must be a"),
    ):
        with pytest.raises(ValueError, match=said):
            balance.backward({"l1": loss}, output)  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=r"gt must be images \(B, C, H, W\)"):
        balance.backward({"l1": output.mean()}, output, gt=torch.rand(3))
    scores = torch.rand(5, requires_grad=True) * 1
    assert LossBalance(LOSSES, total_iter=9, size="nano").backward({"l1": scores.mean()}, scores)
