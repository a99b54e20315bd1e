"""Stability: what an incident is, how often it is told without a cause, cool-down and recovery."""

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
from synthetic_runs import new_scheduler

from paragon_plugin.scheduling import Reading, stability
from paragon_plugin.scheduling.calibration import Factors
from paragon_plugin.scheduling.stability import (
    CORRECTIONS,
    EVIDENCE,
    StabilityMonitor,
    Usual,
    corrected,
    detect_instability,
    growth_evidence,
)

DOUBLE = math.log(2)


def observe(
    monitor: StabilityMonitor, values: Iterable[float | Mapping[str, float]], first: int = 1000
) -> dict[int, Any]:
    """What the monitor answered, by iteration, where it answered."""
    rows = (value if isinstance(value, Mapping) else {"l1": value} for value in values)
    answers = {iteration: monitor.observe(iteration, row) for iteration, row in enumerate(rows, start=first)}
    return {iteration: answer for iteration, answer in answers.items() if answer}


def noise(variation: float, correlation: float, seed: int) -> Iterator[float]:
    """Log-normal losses of mean log 0, of this coefficient of variation and this autocorrelation in log."""
    draw, spread = random.Random(seed), math.sqrt(math.log(1 + variation**2))
    log = draw.gauss(0, spread)
    while True:
        yield math.exp(log)
        log = correlation * log + draw.gauss(0, spread * math.sqrt(1 - correlation**2))


def calm(seed: int = 0) -> Iterator[float]:
    return noise(0.05, 0.0, seed)


def warm(seed: int = 0) -> StabilityMonitor:
    """One that has seen some quiet losses, up to iteration 999."""
    monitor = StabilityMonitor(100_000)
    assert observe(monitor, itertools.islice(calm(seed), 200), first=800) == {}
    return monitor


def usual(deviation: float, correlation: float = 0.0) -> Usual:
    weight = 1e6
    return Usual(weight, weight * deviation**2, correlation * weight * deviation**2)


# -- what an incident is -----------------------------------------------------------------------------------------------


def test_the_corrections_of_the_two_incidents():
    assert CORRECTIONS["exponential_loss_growth"] == Factors(momentum=1.05, adaptation_rate=0.8, max_weight=0.7)
    assert CORRECTIONS["high_loss_variance"] == Factors(momentum=1.03, adaptation_rate=0.9, max_weight=0.8)


@pytest.mark.parametrize(
    ("recent", "deviation", "evidence", "issue"),
    [
        ([0.0] * 15 + [DOUBLE] * 5, 0.1, 1.1 * EVIDENCE, "exponential_loss_growth"),
        ([DOUBLE] * 5, 0.1, 1.1 * EVIDENCE, "exponential_loss_growth"),
        ([0.0] * 15 + [DOUBLE] * 5, 0.1, 0.9 * EVIDENCE, None),  # not enough evidence
        ([0.0] * 20, 0.1, 1.1 * EVIDENCE, None),  # the last five are where they were
        ([DOUBLE] * 4, 0.1, 1.1 * EVIDENCE, None),  # too few
        # ratios e^0.6 and e^-0.6: mean 1.185, deviation 0.637, variation 0.537
        ([0.6, -0.6] * 10, 0.29, 0.0, "high_loss_variance"),
        ([0.6, -0.6] * 10, 0.31, 0.0, None),  # less than twice what is usual
        ([0.5, -0.5] * 10, 0.1, 0.0, None),  # variation 0.462
        ([0.0] * 17 + [3.0] * 2 + [0.0], 0.1, 0.0, None),  # two do not count
        ([0.0] * 16 + [3.0] * 3 + [0.0], 0.1, 0.0, "high_loss_variance"),
        ([0.6, -0.6] * 9, 0.1, 0.0, None),  # too few
        ([9.0] * 80 + [0.0] * 20, 0.1, 0.0, None),  # only the last twenty count
    ],
)
def test_incidents_by_hand(recent, deviation, evidence, issue):
    assert detect_instability(recent, usual(deviation), evidence) == issue


