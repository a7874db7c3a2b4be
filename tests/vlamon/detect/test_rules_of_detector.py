"""Each rule of the detector on a loss that was always 1: what it takes, and what falls short."""

from __future__ import annotations

import json
import math
import random
import statistics
from collections.abc import Sequence

import pytest

from vlamon.detect.running_median import RankedWindow
from vlamon.detect.spikes import SpikeDetector, Verdict


def flat(count: int = 60, level: float = 1.0) -> SpikeDetector:
    detector = SpikeDetector()
    for _ in range(count):
        assert detector.observe(level).level == "ok"
    return detector


def after(values: Sequence[float | None], count: int = 60) -> list[Verdict]:
    detector = flat(count)
    return [detector.observe(value) for value in values]


def levels(values: Sequence[float | None], count: int = 60) -> list[str]:
    return [verdict.level for verdict in after(values, count)]


@pytest.mark.parametrize(
    ("known", "value", "level"),
    [
        (7, 1e6, "ok"),
        (8, 20.5, "explode"),
        (8, 19.5, "ok"),
        (31, 9.0, "ok"),
        (32, 9.0, "explode"),
        (32, 7.5, "warn"),
        (32, 1.15, "warn"),  # z, for the scale is at least 2 %
        (32, 1.1, "ok"),
    ],
)
def test_one_batch_counts_by_its_ratio_and_by_what_is_known(
    known: int, value: float, level: str
) -> None:
    assert levels([value], known) == [level]


def test_one_batch_is_told_by_its_ratio_and_a_warning_by_what_it_is() -> None:
    assert after([25.0])[0] == Verdict(
        "explode",
        pytest.approx(math.log(25.0) / 0.02),
        pytest.approx(25.0),
        "25× the median in one batch",
        0,
    )
    assert after([3.0])[0].reason == "3× the median"
    assert after([1.2])[0].reason == "9.1σ above the median"
    assert after([1.2])[0].ratio == pytest.approx(1.2)


def test_two_of_three_batches_above_five_times_explode() -> None:
    assert levels([6.0, 1.0, 6.0]) == ["warn", "ok", "explode"]
    assert levels([6.0, 1.0, 1.0, 6.0]) == ["warn", "ok", "ok", "warn"]
    assert levels([6.0, 6.0, 1.0]) == ["warn", "explode", "ok"], "what is over is over"
    assert levels([6.0, 4.9]) == ["warn", "warn"]
    last = after([6.0, 1.0, 6.0])[-1]
    assert (last.reason, last.age) == ("2 of the last 3 batches above 5× the median", 2)
    assert after([6.0, 6.0])[-1].age == 1


def test_three_batches_running_above_twice_explode() -> None:
    assert levels([2.1, 2.1, 2.1]) == ["warn", "warn", "explode"]
    assert levels([2.1, 2.1, 1.0, 2.1]) == ["warn", "warn", "ok", "warn"]
    assert "explode" not in levels([1.9] * 10)
    last = after([2.1] * 3)[-1]
    assert (last.reason, last.age) == ("3 batches in a row above 2× the median", 2)


