"""The y range: steady, readable, and never the slave of one batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vlamon.charts.scale import Scale, fit

F32 = NDArray[np.float32]


def f32(values: list[float]) -> F32:
    return np.array(values, dtype=np.float32)


def curve(spike: float | None = None) -> tuple[F32, F32]:
    middle = 8.5 + 5 * np.exp(-np.arange(100) / 15)
    low, high = f32((middle - 0.2).tolist()), f32((middle + 0.2).tolist())
    if spike is not None:
        high[60] = spike
    return low, high


def test_everything_is_in_range_where_nothing_is_far_away() -> None:
    low, high = curve()
    scale = fit([(low, high)])
    assert scale.low <= low.min()
    assert scale.high >= high.max()
    assert scale.high - scale.low < 1.3 * (high.max() - low.min())


def test_one_batch_of_95_does_not_set_the_range() -> None:
    assert fit([curve(95.2)]).high < 20
    assert fit([curve(95.2)], robust=False).high >= 95.2


def test_a_small_spike_is_shown_whole() -> None:
    assert fit([curve(16.0)]).high >= 16.0


def test_what_lasts_is_no_outlier() -> None:
    low, high = curve()
    low[70:], high[70:] = 90.0, 95.0
    assert fit([(low, high)]).high >= 95.0


def test_of_a_few_points_all_are_shown() -> None:
    values = f32([8.0, 8.1, 95.0, 8.2])
    assert fit([(values, values)]).high >= 95.0


def test_each_series_is_judged_by_its_own_values() -> None:
    calm, wild = [0.2] * 6, [18.0, 0.2, 0.1, 20.0, 19.0, 18.5]
    held = np.array([calm, calm, calm, wild, calm], dtype=np.float32)
    assert fit([(row, row) for row in held]).high >= 20.0


def test_a_line_to_keep_in_sight_stretches_the_range_when_it_is_near() -> None:
    low, high = curve()
    assert fit([(low, high)], keep=(14.5,)).high >= 14.5
    assert fit([(low, high)], keep=(95.0,)).high < 20.0
    assert fit([(low, high)], log=True, keep=(-1.0,)).low > 0


def test_the_range_holds_still_while_the_data_stays_inside() -> None:
    low, high = curve()
    before = fit([(low, high)])
    high[99] += 0.05
    assert fit([(low, high)], previous=before) is before
    assert fit([(low * 0.1, high * 0.1)], previous=before) != before


def test_log_is_a_true_log_below_a_tenth() -> None:
    scale = Scale(1e-5, 0.1, log=True)
    assert scale.dots(f32([0.1, 1e-2, 1e-3, 1e-4, 1e-5]), 41).tolist() == [0, 10, 20, 30, 40]


def test_values_that_have_no_log_lie_below_the_range() -> None:
    low, high = f32([-1.0, 0.001]), f32([0.0, 10.0])
    scale = fit([(low, high)], log=True)
    assert scale.log
    assert scale.low > 0
    assert (scale.dots(f32([-1.0, 0.0]), 20) >= 20).all()


def test_nothing_positive_falls_back_to_linear() -> None:
    assert not fit([(f32([-3.0]), f32([-1.0]))], log=True).log


@pytest.mark.parametrize("value", [0.0, 1.0, -2.5, 3e-39, 3e38, -3e38])
def test_a_constant_has_a_range_around_it(value: float) -> None:
    scale = fit([(f32([value] * 5), f32([value] * 5))])
    assert scale.low <= np.float64(np.float32(value)) <= scale.high
    assert scale.low < scale.high
    assert scale.only == pytest.approx(value, 1e-6)


def test_no_data_has_a_range_and_keeps_an_earlier_one() -> None:
    none = f32([np.nan, np.nan])
    assert fit([(none, none)]) == Scale(0.0, 1.0)
    assert fit([(none, none)], previous=Scale(2.0, 3.0)) == Scale(2.0, 3.0)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=1, max_size=60),
    st.booleans(),
    st.booleans(),
)
def test_any_values_have_a_finite_rising_range(
    values: list[float], log: bool, robust: bool
) -> None:
    held = f32(values)
    scale = fit([(held, held)], log=log, robust=robust)
    assert np.isfinite(scale.low)
    assert np.isfinite(scale.high)
    assert scale.low < scale.high
    dots = scale.dots(held, 40)
    assert ((dots >= -160) & (dots < 200)).all()
    finite = np.isfinite(held)
    wide = held.astype(np.float64)
    inside = finite & (wide >= scale.low) & (wide <= scale.high)
    assert ((dots[inside] >= 0) & (dots[inside] < 40)).all()
    if not robust and finite.any() and not scale.log:
        assert scale.low <= float(held[finite].min())
        assert scale.high >= float(held[finite].max())


@given(st.floats(0.0078125, 1000, width=32), st.integers(1, 60), st.booleans())
def test_a_label_stands_in_the_row_in_which_its_value_lights_a_dot(
    value: float, rows: int, log: bool
) -> None:
    scale = Scale(0.0078125, 1000.0, log)
    dot = int(scale.dots(np.array([value], np.float32), rows * 4)[0])
    assert scale.row(value, rows) == dot // 4


@settings(max_examples=300, deadline=None)
@given(
    st.floats(-1e6, 1e6),
    st.floats(10, 1e6),
    st.integers(6, 40),
)
def test_ticks_are_round_numbers_at_equal_distances_of_whole_rows(
    low: float, span: float, rows: int
) -> None:
    found = fit([(np.array([low] * 5), np.array([low + span] * 5))], rows=rows)
    if not found.tick:
        assert found.only is not None
        return
    assert found.low <= low
    assert found.high >= low + span
    assert found.high - found.low <= 2.2 * span
    mantissa = float(f"{found.tick:.6e}".split("e")[0])
    assert mantissa in (1.0, 2.0, 5.0)
    first = math.ceil(found.low / found.tick - 1e-6)
    last = math.floor(found.high / found.tick + 1e-6)
    placed = [found.row(n * found.tick, rows) for n in range(first, last + 1)]
    inside = [row for row in placed if row is not None]
    assert len(inside) >= 2
    assert len(set(np.diff(inside).tolist())) == 1


def test_an_abandoned_attempt_is_in_range_while_the_run_keeps_a_quarter_of_it() -> None:
    live, near, far = curve(), (f32([12.0] * 30), f32([20.0] * 30)), (f32([95.0] * 30),) * 2
    alone = fit([live])
    assert fit([live], abandoned=[near]).high >= 20.0
    stretched = fit([live], abandoned=[far])
    assert alone.high < stretched.high < 40.0


@pytest.mark.parametrize("rows", range(4, 30))
def test_what_is_never_negative_has_no_rows_below_zero(rows: int) -> None:
    for high in (0.02, 0.6, 1.0, 4.3, 27.0):
        low = high / 30
        scale = fit([(np.array([low, high] * 20), np.array([low, high] * 20))], rows=rows)
        assert scale.low > -(scale.high - scale.low) / rows
        assert scale.low <= low
        assert scale.high >= high