def test_the_evidence_is_a_log_likelihood_ratio_since_the_likeliest_moment():
    """Of independent values: the largest sum of log N(r; log 2, s) - log N(r; 0, s) up to now, or 0."""
    draw, deviation = random.Random(0), 0.9
    values = [draw.uniform(-1.2, 1.5) for _ in range(200)]  # none that adds more than one value may
    gains = [DOUBLE * (value - DOUBLE / 2) / deviation**2 for value in values]
    evidence, found = 0.0, []
    for value in values:
        evidence = growth_evidence(evidence, value, usual(deviation))
        found.append(evidence)
    ends = range(1, len(gains) + 1)
    wanted = [max(0.0, *(math.fsum(gains[start:end]) for start in range(end))) for end in ends]
    assert max(wanted) < 1.5 * EVIDENCE  # where it is cut off
    assert found == pytest.approx(wanted, rel=1e-2, abs=1e-2)  # the deviation has its error of 1e6 values added


def test_the_monitor_asks_the_function_of_that_name(monkeypatch):
    monitor = warm()
    monkeypatch.setattr(stability, "detect_instability", lambda *_: "high_loss_variance")
    assert observe(monitor, [1.0]) == {1000: "high_loss_variance"}


def test_corrections_together_are_never_more_than_three_for_growth():
    correction = Factors()
    for _ in range(200):
        correction = corrected(correction, "exponential_loss_growth")
    assert vars(correction) == pytest.approx(vars(Factors(1.05**3, 0.8**3, 0.7**3)))
    assert corrected(Factors(), "high_loss_variance") == CORRECTIONS["high_loss_variance"]


# -- how often it is right ---------------------------------------------------------------------------------------------


def test_stationary_losses_make_at_most_one_incident_in_10000():
    cells = [(0.1, 0.0), (0.4, 0.0), (0.4, 0.6), (0.6, 0.0), (0.6, 0.6), (0.6, 0.9)]
    incidents = 0
    for seed, (variation, correlation) in enumerate(cells):
        source = noise(variation, correlation, seed)
        answers = observe(StabilityMonitor(100_000), itertools.islice(source, 5500), first=1)
        incidents += sum(answer != "recovered" for answer in answers.values())
    assert incidents <= 3  # in 30,000 monitored iterations


@pytest.mark.parametrize(
    ("variation", "correlation", "within"),
    [(0.1, 0.0, 30), (0.3, 0.3, 30), (0.4, 0.0, 30), (0.2, 0.6, 100), (0.4, 0.6, 100), (0.2, 0.9, 100)],
)
def test_a_doubling_is_found(variation, correlation, within):
    found = 0
    for seed in range(12):
        source, monitor = noise(variation, correlation, 100 + seed), StabilityMonitor(100_000)
        observe(monitor, itertools.islice(source, 1199), first=1)
        answers = observe(monitor, (2 * value for value in itertools.islice(source, within)), first=1200)
        found += "exponential_loss_growth" in answers.values()
    assert found >= 11


def test_a_loss_in_a_wrong_unit_counts_like_any_other():
    """Of two losses the small one doubles tenfold: a sum of values would not show it."""
    for unit in (1e-9, 1.0, 1e9):
        one, other = calm(1), calm(2)
        rows = [{"l1": unit * next(one), "vgg": next(other) * (1 if i < 400 else 8)} for i in range(500)]
        answers = observe(StabilityMonitor(100_000), rows, first=800)
        assert next(iter(answers.values())) == "exponential_loss_growth"
        assert 1200 <= min(answers) <= 1210


def test_a_slow_rise_and_a_slow_fall_are_no_incident():
    for rate in (-1e-3, 3e-4):
        source = noise(0.2, 0.3, 3)
        values = (next(source) * math.exp(rate * iteration) for iteration in range(3000))
        assert observe(StabilityMonitor(100_000), values, first=1) == {}


