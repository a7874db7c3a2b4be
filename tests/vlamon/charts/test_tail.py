"""A curve that is followed by its newest columns is the curve that is drawn whole."""

from __future__ import annotations

import numpy as np
import pytest

from vlamon.charts.bins import Bins
from vlamon.charts.cells import Curve
from vlamon.charts.chart import Picture, plot_columns
from vlamon.charts.chart_style import ChartStyle
from vlamon.charts.scale import Scale
from vlamon.charts.shapes import placement, shape
from vlamon.charts.smoothing import Smoothing, line_of
from vlamon.charts.tail import placed_tail, reshaped, tail_of, with_tail
from vlamon.charts.track import AxisData
from vlamon.charts.viewport import View, window
from vlamon.records import BatchBlock, Column
from vlamon.store import RunStore

COLUMNS, DOTS = 140, 40
SMOOTHINGS: tuple[Smoothing, ...] = ("off", "auto", "strong")


def filled(rng: np.random.Generator, columns: int, gaps: bool) -> Bins:
    bins = Bins.empty(COLUMNS)
    for column in range(columns):
        for value in rng.gamma(2, 3, 0 if gaps and rng.random() < 0.2 else rng.integers(1, 5)):
            bins.add(column, value)
    return bins


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("gaps", [False, True])
def test_the_tail_of_a_line_is_to_the_last_bit_that_of_the_whole(
    smoothing: Smoothing, gaps: bool
) -> None:
    rng, scale, found = np.random.default_rng(7), Scale(0.0, 11.0, rows=DOTS // 4), 0
    for _ in range(200):
        columns = int(rng.integers(70, COLUMNS + 1))
        bins, since = filled(rng, columns, gaps), columns - int(rng.integers(1, 6))
        tail = tail_of(bins, smoothing, since)
        if tail is None:
            continue
        found += 1
        line = line_of(bins, smoothing)
        assert tail.first <= since
        np.testing.assert_array_equal(tail.line, line[tail.first : tail.end])
        assert not bins.finite[tail.end :].any()
        placed, whole = placed_tail(tail, scale, DOTS), placement(bins, line, scale, DOTS)
        assert placed is not None
        assert placed.is_end_of(whole)
        curve = Curve(bins, line, "closs")
        before = line.copy()
        before[tail.first :] = 3.0
        old = Curve(bins, before, "closs")
        new = with_tail(old, tail)
        np.testing.assert_array_equal(new.line[: tail.end], line[: tail.end])
        made = reshaped(curve, shape(old, scale, DOTS), placed)
        np.testing.assert_array_equal(made.line[: tail.end], whole.line[: tail.end])
    assert found > (5 if gaps and smoothing != "off" else 100)


def test_a_tail_that_reaches_back_to_the_first_column_takes_the_whole_line() -> None:
    bins = filled(np.random.default_rng(1), COLUMNS, gaps=False)
    assert tail_of(bins, "strong", 3) is None
    assert placed_tail(tail_of(bins, "auto", 100), Scale(1.0, 9.0, log=True), DOTS) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("history", [900, 40_000])
def test_a_picture_that_grows_batch_by_batch_is_the_picture_drawn_at_once(
    smoothing: Smoothing, history: int
) -> None:
    rng = np.random.default_rng(3)
    store, axis, view = RunStore(), AxisData(), View()
    look = ChartStyle(smooth=smoothing, band=False)  # its lines move once in a while

    def grow(first: int, values: np.ndarray) -> None:
        step = np.arange(first, first + len(values))
        column = Column(values.astype(np.float64))
        store.apply(BatchBlock(first, 0, step, step / 100, step * 1.0, {"closs": column}, {}))

    def draw(picture: Picture) -> list[int]:
        extent, parts = axis.of(store, "step")
        shown = window(view, extent, plot_columns(64))
        return picture.update(store, view, shown, parts, (64, 12), look)

    grow(0, 8 + rng.normal(0, 0.3, history))
    growing = Picture(("closs",), "closs", ("closs",))
    whole = Picture(("closs",), "closs", ("closs",))
    draw(growing)
    draw(whole)
    for step in range(history, history + 150):
        grow(step, np.array([9.5 if step % 40 == 0 else 8 + rng.normal(0, 0.3)]))
        draw(growing)
        # The range is fitted again after so many drawings, which one of them has more of.
        whole.scale, whole._frames, whole._seen = growing.scale, 0, ()
        draw(whole)
        assert growing.rows[1:] == whole.rows[1:], step
