"""A slow rise: seen late, with the batch at which it began; and what stays becomes the normal."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest

from tests.bench import traces
from vlamon.detect.drift import Drift, log_rise
from vlamon.detect.spikes import ComponentDetectors, SpikeDetector, Verdict


def noise(count: int, sigma: float = 0.1, seed: int = 0) -> list[float]:
    rng = random.Random(seed)
    return [math.exp(rng.gauss(0, sigma)) for _ in range(count)]


def explosions(detector: SpikeDetector, values: list[float]) -> list[int]:
    return [i for i, value in enumerate(values) if detector.observe(value).level == "explode"]


def seen(seed: int) -> tuple[int, Verdict]:
    """Batches from the true onset of a slow divergence to its alarm, and the verdict."""
    trace = traces.make(traces.slow, seed)
    onset, detector = trace.events[0][0], SpikeDetector()
    for step, value in enumerate(trace.values.tolist()):
        verdict = detector.observe(value)
        if verdict.level == "explode" and step >= onset:
            return step - onset, verdict
    raise AssertionError("not seen")


def test_a_slow_divergence_is_dated_to_where_it_began() -> None:
    late = [(latency, verdict.age) for latency, verdict in map(seen, range(4_440_000, 4_440_060))]
    ages = np.array([age for _, age in late])
    errors = np.array([age - latency for latency, age in late])
    assert np.mean(errors >= -32) > 0.95, "hardly ever dated well behind the onset"
    assert abs(np.median(errors)) < 48
    detector = SpikeDetector()
    assert np.quantile(ages, 0.9) <= 1.15 * detector.slow_latency
    assert np.mean([latency for latency, _ in late]) > detector.latency


def test_a_single_bad_batch_has_no_age() -> None:
    detector = SpikeDetector()
    explosions(detector, noise(200))
    verdict = detector.observe(95.0)
    assert (verdict.level, verdict.age) == ("explode", 0)


def test_age_counts_batches_also_those_without_the_component() -> None:
    """`loss_ct` is absent from every second batch: its rise is twice as old as its points say."""
    components, alone = ComponentDetectors(), SpikeDetector()
    rise = [v * 8 ** (max(0, i - 400) / 400) for i, v in enumerate(noise(900))]
    ages = []
    for value in rise:
        components.observe({"closs": 1.0})
        both = components.observe({"closs": 1.0, "loss_ct": value}).verdicts["loss_ct"]
        single = alone.observe(value)
        assert both.level == single.level
        if single.age:
            ages.append((single.age, both.age))
    assert ages
    assert all(both in (2 * age, 2 * age + 1) for age, both in ages)


@pytest.mark.parametrize("factor", [3.0, 5.0, 30.0, 1000.0])
def test_a_level_that_stays_is_the_new_normal_and_a_further_rise_is_news(factor: float) -> None:
    detector = SpikeDetector()
    assert explosions(detector, noise(500)) == []
    found = explosions(detector, [factor * v for v in noise(600, seed=1)])
    assert found[0] <= 12
    assert detector.rules.settle_after - 12 <= len(found) <= detector.rules.settle_after
    assert explosions(detector, [factor * v for v in noise(1200, seed=2)]) == []
    assert explosions(detector, [4 * factor * v for v in noise(40, seed=3)])[0] <= 12


def test_a_level_that_still_climbs_has_not_settled() -> None:
    detector = SpikeDetector()
    explosions(detector, noise(500))
    climb = [10 * v * 4 ** (i / 200) for i, v in enumerate(noise(1000))]
    found = explosions(detector, climb)
    assert found[-1] == 999
    assert len(found) >= 995


def test_a_settled_level_survives_a_round_trip_through_json() -> None:
    values = noise(500) + [30 * v for v in noise(400, seed=1)]
    whole = SpikeDetector()
    expected = [repr(whole.observe(value)) for value in values]
    for cut in (600, 755, 756, 800):
        half, restored = SpikeDetector(), SpikeDetector()
        explosions(half, values[:cut])
        restored.load_state_dict(json.loads(json.dumps(half.state_dict())))
        assert [repr(restored.observe(value)) for value in values[cut:]] == expected[cut:]


def test_a_negative_value_that_is_rounding_changes_nothing() -> None:
    detector = SpikeDetector()
    explosions(detector, noise(500))
    assert detector.observe(-1e-6).level == "ok"
    assert detector.observe(100.0).level == "explode"
    slow = [v * 10 ** (i / 500) for i, v in enumerate(noise(500, seed=1))]
    assert explosions(detector, slow)


def test_a_loss_below_zero_is_watched_for_slow_rises_too() -> None:
    rng = random.Random(0)
    detector = SpikeDetector()
    assert explosions(detector, [-3.0 + rng.gauss(0, 0.2) for _ in range(600)]) == []
    rise = [-3.0 + i / 60 + rng.gauss(0, 0.2) for i in range(400)]
    verdicts = [detector.observe(value) for value in rise]
    assert any(verdict.reason.startswith("up ") for verdict in verdicts)


def test_numbers_of_arrays_are_kept_as_plain_ones() -> None:
    components = ComponentDetectors()
    for i in range(60):
        components.observe({"loss": np.float32(-1.0 - i % 3)}, {"loss": 1.0})  # type: ignore[dict-item]
    again = ComponentDetectors()
    again.load_state_dict(json.loads(json.dumps(components.state_dict())))
    assert again.state_dict() == components.state_dict()


def test_a_number_too_large_for_a_float_is_infinite() -> None:
    assert SpikeDetector().observe(10**400).level == "explode"


def test_a_level_is_the_mean_of_so_many_batches() -> None:
    whole = Drift(block=4, history=9, ratio=1.8, z=8.0, patience=8)
    drift = Drift(block=4, history=3, ratio=1.8, z=8.0, patience=8)
    for now in range(1, 21):
        assert not drift.push(float(now), now, 0.1, False)
        whole.push(float(now), now, 0.1, False)
    assert whole.state_dict()["means"] == [2.5, 6.5, 10.5, 14.5, 18.5]
    state = drift.state_dict()
    assert state["means"] == [10.5, 14.5, 18.5]
    assert state["ends"] == [12, 16, 20]
    assert state["slow"] == [0.0, 0, 0]
    assert not Drift(block=0, history=3, ratio=1.8, z=8.0, patience=8).push(1.0, 1, 0.1, False)


def test_a_rise_of_a_loss_below_zero_is_counted_in_sizes_of_at_least_six_deviations() -> None:
    assert log_rise(3.0, 1.0, 0.1, linear=False) == 2.0
    assert log_rise(3.0, -2.0, 0.1, linear=True) == pytest.approx(math.log1p(5.0 / 2.0))
    assert log_rise(3.0, 0.0, 1.0, linear=True) == pytest.approx(math.log1p(3.0 / 6.0))
    assert log_rise(-2.0, 0.0, 1.0, linear=True) == pytest.approx(math.log1p(-2.0 / 6.0))
    assert log_rise(-3.0, 0.0, 1.0, linear=True) == -math.log(2)
    assert log_rise(-99.0, 0.0, 1.0, linear=True) == -math.log(2)