# -- when it answers ---------------------------------------------------------------------------------------------------


def test_hard_batches_now_and_then_are_no_incident():
    source = calm()
    values = [next(source) * (100 if i in (20, 30, 60, 75) else 1) for i in range(300)]
    assert observe(warm(), values) == {}


def test_a_burst_of_spikes_gives_one_correction():
    source = calm()
    values = [next(source) * (100 if i in (20, 22, 24, 26) else 1) for i in range(300)]
    answers = observe(warm(), values)
    incident = min(answers)
    assert 1024 <= incident <= 1032
    assert answers == {incident: "high_loss_variance", incident + 120: "recovered", incident + 220: "recovered"}


def test_a_doubling_that_stays_is_told_once():
    source = calm()
    answers = observe(warm(), (2.5 * next(source) for _ in range(119)))
    assert len(answers) == 1
    assert set(answers.values()) == {"exponential_loss_growth"}


@pytest.mark.parametrize("rate", [1.02, 1.15, 2.0])
def test_a_divergence_is_told_soon_and_never_twice_within_the_cool_down(rate):
    answers = observe(warm(), [rate**i for i in range(300)])
    assert next(iter(answers.values())) == "exponential_loss_growth"
    assert min(answers) <= 1000 + 3 * math.log(2) / math.log(rate) + 5
    incidents = [iteration for iteration, answer in answers.items() if answer != "recovered"]
    assert all(b - a > 20 for a, b in itertools.pairwise(incidents))


