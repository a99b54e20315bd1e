"""ParagonSRModel against BasicSR's own model and against plain autograd, on real photographs."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_parts import batches, build, options_of, train, weights


@pytest.fixture(autouse=True)
def _host(host: None) -> None:
    pass


@pytest.mark.parametrize("block", [None, {"enabled": False, "auto_calibrate": True}])
def test_unscheduled_training_is_the_hosts_own_step_for_step(
    short_options: Callable[..., Path], tmp_path: Path, block: Any
) -> None:
    file = short_options(
        train__losses=...,
        train__pixel_opt={"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
        train__dynamic_loss_scheduling=block,
    )
    data = batches(20)
    ours, theirs = (build(options_of(file, tmp_path), kind) for kind in ("ParagonSRModel", "SRModel"))
    start = weights(ours)
    train(ours, data)
    train(theirs, data)
    for name, value in weights(theirs).items():
        assert torch.equal(weights(ours)[name], value), name
    assert any(not torch.equal(start[name], value) for name, value in weights(ours).items())
    for name, value in theirs.net_g_ema.state_dict().items():
        assert torch.equal(ours.net_g_ema.state_dict()[name], value), name
    assert ours.get_current_log()["l_l1_loss"] == theirs.get_current_log()["l_pix"]


def final_shares(model: Any) -> dict[str, float]:
    return dict(model.losses.balance.last_step.shares)


def test_a_loss_mis_scaled_by_1000_is_pulled_back(short_options: Callable[..., Path], tmp_path: Path) -> None:
    """To the other's share, for equal ones are typical, over half a baseline window to ease in."""
    file = short_options(
        train__losses=[{"type": "L1Loss", "loss_weight": 1.0}, {"type": "FFTLoss", "loss_weight": 50.0}],
        train__total_iter=400,
        train__dynamic_loss_scheduling__baseline_iterations=10,
    )
    model = build(options_of(file, tmp_path))
    train(model, batches(25))
    first, last = model.losses.balance.first_shares, final_shares(model)
    assert first["l1_loss"] < 0.005
    assert last["l1_loss"] == pytest.approx(1 / 2, rel=0.02)
    line = json.loads(
        next(x for x in (tmp_path / "experiments/short/loss_schedule.jsonl").read_text().splitlines() if "l1_loss" in x)
    )
    assert line["kind"] == "calibrated"
    assert line["after"]["calibration"] > 3
    assert "l1_loss gave" in line["reason"]


def test_a_balanced_recipe_is_left_nearly_alone(short_options: Callable[..., Path], tmp_path: Path) -> None:
    # At 32 x 32 patches an FFT loss of weight 0.043 makes about the gradient of L1 with weight 1.
    file = short_options(
        train__losses=[{"type": "L1Loss", "loss_weight": 1.0}, {"type": "FFTLoss", "loss_weight": 0.043}],
        train__total_iter=400,
        train__dynamic_loss_scheduling__baseline_iterations=10,
    )
    model = build(options_of(file, tmp_path))
    train(model, batches(25))
    assert model.losses.balance.first_shares["l1_loss"] == pytest.approx(0.5, abs=0.05)
    for factor in model.losses.balance.last_step.factors.values():
        assert factor == pytest.approx(1.0, abs=0.06)


def test_nan_in_one_loss_skips_the_step_and_then_stops_the_run(
    short_options: Callable[..., Path], tmp_path: Path
) -> None:
    from paragon_plugin.scheduling import NonFiniteLossError

    file = short_options(train__dynamic_loss_scheduling__max_nonfinite_steps=3)
    model = build(options_of(file, tmp_path))
    train(model, batches(5))
    before, averages = weights(model), model.losses.balance.scheduler.state_dict()["signal"]
    ema = {k: v.clone() for k, v in model.net_g_ema.state_dict().items()}
    poisoned = model.losses.recipe[1].criterion
    good = poisoned.loss_weight
    poisoned.loss_weight = float("nan")
    train(model, batches(1), first=6)
    assert all(torch.equal(before[k], v) for k, v in weights(model).items())
    assert all(torch.equal(ema[k], v) for k, v in model.net_g_ema.state_dict().items())
    assert model.losses.balance.scheduler.state_dict()["signal"] == averages
    assert "fft_loss gave NaN" in (tmp_path / "experiments/short/loss_schedule.jsonl").read_text()

    poisoned.loss_weight = good
    train(model, batches(1), first=7)
    assert any(not torch.equal(before[k], v) for k, v in weights(model).items())
    poisoned.loss_weight = float("nan")
    with pytest.raises(NonFiniteLossError, match="fft_loss gave NaN or infinity for 3 steps in a row"):
        train(model, batches(3), first=8)


def test_a_late_loss_joins_at_its_iteration(short_options: Callable[..., Path], tmp_path: Path) -> None:
    file = short_options(train__losses=[{"type": "L1Loss"}, {"type": "FFTLoss", "loss_weight": 0.05, "start_iter": 4}])
    model = build(options_of(file, tmp_path))
    train(model, batches(3))
    assert "l_fft_loss" not in model.get_current_log()
    train(model, batches(1), first=4)
    assert "l_fft_loss" in model.get_current_log()


