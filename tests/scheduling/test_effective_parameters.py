"""Every cell of the tables: presets, phases, dataset factors, corrections; clamps, caps, manual values, provenance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_runs import block, new_scheduler, readings

from paragon_plugin.scheduling.calibration import Factors, Parameters, effective_parameters, training_phase
from paragon_plugin.scheduling.presets import PRESETS, nearest_size

# momentum, adaptation_rate, max_weight, baseline_iterations
TABLE = {
    "nano": (0.85, 0.015, 5, 50),
    "micro": (0.87, 0.012, 7.5, 75),
    "tiny": (0.89, 0.010, 10, 100),
    "xs": (0.90, 0.009, 15, 125),
    "s": (0.91, 0.008, 20, 150),
    "m": (0.92, 0.007, 30, 200),
    "l": (0.93, 0.006, 50, 250),
    "xl": (0.94, 0.005, 75, 300),
}
PHASES = {"early": (0.9, 0.7, 0.5), "main": (1, 1, 1), "late": (1.02, 1.1, 1.2)}
DATASETS = {None: (1, 1, 1), "simple": (0.95, 1.2, 0.8), "moderate": (1, 1, 1), "complex": (1.05, 0.8, 1.3)}


def effective(size="s", *, total_iter=100_000, phase=None, dataset=None, correction=None, **manual) -> Parameters:
    return effective_parameters(
        PRESETS[size],
        f"preset {size}",
        total_iter=total_iter,
        phase=phase,
        dataset=dataset,
        correction=correction or Factors(),
        manual=block(auto_calibrate=True, **manual),
    )


def test_the_sizes_are_the_eight_of_the_table():
    assert list(PRESETS) == list(TABLE)


@pytest.mark.parametrize("size", TABLE)
def test_presets(size: str):
    p = effective(size)
    assert (p.momentum, p.adaptation_rate, p.max_weight, p.baseline_iterations) == TABLE[size]
    assert (p.min_weight, p.adaptation_threshold) == (1e-6, 0.05)


@pytest.mark.parametrize("size", TABLE)
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("dataset", DATASETS)
def test_phase_and_dataset_factors_multiply_and_are_clamped_once_at_the_end(size, phase, dataset):
    p = effective(size, phase=phase, dataset=dataset)
    momentum, rate, bound, baseline = TABLE[size]
    by_phase, by_data = PHASES[phase], DATASETS[dataset]
    assert p.momentum == pytest.approx(min(0.99, momentum * by_phase[0] * by_data[0]))
    assert p.adaptation_rate == pytest.approx(max(0.001, rate * by_phase[1] * by_data[1]))
    assert p.max_weight == pytest.approx(max(1, bound * by_phase[2] * by_data[2]))
    assert p.baseline_iterations == baseline


def test_xl_on_complex_data_late_in_training_stays_in_range():
    p = effective("xl", phase="late", dataset="complex")  # 0.94 * 1.05 * 1.02 = 1.00674
    assert p.momentum == 0.99
    assert p.provenance["momentum"] == "preset xl x complex dataset 1.05 x late phase 1.02, clamped"
    assert p.adaptation_rate == pytest.approx(0.0044)
    assert p.max_weight == pytest.approx(117)


def test_corrections_multiply_and_clamps_hold():
    p = effective("nano", correction=Factors(1.05, 0.8, 0.7))
    assert (p.momentum, p.adaptation_rate, p.max_weight) == pytest.approx((0.8925, 0.012, 3.5))
    p = effective("nano", correction=Factors(2.0, 1e-3, 1e-3))
    assert (p.momentum, p.adaptation_rate, p.max_weight) == (0.99, 0.001, 1.0)
    assert p.provenance["max_weight"] == "preset nano x stability correction 0.001, clamped"


@given(
    size=st.sampled_from(list(TABLE)),
    phase=st.sampled_from([None, *PHASES]),
    dataset=st.sampled_from(list(DATASETS)),
    factors=st.tuples(*[st.floats(1e-3, 1e3)] * 3),
    total_iter=st.integers(1, 10**7),
)
def test_every_product_is_in_range(size, phase, dataset, factors, total_iter):
    p = effective(size, total_iter=total_iter, phase=phase, dataset=dataset, correction=Factors(*factors))
    assert 0 <= p.momentum <= 0.99
    assert 0.001 <= p.adaptation_rate <= 1
    assert p.max_weight >= 1
    assert p.baseline_iterations >= 10


@pytest.mark.parametrize(
    ("total_iter", "expected"), [(100_000, 150), (3000, 150), (2999, 149), (1000, 50), (400, 20), (199, 10), (1, 10)]
)
def test_a_baseline_takes_at_most_5_percent_of_the_run_and_at_least_10_iterations(total_iter, expected):
    p = effective("s", total_iter=total_iter)
    assert p.baseline_iterations == expected
    assert ("capped at 5% of total_iter" in p.provenance["baseline_iterations"]) == (expected < 150)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("momentum", 0.999),  # manual values are not clamped either
        ("adaptation_rate", 0.0001),
        ("adaptation_threshold", 0.3),
        ("min_weight", 0.01),
        ("max_weight", 1000.0),
        ("baseline_iterations", 77),
    ],
)
def test_manual_values_win_over_everything(option, value):
    given_all = {"total_iter": 100, "phase": "late", "dataset": "complex", "correction": Factors(1.05, 0.8, 0.7)}
    p, computed = effective("m", **given_all, **{option: value}), effective("m", **given_all)
    assert getattr(p, option) == value
    assert p.provenance[option] == "set by the user"
    for other in set(TABLE_NAMES) - {option}:
        assert getattr(p, other) == getattr(computed, other)
        assert p.provenance[other] != "set by the user"


TABLE_NAMES = (
    "momentum",
    "adaptation_rate",
    "adaptation_threshold",
    "min_weight",
    "max_weight",
    "baseline_iterations",
)


@pytest.mark.parametrize(
    ("iteration", "phase"),
    [(1, "early"), (99, "early"), (100, "main"), (799, "main"), (800, "late"), (1000, "late"), (2000, "late")],
)
def test_phases_by_progress(iteration, phase):
    assert training_phase(iteration, 1000) == phase


def test_the_scheduler_goes_through_phases_and_tells_them():
    scheduler = new_scheduler({"l1": "pixel", "vgg": "perceptual"}, total_iter=1000, size="tiny", auto_calibrate=True)
    steps = [scheduler.step(i, readings({"l1": 1.0, "vgg": 1.0})) for i in range(1, 1001)]
    told = {d.iteration: d for step in steps for d in step.decisions if d.kind == "phase"}
    assert list(told) == [100, 800]
    assert told[100].before == pytest.approx({"momentum": 0.801, "adaptation_rate": 0.007, "max_weight": 5})
    assert told[100].after == pytest.approx({"momentum": 0.89, "adaptation_rate": 0.01, "max_weight": 10})
    assert told[800].after == pytest.approx({"momentum": 0.9078, "adaptation_rate": 0.011, "max_weight": 12})
    assert steps[0].parameters.max_weight == 5
    assert steps[-1].parameters.max_weight == pytest.approx(12)


def test_without_auto_calibrate_nothing_depends_on_phase_size_or_data():
    scheduler = new_scheduler({"l1": "pixel"}, total_iter=1000, size="xl", momentum=0.5)
    for iteration in (1, 500, 999):
        p = scheduler.step(iteration, readings({"l1": 1.0})).parameters
        assert (p.momentum, p.adaptation_rate, p.adaptation_threshold) == (0.5, 0.01, 0.1)
        assert (p.min_weight, p.max_weight, p.baseline_iterations) == (1e-6, 100.0, 50)
    assert p.provenance["momentum"] == "set by the user"
    assert p.provenance["adaptation_rate"] == "default"
    assert not scheduler.wants_complexity


def test_the_parameter_table_says_value_and_origin_of_each():
    scheduler = new_scheduler({"l1": "pixel"}, total_iter=1000, size="xs", auto_calibrate=True, min_weight="1e-3")
    lines = scheduler.describe_parameters().splitlines()
    assert [line.split()[0] for line in lines] == list(TABLE_NAMES)
    assert lines[0].split(maxsplit=2)[1:] == ["0.81", "preset xs x early phase 0.9"]
    assert lines[3].split(maxsplit=2)[1:] == ["0.001", "set by the user"]
    assert lines[5].split(maxsplit=2)[1:] == ["50", "preset xs, capped at 5% of total_iter (at least 10)"]


def test_nearest_size_measures_on_a_log_scale():
    sizes = {"nano": 10_000, "s": 1_000_000}
    assert nearest_size(99_000, sizes) == "nano"  # the middle is 100,000 in log, 505,000 in plain numbers
    assert nearest_size(101_000, sizes) == "s"
    assert nearest_size(1, sizes) == "nano"
    assert nearest_size(0, sizes) == "nano"
    assert nearest_size(10**9, sizes) == "s"