@pytest.mark.parametrize(("total_iter", "start"), [(100_000, 500), (5000, 500), (4000, 400), (1000, 100)])
def test_not_before_iteration_500_or_a_tenth_of_a_short_run(total_iter, start):
    for begin in (start // 2, start):  # of the divergence
        source = calm()
        values = [next(source) * 1.5 ** max(0, i - begin) for i in range(1, start + 30)]
        answers = observe(StabilityMonitor(total_iter), values, first=1)
        assert all(iteration >= start for iteration in answers)
    assert min(answers) <= start + 8


def test_no_answer_before_twenty_values():
    source, monitor = calm(), StabilityMonitor(100_000)
    values = [next(source) * (1 if i < 12 else 100) for i in range(200)]
    assert all(iteration >= 1020 for iteration in observe(monitor, values, first=1000))


def test_a_loss_that_joins_or_ends_is_no_growth():
    monitor, source = warm(), calm()
    assert observe(monitor, [{"l1": next(source), "fft": 500 * next(source)} for _ in range(100)]) == {}
    assert observe(monitor, [next(source) for _ in range(100)], first=1100) == {}
    assert observe(monitor, [{"l1": 1.0, "zero": 0.0}, {"zero": 0.0}, {}], first=1200) == {}


def test_quiet_training_recovers_half_way_in_log_and_in_the_end_exactly():
    monitor, source = warm(), calm()
    answers = observe(monitor, [100.0 * next(source) for _ in range(5)])
    (incident,) = answers
    assert monitor.correction == CORRECTIONS[answers[incident]]
    answers = observe(monitor, [100 * next(source) for _ in range(130)], first=1005)
    assert answers == {incident + 120: "recovered"}  # 20 of cool-down, then 100 quiet ones
    assert monitor.correction.max_weight == pytest.approx(math.sqrt(0.7))
    assert monitor.correction.momentum == pytest.approx(math.sqrt(1.05))
    answers = observe(monitor, [100 * next(source) for _ in range(2000)], first=1135)
    assert set(answers.values()) == {"recovered"}
    assert monitor.correction == Factors()
    assert len(answers) < 10  # and then there is nothing left to say


def test_divergence_without_end_can_still_be_recovered_from():
    monitor = warm()
    observe(monitor, [float(2 ** (i % 20)) for i in range(5000)])
    assert monitor.correction.max_weight >= 0.7**3 - 1e-12
    observe(monitor, [1.0] * 4000, first=10_000)
    assert monitor.correction == Factors()


def test_huge_and_tiny_values_are_no_overflow():
    monitor = warm()
    observe(monitor, [1e300, 1e-300, 5e-324, 1.7e308] * 50)
    assert all(math.isfinite(value) for value in vars(monitor.correction).values())


# -- through the scheduler ---------------------------------------------------------------------------------------------


def _trace():
    source = random.Random(1)

    def value(iteration: int) -> float:
        return (8 if iteration >= 700 else 1) * math.exp(source.gauss(0, 0.05))

    return [value(iteration) for iteration in range(1, 1400)]


def _decisions(**options):
    scheduler = new_scheduler({"l1": "pixel", "vgg": "perceptual"}, total_iter=100_000, size="m", **options)
    steps = [
        scheduler.step(iteration, {"l1": Reading(value / 2, 1.0), "vgg": Reading(-value / 2, 1.0)})
        for iteration, value in enumerate(_trace(), start=1)
    ]
    return steps, [d for step in steps for d in step.decisions if d.kind in ("corrected", "recovered")]


def test_corrections_change_the_parameters_in_force_and_are_told():
    steps, decisions = _decisions(auto_calibrate=True)
    first = decisions[0]
    assert first.kind == "corrected"
    assert first.reason.startswith("the losses have doubled (exponential_loss_growth); momentum ")
    assert 700 <= first.iteration <= 706
    # size m, early phase: 0.92 * 0.9, 0.007 * 0.7, 30 * 0.5
    assert first.before == pytest.approx({"momentum": 0.828, "adaptation_rate": 0.0049, "max_weight": 15})
    assert first.after == pytest.approx({"momentum": 0.8694, "adaptation_rate": 0.00392, "max_weight": 10.5})
    in_force = steps[first.iteration].parameters
    assert (in_force.momentum, in_force.adaptation_rate) == pytest.approx((0.8694, 0.00392))
    assert "stability correction" in in_force.provenance["momentum"]
    assert {d.kind for d in decisions[1:]} == {"recovered"}
    assert steps[0].parameters.momentum == steps[698].parameters.momentum == pytest.approx(0.828)


def test_the_same_trace_gives_the_same_decisions():
    assert _decisions(auto_calibrate=True) == _decisions(auto_calibrate=True)


def test_without_auto_calibrate_nothing_is_corrected():
    assert _decisions()[1] == []


def test_an_adversarial_loss_that_rises_as_its_discriminator_learns_is_no_incident():
    scheduler = new_scheduler({"l1": "pixel", "gan": "adversarial"}, total_iter=100_000, auto_calibrate=True)
    source = calm()
    for iteration in range(1, 1200):
        grown = 1.0 if iteration < 700 else 20.0
        step = scheduler.step(iteration, {"l1": Reading(next(source), 1.0), "gan": Reading(grown, 0.01)})
        assert not any(decision.kind == "corrected" for decision in step.decisions)


def test_the_scheduler_cannot_trigger_itself():
    """Multipliers that rise by large factors leave the monitored losses, which have base weights, where they are."""
    scheduler = new_scheduler(
        {"l1": "pixel", "vgg": "perceptual"},
        total_iter=100_000,
        auto_calibrate=True,
        target={"l1": 0.5, "vgg": 0.5},
        baseline_iterations=10,
    )
    steps = [
        scheduler.step(i, {"l1": Reading(1.0, 1.0), "vgg": Reading(1.0, 1.0 if i < 600 else 1e-3)})
        for i in range(1, 1000)
    ]
    assert steps[-1].multipliers["vgg"] > 2
    assert {d.kind for step in steps for d in step.decisions} == {"calibrated"}