def test_state_is_saved_and_resumed(short_options: Callable[..., Path], tmp_path: Path) -> None:
    """Interrupted inside the baseline window: the same multipliers and weights as without the interruption."""
    file = short_options(train__dynamic_loss_scheduling__baseline_iterations=8)
    data = batches(24)
    whole = build(options_of(file, tmp_path))
    train(whole, data)

    first = build(options_of(file, tmp_path))
    for folder in ("models", "training_states"):
        Path(first.opt["path"][folder]).mkdir(parents=True, exist_ok=True)
    train(first, data[:5])
    first.save(0, 5)
    options = options_of(file, tmp_path)
    options["path"]["resume_state"] = str(tmp_path / "experiments/short/training_states/5.state")
    from basicsr.train import load_resume_state

    state = load_resume_state(options)
    assert state is not None
    second = build(options)
    second.resume_training(state)
    train(second, data[5:], first=6)
    assert second.losses.balance.scheduler.state_dict() == whole.losses.balance.scheduler.state_dict()
    for name, value in weights(whole).items():
        assert torch.equal(weights(second)[name], value), name


def test_a_training_state_from_before_the_plugin_resumes(
    short_options: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import logging

    logging.getLogger("basicsr").propagate = True
    theirs = build(options_of(short_options(train__pixel_opt={"type": "L1Loss"}), tmp_path), "SRModel")
    ours = build(options_of(short_options(), tmp_path))
    state = {
        "epoch": 0,
        "iter": 5,
        "optimizers": [theirs.optimizer_g.state_dict()],
        "schedulers": [s.state_dict() for s in theirs.schedulers],
    }
    with caplog.at_level("WARNING", logger="basicsr"):
        ours.resume_training(state)
    assert "calibration starts afresh" in caplog.text
    train(ours, batches(2), first=6)


def test_checkpoints_load_in_the_host(short_options: Callable[..., Path], tmp_path: Path) -> None:
    model = build(options_of(short_options(), tmp_path))
    Path(model.opt["path"]["models"]).mkdir(parents=True)
    train(model, batches(2))
    model.save(epoch=-1, current_iter=-1)
    file = tmp_path / "experiments/short/models/net_g_latest.pth"
    other = build(options_of(short_options(train__pixel_opt={"type": "L1Loss"}), tmp_path), "SRModel")
    other.load_network(other.net_g, str(file), True, "params")
    assert all(torch.equal(v, weights(model)[k]) for k, v in weights(other).items())
    other.load_network(other.net_g, str(file), True, "params_ema")
    assert all(torch.equal(v, model.net_g_ema.state_dict()[k]) for k, v in weights(other).items())


def test_a_size_of_version_0_1_is_refused_by_its_version(short_options: Callable[..., Path], tmp_path: Path) -> None:
    from paragon_plugin.errors import OptionError

    model = build(options_of(short_options(), tmp_path))
    file = tmp_path / "old.pth"
    torch.save({"params": {"body.0.blocks.0.context.row.gamma": torch.zeros(2)}}, file)
    with pytest.raises(OptionError, match=r"old\.pth: .* version 0\.1"):
        model.load_network(model.net_g, str(file), False, "params")


def test_a_step_reads_the_device_once(
    short_options: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every way a tensor's value reaches Python is counted: scalars by dispatch, lists and arrays by method."""
    from torch.utils._python_dispatch import TorchDispatchMode

    reads: list[str] = []

    class Scalars(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.ops.aten._local_scalar_dense.default:
                reads.append("scalar")
            return func(*args, **(kwargs or {}))

    for method in ("tolist", "numpy"):
        original = getattr(torch.Tensor, method)
        monkeypatch.setattr(
            torch.Tensor, method, lambda self, *a, f=original, m=method: (reads.append(m), f(self, *a))[1]
        )
    model = build(options_of(short_options(), tmp_path))
    for iteration, batch in enumerate(batches(4), start=1):
        model.feed_data(batch)
        output = model.net_g(model.lq)
        reads.clear()
        model.losses.begin(iteration)
        with Scalars():
            model.losses.backward(output, model.loss_inputs())
        assert reads == ["tolist"]
        model.get_current_log()  # what is logged was read already
        assert reads == ["tolist"]


def test_changed_weights_on_resume_start_a_fresh_calibration(
    short_options: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import logging

    logging.getLogger("basicsr").propagate = True
    first = build(options_of(short_options(), tmp_path))
    train(first, batches(12))
    state = {
        "epoch": 0,
        "iter": 12,
        "optimizers": [first.optimizer_g.state_dict()],
        "schedulers": [s.state_dict() for s in first.schedulers],
        "losses": first.losses.state_dict(),
    }
    changed = short_options(train__losses=[{"type": "L1Loss"}, {"type": "FFTLoss", "loss_weight": 0.5}])
    second = build(options_of(changed, tmp_path))
    with caplog.at_level("WARNING", logger="basicsr"):
        second.resume_training(state)
    assert "options have changed (its recipe was" in caplog.text
    assert second.losses.balance.scheduler.states["fft_loss"].calibrated_at is None


def test_the_decision_log_is_rewound_by_the_first_step_of_a_resumed_run(
    short_options: Callable[..., Path], tmp_path: Path
) -> None:
    """Not by resuming itself: a run that is refused before its first step must change nothing."""
    file = short_options(train__dynamic_loss_scheduling__baseline_iterations=4)
    first = build(options_of(file, tmp_path))
    log = tmp_path / "experiments/short/loss_schedule.jsonl"
    train(first, batches(3))
    state = {
        "epoch": 0,
        "iter": 3,
        "optimizers": [first.optimizer_g.state_dict()],
        "schedulers": [s.state_dict() for s in first.schedulers],
        "losses": first.losses.state_dict(),
    }
    weights = copy.deepcopy(first.net_g.state_dict())
    train(first, batches(6)[3:], first=4)
    before = log.read_text()
    assert '"calibrated"' in before
    second = build(options_of(file, tmp_path))
    second.net_g.load_state_dict(weights)
    second.resume_training(state)
    assert log.read_text() == before
    train(second, batches(6)[3:], first=4)
    assert log.read_text() == before  # decided again, the same
