"""A chart that grows row by row is the chart drawn at once, and costs the same at any size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vlamon.charts.drawn import (
    PLAIN,
    SIZE,
    WHOLE,
    block,
    draw,
    explosion,
    picture,
    rolled_back,
)
from vlamon.charts.cells import Guide
from vlamon.charts.chart import Picture, plot_columns
from vlamon.charts.chart_style import ChartStyle
from vlamon.charts.frame import plot_row
from vlamon.charts.glyphs import UNICODE as GLYPHS
from vlamon.charts.metric_roles import roles_of_lines
from vlamon.charts.rows import cells, text_of
from vlamon.charts.smoothing import Smoothing
from vlamon.charts.ticks import Axis
from vlamon.charts.track import extent
from vlamon.charts.viewport import View, Window, window
from vlamon.records import BatchBlock, Column, Event
from vlamon.store import RunStore


def test_ten_rows_are_a_whole_picture() -> None:
    store = RunStore()
    store.apply(block(0, [14, 12, 11, 10, 9.5, 9, 8.8, 8.7, 8.6, 8.55]))
    store.apply(Event("a", "checkpoint", 5, 0, 1.7e9))
    assert draw(picture((Guide(11.09, "guess", "ln V"),)), store) == [
        "╭ closs  8.550 ────────────────────────────────────────────╮",
        "│    14●⠒⢲                                                 │",
        "│        ⠈⡆                                                │",
        "│    12   ⠓⠒●⠒⠲⡀                                           │",
        "│      ┈┈┈┈┈┈┈┈⠓⠒●⠒⠒⢆┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈ ln V ┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈│",
        "│    10             ⠘⠒⠒●⠒⠒⣄⣀●⣀⣀                            │",
        "│                              ⠓⠒●⠒⠒⠢⠤⠤●⠤⠤⠤⠤●⠤⠤⣀⣀●⣀⣀⣀⣀⣀●   │",
        "│     8                                                    │",
        "│                                                          │",
        "╰──────0 ───┴────┴─────┴────┴─── 5 ────┴────┴────┴──── 9 ──╯",
    ]


def test_a_chart_without_a_number_has_no_scale() -> None:
    store = RunStore()
    store.apply(block(0, [math.nan] * 50))
    assert all(row[1:7].isspace() for row in draw(picture(), store)[1:-1])


def test_a_guide_keeps_a_label_where_its_line_is_crowded() -> None:
    store = RunStore()
    store.apply(block(0, [9.0 + 4 * (n % 40 < 8) for n in range(200)]))
    found = draw(picture((Guide(11.09, "guess", "ln 65,536 11.09"),)), store)
    (line,) = (n for n, row in enumerate(found) if "┈" in row)
    (label,) = (n for n, row in enumerate(found) if " 11.09 " in row)
    assert abs(line - label) <= 1
    assert "ln 65,536" in found[label] or label == line


def test_an_explosion_pushes_a_label_aside() -> None:
    store = RunStore()
    store.apply(block(0, [9.0] * 200))
    store.apply(Event("e", "explode", 100, 0, 1.7e9))
    last = draw(picture(), store, size=(120, 10))[-1]
    assert "✗" in last
    assert " 50 " in last
    assert " 100 " not in last


values = st.lists(
    st.one_of(st.floats(0, 100, width=32), st.sampled_from((math.nan, math.inf, 8.0, 8.5))),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(values, min_size=1, max_size=12),
    st.sampled_from((None, 0, 8, 13)),
    st.sampled_from(("off", "auto", "strong")),
    st.booleans(),
    st.sampled_from((1, 7)),
)
def test_a_chart_that_grew_is_the_chart_drawn_at_once(
    blocks: list[list[float]], level: int | None, smooth: Smoothing, log: bool, every: int
) -> None:
    look = ChartStyle(log=log, smooth=smooth, band=False)
    guide = (Guide(50.0, "guess", "guess"),)
    view = View(level=level, cursor=7.0)
    store, grown = RunStore(), picture(guide)
    first = 0
    for held in blocks:
        store.apply(block(first, held, every=every))
        first += len(held)
        draw(grown, store, view, look=look)
    fresh = picture(guide)
    draw(fresh, store, view, look=look)
    fresh.scale = grown.scale
    shown = window(view, extent(store, "step"), plot_columns(SIZE[0]))
    once = fresh.cells(shown, SIZE[1] - 2, view, look)
    if fresh.tracks[0].live.finite.sum() != 1:  # which is said in words
        rows = [plot_row(once, n, grown.rows[n + 1][1][0], GLYPHS, "border") for n in range(8)]
        assert grown.rows[1:-1] == rows


@pytest.mark.parametrize("axis", ["step", "epoch", "since", "time"])
def test_more_rows_never_change_finished_columns(axis: Axis) -> None:
    rng = np.random.default_rng(0)
    store, chart = RunStore(), picture()
    store.apply(block(0, rng.normal(8, 1, 300).tolist()))
    view = View(axis=axis)
    draw(chart, store, view)
    track, shown = chart.tracks[0], chart.window
    assert shown is not None
    before = [values.copy() for values in (track.live.low, track.live.high, track.live.mean)]
    newest = shown.column(extent(store, axis).last)
    assert newest is not None
    store.apply(block(300, rng.normal(8, 1, 3).tolist()))
    draw(chart, store, view)
    assert chart.window == shown
    after = (track.live.low, track.live.high, track.live.mean)
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old[:newest], new[:newest])


@pytest.mark.parametrize("rows", [10, 1000, 250_000])
def test_the_bins_asked_of_the_store_depend_on_the_width_alone(rows: int) -> None:
    store, chart = RunStore(), picture()
    store.apply(block(0, np.linspace(14, 8, rows).tolist()))
    draw(chart, store)
    assert chart.tracks[0].queried == plot_columns(SIZE[0])
    for step in range(5):
        store.apply(block(rows + step, [8.0]))
        draw(chart, store, View(level=chart.window.level) if chart.window else View())
    pages = 2 if rows > 10 else 4  # of ten rows, each new one is half a page
    assert chart.tracks[0].queried <= pages * plot_columns(SIZE[0])


def test_one_bad_batch_among_a_million_is_lit_in_its_column_in_the_colour_that_says_so() -> None:
    held = np.full(1_000_000, 8.5)
    held[::7] = 8.3
    held[612_345] = 95.2
    store, chart = RunStore(), picture()
    store.apply(block(0, held.tolist()))
    store.apply(explosion(612_345, 95.2))
    lines = draw(chart, store)
    assert chart.window is not None
    cell = (chart.window.column(612_345) or 0) // 2
    assert lines[1][7 + cell :].startswith("↑95.2")
    assert chart._grid is not None
    assert chart._grid.role(0, cell) == "explode"


def test_a_judged_batch_within_the_range_is_a_bright_dot_at_its_height() -> None:
    store, chart = RunStore(), picture()
    store.apply(block(0, [8.0 + n % 2 for n in range(500)] + [9.5] + [8.0, 9.0] * 50))
    store.apply(Event("w", "warn", 500, 0, 1.7e9, "warn", "", {"metric": "closs"}))
    draw(chart, store)
    grid, shown = chart._grid, chart.window
    assert grid is not None
    assert shown is not None
    assert chart.scale is not None
    row, cell = chart.scale.row(9.5, 8), (shown.column(500) or 0) // 2
    assert row is not None
    assert (grid.text(row)[cell], grid.role(row, cell)) == ("●", "warn")


def test_a_verdict_that_comes_before_its_batch_is_drawn_with_it() -> None:
    store, chart = RunStore(), picture()
    store.apply(block(0, [8.0, 8.5] * 50))
    store.apply(explosion(100, 40.0))
    draw(chart, store)
    store.apply(block(100, [40.0]))
    draw(chart, store)
    assert "explode" in {role.split()[0] for row in chart.rows[1:-1] for _, role in row if role}


def test_the_start_of_a_run_leaves_through_the_top_with_a_mark() -> None:
    store, chart = RunStore(), picture()
    early = [200.0 * 0.9**n + 8 for n in range(60)]
    store.apply(block(0, early + [8.0 + 0.1 * (n % 5) for n in range(2000)]))
    lines = draw(chart, store)
    assert chart.scale is not None
    assert chart.scale.high < 12
    assert "↑" in lines[1]
    assert "208" in lines[1]


def test_a_constant_is_one_label_and_a_level_line() -> None:
    store, chart = RunStore(), picture()
    store.apply(block(0, [1e-4] * 500))
    lines = draw(chart, store)
    assert [line[1:7].strip() for line in lines[1:-1] if line[1:7].strip()] == ["0.0001"]
    assert sum(any("⠀" < char <= "⣿" for char in line) for line in lines) == 1


def test_few_values_are_dots_joined_by_level_steps_and_each_has_a_tick() -> None:
    store, chart = RunStore(), picture()
    store.apply(block(0, [14.0, 12, 11, 10, 9.5, 9]))
    lines = draw(chart, store)
    assert sum(line.count("●") for line in lines[1:-1]) == 6
    ticks = {n for n, char in enumerate(lines[-1]) if char == "┴" or char.isdigit()}
    dots = [n for line in lines[1:-1] for n, char in enumerate(line) if char == "●"]
    assert all(ticks & {n - 1, n, n + 1} for n in dots)


def test_a_single_value_is_said_in_words() -> None:
    store, chart = RunStore(), picture()
    store.apply(block(0, [8.5]))
    assert any("8.500 at step 0: the only value here" in line for line in draw(chart, store))


def ranks(count: int, off: int | None = None) -> tuple[RunStore, Picture]:
    store, steps = RunStore(), np.arange(400)
    noise = np.random.default_rng(0).normal(0, 0.01, (count, 400))
    names = [f"closs_rank{rank}" for rank in range(count)]
    values = {
        name: Column(8.0 + 0.02 * rank + noise[rank] + 9.0 * (rank == off))
        for rank, name in enumerate(names)
    }
    store.apply(BatchBlock(0, 0, steps, steps / 100.0, steps * 1.0, values))
    return store, Picture(names, "closs by rank", roles_of_lines(names))


def test_a_few_series_are_lines_with_their_names_at_the_right_in_their_order() -> None:
    store, chart = ranks(4)
    shown = window(WHOLE, extent(store, "step"), chart.plot_columns(SIZE[0]))
    chart.update(store, WHOLE, shown, (), SIZE, PLAIN)
    lines = [text_of(row) for row in chart.rows]
    assert {cells(row) for row in chart.rows} == {SIZE[0]}
    found = [line.split("│")[1].split() for line in lines[1:-1] if " r" in line]
    assert [words[-2] for words in found] == ["r3", "r2", "r1", "r0"]
    assert not chart.drawing.curves[0].band


def test_of_more_than_eight_series_the_median_is_drawn_and_the_outlier_named() -> None:
    store, chart = ranks(12, off=5)
    lines = draw(chart, store)
    assert "median 8." in lines[0]
    assert "rank 5 ×2.1" in lines[0]
    common, odd = chart.drawing.curves
    assert np.nanmax(common.bins.high) < 9.0, "the tint is of the others"
    assert np.nanmin(odd.line) > 17.0
    store, chart = ranks(12)
    assert "rank" not in draw(chart, store)[0].replace("by rank", "")


def test_only_the_lowest_chart_has_the_marks_of_events() -> None:
    store = rolled_back()
    store.apply(Event("e", "rollback", 60, 1, 1.7e9))
    assert "↶" in draw(picture(), store)[-1]
    assert "↶" not in draw(picture(), store, look=ChartStyle(band=False, marks=False))[-1]


def test_a_new_value_changes_few_rows() -> None:
    store, chart = RunStore(), picture()
    store.apply(block(0, (8 + np.random.default_rng(0).normal(0, 0.2, 1000)).tolist()))
    draw(chart, store)
    store.apply(block(1000, [8.1]))
    shown = window(View(), extent(store, "step"), plot_columns(SIZE[0]))
    assert len(chart.update(store, View(), shown, [], SIZE, PLAIN)) <= 4


def test_a_value_that_moves_no_dot_draws_nothing_but_the_title() -> None:
    store, chart = RunStore(), picture()
    store.apply(block(0, [7.0, 9.0] * 5000))
    before = draw(chart, store)
    grid = chart._grid
    store.apply(block(10_000, [8.9, 8.1]))
    assert draw(chart, store)[1:] == before[1:]
    assert chart._grid is grid
    assert "8.100" in text_of(chart.rows[0])
    store.apply(block(10_002, [6.2]))
    draw(chart, store)
    assert chart._grid is not grid, "the band reaches lower"


def test_nothing_new_changes_no_row() -> None:
    store, chart = RunStore(), picture()
    store.apply(block(0, [1.0, 2.0, 3.0]))
    draw(chart, store)
    shown = window(View(), extent(store, "step"), plot_columns(SIZE[0]))
    assert chart.update(store, View(), shown, [], SIZE, PLAIN) == []


def test_nan_is_marked_on_the_time_line_even_under_a_million_rows() -> None:
    held = np.full(100_000, 8.5)
    held[50_000] = math.nan
    store, chart = RunStore(), picture()
    store.apply(block(0, held.tolist()))
    lines = draw(chart, store)
    assert chart.window is not None
    column = chart.window.column(50_000)
    assert column is not None
    assert lines[-1][7 + column // 2] == "∅"


@settings(max_examples=40, deadline=None)
@given(st.integers(10, 130), st.integers(1, 20), st.integers(0, 300))
def test_every_size_gives_rows_of_exactly_that_size(width: int, height: int, rows: int) -> None:
    store, chart = RunStore(), picture((Guide(11.09, "guess", "ln V 11.09"),))
    if rows:
        store.apply(block(0, np.linspace(14, 8, rows).tolist()))
    draw(chart, store, size=(width, height))
    assert len(chart.rows) == height
    assert {cells(row) for row in chart.rows} == {width}


def test_a_log_picture_says_so() -> None:
    store, chart = RunStore(), picture()
    store.apply(block(0, np.geomspace(10, 1e-4, 200).tolist()))
    lines = draw(chart, store, look=ChartStyle(log=True))
    labels = [line[1:7].strip() for line in lines[1:-1]]
    assert [label for label in labels if label] == ["1", "0.01", "1e-4"]
    assert "log" in lines[0]


def test_a_picture_without_rows_is_an_empty_frame() -> None:
    lines = draw(picture(), RunStore())
    assert lines[0].startswith("╭ closs ─")
    assert all(line.strip("│ 01.5") == "" for line in lines[1:-1])


def test_a_held_window_does_not_move() -> None:
    store, chart = RunStore(), picture()
    store.apply(block(0, [8.0] * 100))
    view = View(level=0, left=40.0)
    draw(chart, store, view)
    assert chart.window == Window(40, 0, plot_columns(SIZE[0]))


def test_the_lines_from_which_a_batch_warns_and_explodes_follow_the_detector() -> None:
    rng = np.random.default_rng(0)
    store, chart = RunStore(), picture()
    store.apply(block(0, rng.normal(8.5, 0.2, 400).tolist()))
    draw(chart, store, look=ChartStyle(robust=False))
    warn = next(guide for guide in chart.guides if guide.role == "warn")
    assert 9.0 < warn.value < 11.0
    store.apply(block(400, [warn.value * 1.02, warn.value * 0.98]))
    lines = draw(chart, store, look=ChartStyle(robust=False))
    assert any(f"warn {warn.label.split()[1]}" in line for line in lines)


def test_a_metric_that_is_no_loss_has_no_band() -> None:
    store = RunStore()
    steps = np.arange(300)
    store.apply(
        BatchBlock(0, 0, steps, steps * 1.0, steps * 1.0, {"lr": Column(np.linspace(1, 2, 300))})
    )
    chart = Picture(["lr"], "lr", ["series_1"])
    draw(chart, store, look=ChartStyle())
    assert chart.guides == ()


def test_older_rows_that_come_later_are_drawn_in_front() -> None:
    behind, store, chart = RunStore(), RunStore(), picture()
    behind.apply(block(0, [9.0] * 500 + [8.0] * 500))
    store.apply(block(500, [8.0] * 500))
    view = View(level=12, left=0.0)
    draw(chart, store, view)
    assert np.isnan(chart.tracks[0].live.high[10])
    store.take_rows_of(behind)
    draw(chart, store, view)
    assert chart.tracks[0].live.high[10] == 9.0
    assert chart.tracks[0].live.high[100] == 8.0
