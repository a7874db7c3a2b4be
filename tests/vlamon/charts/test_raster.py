"""The rasteriser: nothing finite is lost, nothing else is invented, whatever the range and size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vlamon.charts.bins import FINITE, NAN, NEG_INF, POS_INF, Bins, line, smoothed
from vlamon.charts.braille import BLANK, DOTS_HIGH, lit, patterns
from vlamon.charts.raster import (
    ASCII,
    MARKED,
    Cells,
    Curve,
    Guide,
    rasterise,
    spans,
)
from vlamon.charts.scale import Scale, fit

ROWS = 6


def bins_of(values: list[list[float]]) -> Bins:
    """Bins that hold these values, as the store would summarise them."""
    bins = Bins.empty(len(values))
    for column, held in enumerate(values):
        cells = np.array(held, dtype=np.float32)
        finite = cells[np.isfinite(cells)]
        if len(finite):
            bins.low[column], bins.high[column] = finite.min(), finite.max()
            bins.last[column] = finite[-1]
        flags = 0
        flags |= FINITE if len(finite) else 0
        flags |= NAN if np.isnan(cells).any() else 0
        flags |= POS_INF if (cells == np.inf).any() else 0
        flags |= NEG_INF if (cells == -np.inf).any() else 0
        bins.flags[column] = flags
        bins.count[column] = len(cells)
    return bins


def text(cells: Cells) -> list[str]:
    return [cells.text(row) for row in range(len(cells.glyphs))]


def dot(cells: Cells, row: int, column: int) -> bool:
    """Whether a dot is lit, `row` and `column` counted in dots."""
    code = int(cells.glyphs[row // DOTS_HIGH, column // 2])
    if not BLANK <= code < BLANK + 256:
        return False
    return lit(code - BLANK, column % 2, row % DOTS_HIGH)


numbers = st.floats(-1e6, 1e6, width=32)
anything = st.one_of(numbers, st.sampled_from((np.nan, np.inf, -np.inf)))
columns = st.lists(st.lists(anything, max_size=4), min_size=2, max_size=40).map(
    lambda found: found if len(found) % 2 == 0 else found[:-1]
)


@settings(max_examples=200, deadline=None)
@given(columns, st.booleans(), st.booleans())
def test_every_finite_extreme_is_a_lit_dot_or_an_arrow(
    values: list[list[float]], log: bool, robust: bool
) -> None:
    bins = bins_of(values)
    scale = fit(bins.low, bins.high, log=log, robust=robust)
    cells = rasterise([Curve(bins, "closs")], scale, len(values), ROWS)
    for column, flags in enumerate(bins.flags):
        if not flags & FINITE:
            continue
        for value in (float(bins.low[column]), float(bins.high[column])):
            at = int(scale.dots(np.array([value], dtype=np.float32), ROWS * DOTS_HIGH)[0])
            cell = chr(int(cells.glyphs[at // DOTS_HIGH, column // 2]))
            assert dot(cells, at, column) or cell in "↑↓∞"


@settings(max_examples=200, deadline=None)
@given(columns)
def test_what_is_no_number_leaves_a_sign_in_its_column(values: list[list[float]]) -> None:
    bins = bins_of(values)
    scale = fit(bins.low, bins.high)
    cells = rasterise([Curve(bins, "closs")], scale, len(values), ROWS)
    shown = text(cells)
    for column, flags in enumerate(bins.flags):
        in_column = {row[column // 2] for row in shown}
        if flags & (POS_INF | NEG_INF):
            assert "∞" in in_column
        if flags & NAN:
            assert "✕" in in_column or " " not in in_column


def test_a_single_bad_batch_among_a_million_is_lit_in_its_column() -> None:
    values: list[list[float]] = [[8.4, 8.6]] * 100
    values[61] = [8.4, 95.0, 8.6]
    bins = bins_of(values)
    scale = fit(bins.low, bins.high, robust=False)
    cells = rasterise([Curve(bins, "closs")], scale, 100, ROWS)
    top = int(scale.dots(np.array([95.0], np.float32), ROWS * DOTS_HIGH)[0])
    assert [column for column in range(100) if dot(cells, top, column)] == [61]


def test_an_outlier_does_not_squash_the_curve_and_is_marked_where_it_happened() -> None:
    values: list[list[float]] = [[8.0 + 0.01 * n, 8.5 + 0.01 * n] for n in range(100)]
    values[61] = [8.4, 95.0]
    bins = bins_of(values)
    scale = fit(bins.low, bins.high)
    assert scale.high < 15
    cells = rasterise([Curve(bins, "closs")], scale, 100, ROWS)
    assert [cell for cell, char in enumerate(text(cells)[0]) if char == "↑"] == [30]
    assert cells.role(0, 30) == "warn"


def test_nan_alone_breaks_the_line_and_is_marked() -> None:
    values: list[list[float]] = [[1.0], [1.0], [np.nan], [np.nan], [1.0], [1.0]]
    cells = rasterise([Curve(bins_of(values), "closs")], Scale(0.0, 2.0), 6, 3)
    assert text(cells)[1][1] == "✕"
    assert "✕" not in text(cells)[1][0] + text(cells)[1][2]


def test_sparse_rows_are_joined_by_a_line() -> None:
    values: list[list[float]] = [[] for _ in range(20)]
    values[0], values[19] = [0.0], [1.0]
    bins = bins_of(values)
    first, end = spans(bins, Scale(0.0, 1.0), 20)
    assert (end > first).all()
    assert (np.diff(first) <= 0).all()


def test_steps_between_neighbours_leave_no_hole() -> None:
    values: list[list[float]] = [[0.0], [10.0], [2.0], [9.0]]
    cells = rasterise([Curve(bins_of(values), "closs")], Scale(0.0, 10.0), 4, 4)
    rows = {row for row in range(16) for column in range(4) if dot(cells, row, column)}
    assert rows == set(range(16))


def test_the_cursor_hides_no_dot() -> None:
    values: list[list[float]] = [[3.0, 4.0]] * 20
    plain = rasterise([Curve(bins_of(values), "closs")], Scale(0.0, 10.0), 20, ROWS)
    marked = rasterise([Curve(bins_of(values), "closs")], Scale(0.0, 10.0), 20, ROWS, cursor=10)
    lit_cells = plain.glyphs != ord(" ")
    assert (marked.glyphs[lit_cells] == plain.glyphs[lit_cells]).all()
    assert (marked.roles[:, 5] & MARKED).all()
    assert not (marked.roles[:, 4] & MARKED).any()
    assert text(marked)[0][5] == "│"


def test_a_guide_lies_behind_the_curve_and_says_what_it_is() -> None:
    values: list[list[float]] = [[5.0, 10.0]] * 10 + [[5.0, 6.0]] * 70
    guide = Guide(9.5, "guess", "ln V")
    cells = rasterise([Curve(bins_of(values), "closs")], Scale(5.0, 10.0), 80, 5, guides=[guide])
    assert " ln V " in text(cells)[0]
    assert text(cells)[0][:5] == "⣿" * 5
    assert cells.role(0, 39) == "guess"


def test_a_smoothed_line_keeps_the_extremes_of_the_envelope_below_it() -> None:
    rng = np.random.default_rng(1)
    values = [rng.normal(5, 1, 4).tolist() for _ in range(60)]
    bins = bins_of(values)
    scale = fit(bins.low, bins.high)
    curves = [Curve(bins, "closs"), Curve(line(smoothed(bins.last, 5.0)), "foreground", over=True)]
    cells = rasterise(curves, scale, 60, ROWS)
    tops = scale.dots(bins.high, ROWS * DOTS_HIGH)
    ends = scale.dots(bins.low, ROWS * DOTS_HIGH)
    assert all(dot(cells, int(row), column) for column, row in enumerate(tops))
    assert all(dot(cells, int(row), column) for column, row in enumerate(ends))


def test_smoothing_weighs_like_an_exponential_average_without_its_start_at_zero() -> None:
    values = np.array([4.0, 4.0, np.nan, 4.0, 0.0], dtype=np.float32)
    found = smoothed(values, 1.0)
    assert np.isnan(found[2])
    assert found[:2].tolist() == [4.0, 4.0]
    assert found[3] == 4.0
    assert found[4] == pytest.approx((4.0 * (0.5**4 + 0.5**3 + 0.5**2)) / (1 - 0.5**4))


def test_several_series_share_cells_and_the_last_one_colours_them() -> None:
    low: list[list[float]] = [[0.0, 4.0]] * 4
    high: list[list[float]] = [[4.0, 8.0]] * 4
    curves = [Curve(bins_of(low), "series_1"), Curve(bins_of(high), "series_2")]
    cells = rasterise(curves, Scale(0.0, 8.0), 4, 4)
    assert cells.role(0, 0) == "series_2"
    assert cells.role(3, 0) == "series_1"


def test_ascii_draws_the_same_picture_without_a_character_beyond_ascii() -> None:
    values: list[list[float]] = [[1.0, 9.0], [2.0], [np.nan], [np.inf], [3.0], [40.0]]
    curve = Curve(bins_of(values), "closs")
    cells = rasterise([curve], Scale(0.0, 10.0), 6, 4, guides=[Guide(5.0, "guess", "ln V")])
    plain = rasterise(
        [curve], Scale(0.0, 10.0), 6, 4, guides=[Guide(5.0, "guess", "ln V")], signs=ASCII
    )
    assert "".join(text(plain)).isascii()
    assert ((plain.glyphs != ord(" ")) == (cells.glyphs != ord(" "))).all()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24)), min_size=2, max_size=20).map(
        lambda found: found if len(found) % 2 == 0 else found[:-1]
    )
)
def test_patterns_light_exactly_the_dots_of_a_span(found: list[tuple[int, int]]) -> None:
    first = np.array([one for one, _ in found], dtype=np.intp)
    end = np.array([other for _, other in found], dtype=np.intp)
    cells = patterns(first, end, ROWS)
    for column in range(len(found)):
        for row in range(ROWS * DOTS_HIGH):
            on = lit(int(cells[row // DOTS_HIGH, column // 2]), column % 2, row % DOTS_HIGH)
            assert on == (first[column] <= row < end[column])


def merged(parts: list[NDArray[np.float32]]) -> Bins:
    bins = Bins.empty(len(parts[0]))
    for part in parts:
        bins.merge(0, line(part))
    return bins


def test_merged_bins_know_the_extremes_of_both_and_the_later_last_value() -> None:
    bins = merged([np.array([1, np.nan, 3], np.float32), np.array([2, 5, np.nan], np.float32)])
    assert bins.low.tolist() == [1, 5, 3]
    assert bins.high.tolist() == [2, 5, 3]
    assert bins.last.tolist() == [2, 5, 3]
