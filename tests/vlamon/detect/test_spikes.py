"""What the detector sees, and what it must not be fooled by."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bench import traces
from vlamon.detect.judging import Judge
from vlamon.detect.rules import THRESHOLDS, rules_with
from vlamon.detect.spikes import ComponentDetectors, SpikeDetector, Verdict


def noisy(level: float, count: int, seed: int = 0, sigma: float = 0.05) -> list[float]:
    rng = random.Random(seed)
    return [level * math.exp(rng.gauss(0, sigma)) for _ in range(count)]


def judge(detector: SpikeDetector, values: Iterable[float | None]) -> list[Verdict]:
    return [detector.observe(value) for value in values]


def levels(verdicts: Sequence[Verdict]) -> list[str]:
    return [verdict.level for verdict in verdicts]


def test_a_calm_run_is_ok_throughout() -> None:
    assert set(levels(judge(SpikeDetector(), noisy(8.5, 1000)))) == {"ok"}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_non_finite_value_explodes_from_the_first_step_on(value: float) -> None:
    verdict = SpikeDetector().observe(value)
    assert verdict.level == "explode"
    assert "not finite" in verdict.reason


def test_one_nan_neither_blinds_nor_freezes_the_detector() -> None:
    detector = SpikeDetector()
    judge(detector, noisy(2.0, 100))
    assert detector.observe(math.nan).level == "explode"
    assert detector.observe(2.0).level == "ok"
    assert detector.observe(200.0).level == "explode"


def test_closs_95_after_a_quiet_run_at_8_explodes_at_once() -> None:
    detector = SpikeDetector()
    judge(detector, noisy(8.5, 200))
    assert detector.observe(95.0).level == "explode"


def test_the_same_ratio_on_a_noisy_loss_needs_a_second_batch() -> None:
    detector = SpikeDetector()
    judge(detector, noisy(8.5, 200, sigma=0.2))
    assert levels(judge(detector, [95.0, 95.0])) == ["warn", "explode"]


def test_a_spike_does_not_hide_the_next_one() -> None:
    detector = SpikeDetector()
    judge(detector, noisy(8.5, 200))
    assert detector.observe(5000.0).level == "explode"
    judge(detector, noisy(8.5, 5, seed=1))
    assert detector.observe(300.0).level == "explode"


def test_a_ramp_is_found_though_no_single_step_is_large() -> None:
    detector = SpikeDetector()
    judge(detector, noisy(4.0, 200))
    ramp = [4.0 * 10 ** (i / 60) for i in range(60)]
    assert "explode" in levels(judge(detector, ramp))


def test_a_divergence_slower_than_the_window_is_found() -> None:
    detector = SpikeDetector()
    judge(detector, noisy(4.0, 400))
    slow = [v * 8 ** (i / 600) for i, v in enumerate(noisy(4.0, 600, seed=3))]
    verdicts = judge(detector, slow)
    assert "explode" in levels(verdicts)
    assert any(verdict.reason.startswith("up ") for verdict in verdicts)


def test_zeros_of_batches_without_such_rows_are_no_points() -> None:
    detector = SpikeDetector()
    values = [0.0 if i % 20 < 9 else v for i, v in enumerate(noisy(0.13, 2000, sigma=0.2))]
    assert "explode" not in levels(judge(detector, values))
    median, _, _ = detector.band() or (0.0, 0.0, 0.0)
    assert median == pytest.approx(0.13, rel=0.1)


def test_batches_of_two_kinds_become_the_normal() -> None:
    rng = random.Random(5)
    detector = SpikeDetector()
    judge(detector, noisy(2.0, 200))
    mixed = [v * (3.0 if rng.random() < 0.3 else 1.0) for v in noisy(2.0, 1200, seed=2)]
    assert "explode" not in levels(judge(detector, mixed)[600:])


def test_a_level_that_stays_below_twice_the_old_one_is_readmitted() -> None:
    detector = SpikeDetector()
    judge(detector, noisy(2.0, 200))
    verdicts = judge(detector, noisy(3.0, 400, seed=2))
    assert verdicts[0].level == "warn"
    assert set(levels(verdicts[250:])) == {"ok"}


def test_a_loss_that_passes_through_zero_is_measured_as_it_is() -> None:
    rng = random.Random(1)
    detector = SpikeDetector()
    values = [0.5 - i * 0.001 + rng.gauss(0, 0.02) for i in range(1500)]
    assert "explode" not in levels(judge(detector, values))
    assert levels(judge(detector, [80.0, 80.0]))[-1] == "explode"


def test_an_epoch_mean_of_95_and_one_of_37_are_found_in_the_seeds_table() -> None:
    closs = [3.26, 4.06, 2.49, 2.14, 4.04, 2.52, 2.14, 95.19, 4.21, 2.13, 37.74, 4.01]
    judged = Judge().observe(np.array(closs), None, np.ones(len(closs), bool))
    assert np.flatnonzero(judged.high).tolist() == [7, 10]


def test_a_threshold_of_ones_own_judges_single_batches_and_means() -> None:
    values = [*noisy(3.0, 60), 12.0]
    assert judge(SpikeDetector(), values)[-1].level == "warn"
    assert judge(SpikeDetector(rules_with({"one_ratio": 3.5})), values)[-1].level == "explode"
    means = np.array([3.0, 3.1, 2.9, 3.0, 9.0, 3.0])
    averaged = np.ones(len(means), bool)
    assert Judge().observe(means, None, averaged).high.any()
    assert not Judge(rules_with({"mean_ratio": 4})).observe(means, None, averaged).high.any()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"warn": 3}, "warn is not a threshold; there are warn_z, warn_ratio"),
        ({"warn_ratio": 1}, "warn_ratio must be above 1, not 1"),
        ({"warn_z": math.nan}, "warn_z must be above 0, not nan"),
    ],
)
def test_a_threshold_that_cannot_be_is_named(given: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rules_with(given)


def test_every_threshold_is_on_the_page_of_the_detector() -> None:
    page = (Path(__file__).parents[3] / "docs" / "detector.md").read_text()
    assert [name for name in THRESHOLDS if f"`{name}`" not in page] == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)), max_size=300),
    st.integers(0, 299),
)
def test_any_values_are_judged_and_a_restored_detector_goes_on_identically(
    values: list[float | None], cut: int
) -> None:
    whole, half, restored = SpikeDetector(), SpikeDetector(), SpikeDetector()
    expected = judge(whole, values)
    judge(half, values[:cut])
    restored.load_state_dict(json.loads(json.dumps(half.state_dict())))
    assert repr(judge(restored, values[cut:])) == repr(expected[cut:])


def test_the_incremental_baseline_is_the_plain_median_and_mad() -> None:
    detector = SpikeDetector()
    judge(detector, noisy(3.0, 500, sigma=0.3))
    window, distances = sorted(detector._long.order), sorted(detector._distances.order)
    assert detector._median == pytest.approx((window[63] + window[64]) / 2)
    centre = (distances[63] + distances[64]) / 2
    spread = sorted(abs(distance - centre) for distance in distances)[64]
    tail = (distances[int(0.95 * 127)] - centre) / 1.645
    assert detector._scale == pytest.approx(max(1.4826 * spread, tail))


def test_a_steep_fall_is_neither_noise_nor_the_level_to_compare_with() -> None:
    detector = SpikeDetector()
    fall = [v * math.exp(-i / 120) for i, v in enumerate(noisy(10.0, 200, sigma=0.03))]
    judge(detector, fall)
    here = fall[-1]
    verdicts = judge(detector, [2.6 * here] * 3)
    assert "explode" in levels(verdicts)


def test_a_shift_within_the_noise_of_each_batch_is_found_when_it_stays() -> None:
    detector = SpikeDetector()
    judge(detector, noisy(0.3, 300, sigma=0.35))
    verdicts = judge(detector, noisy(1.0, 14, seed=4, sigma=0.1))
    assert "11 of the last 12" in verdicts[-1].reason
    assert levels(verdicts).index("explode") == 10, "the eleventh of them"
    assert verdicts[10].age == 10


def test_on_fresh_synthetic_traces_nearly_all_explosions_are_found() -> None:
    found = events = 0
    for trace in traces.dataset(seed=77, each=4):
        detector = SpikeDetector()
        alarms = [
            t for t, value in enumerate(trace.values) if detector.observe(value).level == "explode"
        ]
        events += len(trace.events)
        found += sum(any(a <= t <= b + 30 for t in alarms) for a, b in trace.events)
    assert found >= 0.95 * events


WEIGHTS = {"closs": 1.0, "loss_ct": 10.0, "z_loss": 1e-5}


def batch(**changes: float) -> dict[str, float | None]:
    return {"closs": 8.5, "loss_ct": 0.13, "z_loss": 40.0, "grad_norm": 4.0, **changes}


def trained(count: int = 100) -> ComponentDetectors:
    components = ComponentDetectors()
    rng = random.Random(0)
    for _ in range(count):
        values = {k: v * math.exp(rng.gauss(0, 0.05)) for k, v in batch().items() if v}
        components.observe(values, WEIGHTS)
    return components


def test_a_small_component_explodes_on_its_own_though_the_total_hardly_moves() -> None:
    judgement = trained().observe(batch(loss_ct=3.9), WEIGHTS)
    assert (judgement.level, judgement.metric) == ("explode", "loss_ct")


def test_a_component_below_one_percent_of_the_total_may_only_warn() -> None:
    judgement = trained().observe(batch(z_loss=4000.0), WEIGHTS)
    assert (judgement.level, judgement.metric) == ("warn", "z_loss")


def test_grad_norm_alone_warns_and_shortens_the_patience_of_others() -> None:
    assert trained().observe(batch(grad_norm=4000.0), WEIGHTS).level == "warn"
    assert trained().observe(batch(closs=55.0), WEIGHTS).level == "warn"
    both = trained().observe(batch(closs=55.0, grad_norm=4000.0), WEIGHTS)
    assert (both.level, both.metric) == ("explode", "closs")


def test_a_non_finite_grad_norm_is_an_explosion() -> None:
    judgement = trained().observe(batch(grad_norm=math.nan), WEIGHTS)
    assert (judgement.level, judgement.metric) == ("explode", "grad_norm")


def test_two_components_that_rise_at_once_explode_where_each_alone_would_not() -> None:
    def levels_of(**changes: float) -> list[str]:
        rng, components = random.Random(0), ComponentDetectors()
        for _ in range(200):
            noise = {name: math.exp(rng.gauss(0, 0.15)) for name in batch()}
            values = {name: value * noise[name] for name, value in batch().items() if value}
            components.observe(values, WEIGHTS)
        return [components.observe(batch(**changes), WEIGHTS).level for _ in range(4)]

    assert "explode" not in levels_of(closs=17.0)
    assert "explode" not in levels_of(loss_ct=0.26)
    assert levels_of(closs=17.0, loss_ct=0.26)[-1] == "explode"


def test_metrics_that_are_no_losses_are_left_alone() -> None:
    components = ComponentDetectors()
    components.observe({"closs": 1.0, "acc_action_5": 0.1, "lr": 1e-5, "train_loss": 2.0})
    assert set(components.detectors) == {"closs", "train_loss"}


def test_a_state_of_an_older_version_is_taken_over_with_what_it_lacks_empty() -> None:
    components, restored = trained(), ComponentDetectors()
    state = json.loads(json.dumps(components.state_dict()))
    del state["together"]
    for inner in state["detectors"].values():
        del inner["distances"]
        inner["registers"] = inner["registers"][:3]
    restored.load_state_dict(state)
    assert restored.detectors.keys() == components.detectors.keys()
    assert restored.observe(batch(), WEIGHTS).level == "ok"
    assert restored.observe(batch(closs=900.0), WEIGHTS).level == "explode"


def test_components_survive_a_round_trip_through_json() -> None:
    components, restored = trained(), ComponentDetectors()
    restored.load_state_dict(json.loads(json.dumps(components.state_dict())))
    assert restored.state_dict() == components.state_dict()
    assert restored.observe(batch(closs=900.0), WEIGHTS).level == "explode"


def test_an_explosion_names_the_level_that_it_left() -> None:
    detector = SpikeDetector()
    assert math.isnan(detector.reference()[0])
    noise = random.Random(1)
    for _ in range(300):
        detector.observe(3 * math.exp(noise.gauss(0, 0.02)))
    assert detector.observe(90.0).level == "explode"
    assert detector.reference() == pytest.approx((3, 3), rel=0.02)


def test_a_slow_divergence_names_the_lowest_level_not_the_one_it_pulled_along() -> None:
    detector, noise = SpikeDetector(), random.Random(1)
    for row in range(1200):
        value = 3 * 1.004 ** max(0, row - 500) * math.exp(noise.gauss(0, 0.02))
        if detector.observe(value).reason.startswith("up "):
            break
    assert detector.reference()[0] == pytest.approx(3, rel=0.05)