def test_eight_of_twelve_batches_above_two_and_a_half_times_explode() -> None:
    two_of_three = [3.0, 3.0, 1.0] * 4
    found = after(two_of_three)
    assert [verdict.level for verdict in found].index("explode") == 10
    assert (found[10].reason, found[10].age) == (
        "8 of the last 12 batches above 2.5× the median",
        10,
    )
    wider = [3.0, 1.0, 3.0, 3.0, 1.0, 3.0, 1.0, 3.0, 3.0, 1.0, 3.0, 1.0, 3.0]
    assert "explode" not in levels(wider), "the eighth of them is the thirteenth batch"
    assert "explode" not in levels([2.4, 2.4, 1.0] * 4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_as_old_as_it_has_been_so(bad: float) -> None:
    found = after([bad, bad, bad, 1.0, bad])
    assert [verdict.age for verdict in found] == [0, 1, 2, 0, 0]
    assert [verdict.level for verdict in found] == ["explode"] * 3 + ["ok", "explode"]
    assert found[0].reason == f"{bad} is not finite"
    assert math.isinf(found[0].ratio)
    assert math.isinf(found[0].z)


@pytest.mark.parametrize("high", [2.1, 2.3, 3.0])
def test_a_batch_that_is_not_finite_counts_as_one(high: float) -> None:
    assert levels([math.nan, high]) == ["explode", "warn"]
    assert [verdict.age for verdict in after([math.nan, 6.0])] == [0, 1]
    detector = flat()
    for _ in range(2):
        detector.observe(math.nan)
    assert detector.state_dict()["registers"] == [0b11] * 4


def test_a_batch_that_is_not_finite_counts_towards_the_rules_of_several() -> None:
    assert levels([math.nan, 6.0]) == ["explode", "explode"]
    assert levels([math.nan, math.nan, 2.1]) == ["explode", "explode", "explode"]
    assert levels([math.nan, 1.0, 1.0, 6.0]) == ["explode", "ok", "ok", "warn"]


@pytest.mark.parametrize("nothing", [None, 0.0])
def test_a_batch_without_a_value_is_judged_and_learned_as_nothing(nothing: float | None) -> None:
    found = after([6.0, nothing, nothing, 6.0])
    assert [verdict.level for verdict in found] == ["warn", "ok", "ok", "explode"]
    assert math.isnan(found[1].ratio)
    young = SpikeDetector()
    for _ in range(7):
        young.observe(1.0)
        young.observe(nothing)
    assert young.band() is None
    young.observe(1.0)
    assert young.band() is not None


def test_a_negative_value_below_a_thousandth_of_the_level_is_rounding() -> None:
    rounded, moved = flat(), flat()
    assert rounded.observe(-0.0009).level == "ok"
    assert rounded.observe(25.0).level == "explode"
    assert moved.observe(-0.0011).level == "ok"
    assert moved.observe(25.0).level == "ok", "a loss that goes below zero is learned once more"


def test_a_loss_below_zero_counts_ratios_from_its_size() -> None:
    detector = SpikeDetector()
    for _ in range(60):
        detector.observe(-2.0)
    assert detector.reference() == (-2.0, 2.0)
    assert detector.observe(-2.0).ratio == pytest.approx(1.0)
    verdict = detector.observe(4.0)
    assert verdict.ratio == pytest.approx(4.0), "three sizes above"
    assert verdict.level == "warn"
    assert detector.observe(45.0).level == "explode"


def test_the_band_is_where_one_batch_warns_and_explodes() -> None:
    middle, warn, explode = flat(level=3.0).band() or (0.0, 0.0, 0.0)
    assert middle == pytest.approx(3.0)
    assert warn == pytest.approx(3.0 * math.exp(6 * 0.02))
    assert explode == pytest.approx(3.0 * 8.0)
    below, lifted, far = flat(level=-3.0).band() or (0.0, 0.0, 0.0)
    assert below == pytest.approx(-3.0)
    assert lifted == pytest.approx(-3.0 + 6 * 0.02 * 3.0)
    assert far == pytest.approx(-3.0 + 7.0 * 3.0)


def test_what_alarmed_is_no_part_of_the_level() -> None:
    detector = flat(60)
    for _ in range(20):
        detector.observe(50.0)
    assert detector.reference()[0] == pytest.approx(1.0)
    assert detector.observe(1.0).level == "ok"


def test_a_restored_detector_goes_on_at_every_place_of_a_level_that_comes_to_stay() -> None:
    values = [1.0] * 60 + [30.0, 1.0, 1.7, 1.7, 1.0] * 40 + [3.0] * 300
    whole = SpikeDetector()
    expected = [repr(whole.observe(value)) for value in values]
    for cut in range(50, len(values), 23):
        half, restored = SpikeDetector(), SpikeDetector()
        for value in values[:cut]:
            half.observe(value)
        restored.load_state_dict(json.loads(json.dumps(half.state_dict())))
        assert [repr(restored.observe(value)) for value in values[cut:]] == expected[cut:]


@pytest.mark.parametrize(("calm", "last"), [(63, "ok"), (64, "warn")])
def test_alarms_are_forgotten_after_sixty_four_calm_batches(calm: int, last: str) -> None:
    """Sixty-four alarms with fewer calm ones in a row between them are the new normal."""
    found = levels([*[1.7] * 40, *[1.0] * calm, *[1.7] * 40])
    assert found[:40] == ["warn"] * 40
    assert found[-1] == last


@pytest.mark.parametrize(("calm", "last"), [(130, "ok"), (300, "warn")])
def test_batches_of_two_kinds_are_forgotten_after_two_windows_of_one(calm: int, last: str) -> None:
    two_kinds = [1.0, 1.0, 1.7] * 80
    detector = flat()
    found = [detector.observe(value).level for value in two_kinds]
    assert "warn" in found[:60]
    assert set(found[-40:]) == {"ok"}
    for _ in range(calm):
        assert detector.observe(1.0).level == "ok"
    assert [detector.observe(1.7).level for _ in range(30)][-1] == last


@pytest.mark.parametrize(("calm", "last"), [(130, "ok"), (300, "warn")])
def test_each_alarm_among_batches_of_two_kinds_keeps_them_two(calm: int, last: str) -> None:
    detector = flat()
    for value in [*[1.0, 1.0, 1.7] * 80, *[1.0] * 130, *[1.7] * 30, *[1.0] * calm]:
        detector.observe(value)
    assert [detector.observe(1.7).level for _ in range(30)][-1] == last


def test_the_spread_is_the_median_distance_or_the_upper_tail_at_every_place() -> None:
    """The window walks from where its middle half began last; a plain sort says the same."""
    rng = random.Random(5)
    for size, draw in (
        (7, lambda: rng.gauss(0, 1)),
        (16, lambda: float(rng.randrange(4))),
        (33, lambda: rng.lognormvariate(0, 2)),
        (64, lambda: rng.choice((1.0, 5.0)) + rng.gauss(0, 0.01)),
    ):
        window = RankedWindow(size)
        for count in range(1, 5 * size):
            window.push(draw())
            ranked = sorted(window.order)
            middle = window.median()
            assert window.ranked == ranked
            assert len(ranked) == min(count, size)
            assert middle == pytest.approx(statistics.median(ranked))
            distances = sorted(abs(value - middle) for value in ranked)
            tail = (ranked[int(0.95 * (len(ranked) - 1))] - middle) / 1.645
            expected = max(1.4826 * distances[len(ranked) // 2], tail)
            assert window.spread(middle) == pytest.approx(expected)
