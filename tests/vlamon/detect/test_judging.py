"""Levels of means, which values are means at all, and what excuses a single batch."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vlamon.detect.judging import Judge, Levels, _Course, levels, medians


def test_medians_are_those_of_the_numbers_that_a_row_has() -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(60, 7))
    for row, count in enumerate(np.arange(60) % 8):
        rows[row, count:] = math.nan
    found = medians(np.sort(rows, axis=1))
    for row, middle in zip(rows, found, strict=True):
        known = row[~np.isnan(row)]
        assert middle == pytest.approx(np.median(known)) if len(known) else math.isnan(middle)


def test_a_level_is_the_median_and_reaches_as_far_as_it_is_high() -> None:
    found = levels(np.array([[1.0, 3.0, 2.0], [math.nan, 4.0, 6.0], [0.0, 0.0, 0.0]]))
    assert found.level.tolist() == [2.0, 5.0, 0.0]
    assert found.reach[:2].tolist() == [2.0, 5.0]
    assert math.isnan(found.reach[2])


def test_a_level_that_may_be_negative_reaches_its_size_or_six_deviations() -> None:
    found = levels(np.array([[-4.0, -4.0, -4.0], [-1.0, 0.0, 1.0], [-9.0, -9.0, 1.0]]))
    assert found.level.tolist() == [-4.0, 0.0, -9.0]
    assert found.reach.tolist() == pytest.approx([4.0, 6 * 1.4826, 9.0])


def test_multiples_of_a_level_are_counted_in_its_reach() -> None:
    held = Levels(np.array([2.0, -2.0, 0.0]), np.array([2.0, 2.0, 6.0]))
    assert held.times(2.5).tolist() == [5.0, 1.0, 9.0]


@pytest.mark.parametrize(
    ("steps", "means"),
    [
        ((0, 1, 2), [False, False, False]),
        ((0, 2, 4), [False, True, True]),
        ((5, 6, 8), [False, False, True]),
    ],
)
def test_a_value_is_a_mean_where_it_stands_for_more_than_one_step(
    steps: tuple[int, ...], means: list[bool]
) -> None:
    judge = Judge()
    judged = judge.observe(np.ones(3), np.array(steps), np.ones(3, bool))
    assert judged.means.tolist() == means
    behind = judge.observe(np.ones(1), np.array([steps[-1] + 2]), np.ones(1, bool))
    assert behind.means.tolist() == [True]
    single = judge.observe(np.ones(1), np.array([steps[-1] + 9]), np.zeros(1, bool))
    assert single.means.tolist() == [False]


def test_a_mean_explodes_at_two_and_a_half_times_at_least_three_before_it() -> None:
    for before, last, high in ((2, 2.5, False), (3, 2.5, True), (3, 2.49, False), (16, 2.5, True)):
        values = np.array([1.0] * before + [last])
        judged = Judge().observe(values, None, np.ones(len(values), bool))
        assert judged.high.tolist() == [False] * before + [high]


def test_a_single_batch_that_is_not_finite_is_told_with_its_reason() -> None:
    values = np.array([1.0] * 60 + [math.nan])
    judged = Judge().observe(values, np.arange(61), np.zeros(61, bool))
    assert np.flatnonzero(judged.high).tolist() == [60]
    assert judged.verdicts[60].reason == "nan is not finite"


def course(values: np.ndarray) -> _Course:
    made = _Course()
    for value in values.tolist():
        made.push(value)
    return made


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_an_even_rise_from_next_to_nothing_has_no_level_to_leave(scale: float) -> None:
    even = course(scale * np.arange(1.0, 65.0))
    assert even.rises_evenly_to(scale * 70.0)
    assert not even.rises_evenly_to(scale * 200.0), "far above where the rise leads"
    assert not course(scale * np.arange(1.0, 65.0) ** 2).rises_evenly_to(scale * 4096.0)
    assert not course(scale * (100.0 + np.arange(64.0))).rises_evenly_to(scale * 165.0)
    assert not course(scale * np.arange(1.0, 16.0)).rises_evenly_to(scale * 16.0), "too early"
    assert course(scale * np.arange(1.0, 17.0)).rises_evenly_to(scale * 17.0)
    assert course(scale * np.arange(1.0, 5000.0)).rises_evenly_to(scale * 5200.0)
    assert not course(scale * np.arange(64.0, 0.0, -1.0)).rises_evenly_to(scale * 700.0)
