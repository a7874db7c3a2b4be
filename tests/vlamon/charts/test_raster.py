"""The rasteriser: nothing finite is lost, nothing else is invented, whatever the range and size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vlamon.charts.bins import FINITE, NAN, NEG_INF, POS_INF, Bins
from vlamon.charts.braille import BLANK, DOTS_HIGH, lit, patterns
from vlamon.charts.cells import ASCII, MARKED, Cells, Curve, Guide, JudgedDot
from vlamon.charts.raster import rasterise
from vlamon.charts.scale import Scale, fit
from vlamon.charts.shapes import spans
from vlamon.charts.smoothing import Smoothing, line_of

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
            bins.total[column] = finite.sum(dtype=np.float64)
            bins.finite[column] = len(finite)
        flags = 0
        flags |= FINITE if len(finite) else 0
        flags |= NAN if np.isnan(cells).any() else 0
        flags |= POS_INF if (cells == np.inf).any() else 0
        flags |= NEG_INF if (cells == -np.inf).any() else 0
        bins.flags[column] = flags
    return bins


def curve(bins: Bins, role: str = "closs", smooth: Smoothing = "off", **changes: bool) -> Curve:
    return Curve(bins, line_of(bins, smooth), role, **changes)


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
def test_every_extreme_is_in_a_tinted_cell_or_beyond_an_arrow(
    values: list[list[float]], log: bool, robust: bool
) -> None:
    bins = bins_of(values)
    scale = fit([(bins.low, bins.high)], log=log, robust=robust)
    cells = rasterise([curve(bins)], scale, len(values), ROWS)
    shown = text(cells)
    for column, flags in enumerate(bins.flags):
        if not flags & FINITE:
            continue
        for value in (float(bins.low[column]), float(bins.high[column])):
            at = int(scale.dots(np.array([value]), ROWS * DOTS_HIGH)[0])
            if not 0 <= at < ROWS * DOTS_HIGH:
                assert set(shown[0 if at < 0 else -1]) & set("↑↓∞")
                continue
            near = range(max(0, at - 1) // DOTS_HIGH, min(at + 1, ROWS * DOTS_HIGH - 1) // 4 + 1)
            assert any(
                cells.ground(row, column // 2) or shown[row][column // 2] != " " for row in near
            )


@settings(max_examples=200, deadline=None)
@given(columns)
def test_without_tints_every_extreme_of_a_cell_is_a_dot(values: list[list[float]]) -> None:
    bins = bins_of(values)
    scale = fit([(bins.low, bins.high)], robust=False)
    cells = rasterise([curve(bins)], scale, len(values), ROWS, tinted=False)
    assert not cells.grounds.any()
    for first in range(0, len(values), 2):
        if (bins.finite[first : first + 2] < 2).any() or bins.flags[first : first + 2].max() > 1:
            continue
        for extreme in (bins.low[first : first + 2].min(), bins.high[first : first + 2].max()):
            at = int(scale.dots(np.array([extreme]), ROWS * DOTS_HIGH)[0])
            assert text(cells)[at // DOTS_HIGH][first // 2] != " "


@settings(max_examples=200, deadline=None)
@given(columns)
def test_a_non_finite_value_leaves_a_sign_in_its_column(values: list[list[float]]) -> None:
    bins = bins_of(values)
    scale = fit([(bins.low, bins.high)])
    cells = rasterise([curve(bins)], scale, len(values), ROWS)
    shown = text(cells)
    for column, flags in enumerate(bins.flags):
        in_column = {row[column // 2] for row in shown}
        if flags & (POS_INF | NEG_INF):
            assert "∞" in in_column
        if flags & NAN:
            assert "∅" in in_column or " " not in in_column


def test_a_judged_batch_is_a_bright_dot_at_its_height_or_an_arrow_with_its_value() -> None:
    values: list[list[float]] = [[8.0 + 0.01 * n, 8.5 + 0.01 * n] for n in range(100)]
    bins = bins_of(values)
    scale = fit([(bins.low, bins.high)])
    spots = [JudgedDot(20, 8.9, "warn"), JudgedDot(61, 95.2, "explode")]
    cells = rasterise([curve(bins)], scale, 100, ROWS, spots=spots)
    row = scale.row(8.9, ROWS)
    assert row is not None
    assert (text(cells)[row][10], cells.role(row, 10)) == ("●", "warn")
    assert text(cells)[0][30:35] == "↑95.2"
    assert cells.role(0, 30) == "explode"


def test_a_guide_hides_neither_a_judged_batch_nor_its_value() -> None:
    bins = bins_of([[8.0, 9.0]] * 100)
    guide = Guide(8.9, "guess", "chance 8.90")
    for column in range(0, 100, 2):
        spots = [JudgedDot(column, 95.2, "explode")]
        scale = Scale(8.0, 8.95)
        cells = rasterise([curve(bins)], scale, 100, ROWS, guides=[guide], spots=spots)
        top = text(cells)[0]
        assert top[column // 2] == "↑"
        assert "95.2" in top
        assert "8.90" in "".join(text(cells)[:2])


def test_an_outlier_does_not_squash_the_curve_and_is_marked_where_it_happened() -> None:
    values: list[list[float]] = [[8.0 + 0.01 * n, 8.5 + 0.01 * n] for n in range(100)]
    values[61] = [8.4, 95.0]
    bins = bins_of(values)
    scale = fit([(bins.low, bins.high)])
    assert scale.high < 15
    cells = rasterise([curve(bins)], scale, 100, ROWS)
    assert [cell for cell, char in enumerate(text(cells)[0]) if char == "↑"] == [30]
    assert "95.0" in text(cells)[0][20:45]
    assert cells.role(0, 30) == "muted"


def test_neighbours_out_of_range_share_one_mark_with_the_farthest_value() -> None:
    values: list[list[float]] = [[8.0, 8.5] for _ in range(100)]
    values[:8] = [[8.4, 95.0 - n] for n in range(8)]
    bins = bins_of(values)
    cells = rasterise([curve(bins)], Scale(7.0, 9.0), 100, ROWS)
    assert text(cells)[0].count("↑") == 1
    assert "95.0" in text(cells)[0]


def test_no_mark_stands_in_the_value_of_another() -> None:
    values: list[list[float]] = [[8.0, 8.5] for _ in range(100)]
    values[0], values[6] = [8.0, 91.5], [8.0, 65.7]
    first = text(rasterise([curve(bins_of(values))], Scale(7.0, 9.0), 100, ROWS))[0]
    assert "↑65.7 " in first
    assert "91.5" not in first, "there is no room that is not the other one's"


def test_nan_alone_breaks_the_line_and_is_marked() -> None:
    values: list[list[float]] = [[1.0], [1.0], [np.nan], [np.nan], [1.0], [1.0]]
    cells = rasterise([curve(bins_of(values))], Scale(0.0, 2.0), 6, 3)
    assert text(cells)[1][1] == "∅"
    assert "∅" not in text(cells)[1][0] + text(cells)[1][2]


def test_sparse_rows_are_joined_by_a_line() -> None:
    values: list[list[float]] = [[] for _ in range(20)]
    values[0], values[19] = [0.0], [1.0]
    bins = bins_of(values)
    first, end = spans(curve(bins), Scale(0.0, 1.0).dots(bins.mean, 20))
    assert (end > first).all()
    assert (np.diff(first) <= 0).all()


def test_steps_between_neighbours_leave_no_hole() -> None:
    values: list[list[float]] = [[0.0], [10.0], [2.0], [9.0]]
    cells = rasterise([curve(bins_of(values))], Scale(0.0, 10.0), 4, 4)
    rows = {row for row in range(16) for column in range(4) if dot(cells, row, column)}
    assert rows == set(range(16))


def test_the_cursor_hides_no_dot() -> None:
    values: list[list[float]] = [[3.0, 4.0]] * 20
    plain = rasterise([curve(bins_of(values))], Scale(0.0, 10.0), 20, ROWS)
    marked = rasterise([curve(bins_of(values))], Scale(0.0, 10.0), 20, ROWS, cursor=10)
    lit_cells = plain.glyphs != ord(" ")
    assert (marked.glyphs[lit_cells] == plain.glyphs[lit_cells]).all()
    assert (marked.roles[:, 5] & MARKED).all()
    assert not (marked.roles[:, 4] & MARKED).any()
    assert text(marked)[0][5] == "│"


def test_a_guide_lies_behind_the_curve_and_says_what_it_is() -> None:
    values: list[list[float]] = [[9.5]] * 10 + [[5.0, 6.0]] * 70
    guide = Guide(9.5, "guess", "ln V")
    cells = rasterise([curve(bins_of(values))], Scale(5.0, 10.0), 80, 5, guides=[guide])
    assert " ln V " in text(cells)[0]
    assert all("⠀" < char <= "⣿" for char in text(cells)[0][:5])
    assert cells.role(0, 39) == "guess"


def test_the_line_goes_through_the_means_over_the_tint_of_its_band() -> None:
    rng = np.random.default_rng(1)
    bins = bins_of([rng.normal(5, 1, 40).tolist() for _ in range(60)])
    scale = fit([(bins.low, bins.high)])
    cells = rasterise([curve(bins)], scale, 60, ROWS)
    rows = scale.dots(bins.mean, ROWS * DOTS_HIGH)
    assert all(dot(cells, int(row), column) for column, row in enumerate(rows))
    assert all(
        cells.ground(int(row) // DOTS_HIGH, column // 2) == "closs"
        for column, row in enumerate(rows)
    )


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.floats(-1e3, 1e3), max_size=5), min_size=2, max_size=300),
    st.sampled_from(("auto", "strong")),
)
def test_the_smoothed_line_never_leaves_the_band(
    values: list[list[float]], smooth: Smoothing
) -> None:
    bins = bins_of(values)
    line, several = line_of(bins, smooth), bins.finite > 1
    assert (line[several] >= bins.low[several]).all()
    assert (line[several] <= bins.high[several]).all()
    assert (np.isnan(line) == (bins.finite == 0)).all()


def test_smoothing_is_centred_and_leaves_about_sixty_independent_points() -> None:
    rng = np.random.default_rng(2)
    step = bins_of([[0.0, 40.0]] * 150 + [[1.0, 41.0]] * 150)
    middle = line_of(step, "strong")
    assert middle[149] + middle[150] == pytest.approx(41.0)
    noise = np.stack([line_of(Bins.of_values(rng.normal(size=300)), "auto") for _ in range(400)])
    assert noise[:, 100:200].var() == pytest.approx(60 / 300, rel=0.25)


def test_a_newest_column_with_one_batch_does_not_pull_the_line() -> None:
    values = [[8.0] * 50 + [8.2] * 50 for _ in range(119)] + [[8.2]]
    assert line_of(bins_of(values), "auto")[-1] == pytest.approx(8.1, abs=0.03)


def test_lines_that_share_cells_take_turns_in_their_own_colours() -> None:
    low: list[list[float]] = [[1.0]] * 8
    high: list[list[float]] = [[7.0]] * 8
    curves = [
        curve(bins_of(low), "series_1", band=False),
        curve(bins_of(high), "series_2", band=False),
        curve(bins_of(high), "series_3", band=False),
    ]
    cells = rasterise(curves, Scale(0.0, 8.0), 8, 4)
    assert [cells.role(0, column) for column in range(4)] == ["series_2", "series_3"] * 2
    assert [cells.role(3, column) for column in range(4)] == ["series_1"] * 4


def test_ascii_draws_line_band_and_marks_without_a_character_beyond_ascii() -> None:
    values: list[list[float]] = [[1.0, 9.0], [2.0], [np.nan], [np.inf], [3.0], [40.0]]
    guide = Guide(5.0, "guess", "ln V")
    scale = Scale(0.0, 10.0)
    cells = rasterise(
        [curve(bins_of(values))], scale, 6, 4, guides=[guide], signs=ASCII, tinted=False
    )
    assert "".join(text(cells)).isascii()
    shown = set("".join(text(cells)))
    assert {"n", "i", "~"} <= shown
    many = bins_of([[1.0, 9.0, 5.0]] * 40)
    plain = rasterise([curve(many)], scale, 40, 6, signs=ASCII, tinted=False)
    assert set("".join(text(plain))) - {" "} == {".", "'"}


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
        bins.merge(0, Bins.of_values(part))
    return bins


def test_merged_bins_know_the_extremes_and_the_mean_of_both_and_the_later_last_value() -> None:
    bins = merged([np.array([1, np.nan, 3], np.float32), np.array([2, 5, np.nan], np.float32)])
    assert bins.low.tolist() == [1, 5, 3]
    assert bins.high.tolist() == [2, 5, 3]
    assert bins.mean.tolist() == [1.5, 5, 3]
    assert bins.last.tolist() == [2, 5, 3]
