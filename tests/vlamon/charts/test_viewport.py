"""The viewport: anchored windows, and keys that always lead back."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from vlamon.charts.viewport import (
    COARSEST,
    FINEST,
    Extent,
    View,
    Viewport,
    Window,
    bin_width,
    window,
)

extents = st.tuples(st.integers(0, 10**7), st.integers(0, 10**7)).map(
    lambda ends: Extent(float(min(ends)), float(max(ends)))
)
widths = st.integers(2, 400)


def shown_by(viewport: Viewport, extent: Extent, columns: int = 200) -> Window:
    return window(viewport.view, extent, columns)


@settings(max_examples=300, deadline=None)
@given(extents, widths, st.one_of(st.none(), st.integers(-20, 96)))
def test_windows_are_anchored_at_zero_and_hold_the_newest_data(
    extent: Extent, columns: int, level: int | None
) -> None:
    found = window(View(level=level), extent, columns)
    assert found.first % 2 == 0
    assert found.columns % 2 == 0
    mantissa = math.frexp(found.bin)[0] * 8
    assert mantissa in (4, 5, 6, 7)
    assert found.column(extent.last) is not None


@settings(max_examples=300, deadline=None)
@given(extents, widths)
def test_the_whole_run_fills_four_fifths_of_the_width(extent: Extent, columns: int) -> None:
    found = window(View(), extent, columns)
    assert found.column(extent.first) in (0, 1)
    used = (found.column(extent.last) or 0) + 1
    assert used > 0.8 * found.columns - 3 or found.level == FINEST["step"]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 10**6), st.integers(0, 2000), widths)
def test_a_point_keeps_its_column_until_the_zoom_changes(
    steps: int, more: int, columns: int
) -> None:
    before = window(View(), Extent(0.0, float(steps)), columns)
    after = window(View(), Extent(0.0, float(steps + more)), columns)
    if before.level == after.level:
        assert before == after
    else:
        assert after.level > before.level


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 48), st.integers(20, 400))
def test_a_following_window_moves_by_pages_not_by_points(
    steps: int, level: int, columns: int
) -> None:
    view = View(level=level)
    first = window(view, Extent(0.0, float(steps)), columns)
    second = window(view, Extent(0.0, float(steps + first.bin)), columns)
    moved = second.first - first.first
    assert moved == 0 or moved >= columns // 5 - 1
    assert (second.column(steps + first.bin) or 0) + 1 >= min(0.8 * columns - 3, steps / first.bin)


keys = st.lists(
    st.one_of(
        st.tuples(st.just("zoom"), st.integers(-4, 4)),
        st.tuples(st.just("pan"), st.integers(-80, 80)),
        st.tuples(st.just("hold"), st.just(0)),
        st.tuples(st.just("cursor"), st.integers(0, 10**6)),
        st.tuples(st.just("reveal"), st.integers(0, 10**6)),
    ),
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@given(keys, st.integers(0, 10**6))
def test_no_keys_lead_out_of_the_data_and_two_always_lead_back(
    pressed: list[tuple[str, int]], last: int
) -> None:
    extent = Extent(0.0, float(last))
    viewport = Viewport()
    for key, value in pressed:
        shown = shown_by(viewport, extent)
        if key == "zoom":
            viewport.zoom(shown, extent, value)
        elif key == "pan":
            viewport.pan(shown, extent, value)
        elif key == "hold":
            viewport.toggle_hold(shown)
        elif key == "cursor":
            viewport.set_cursor(float(value))
        else:
            viewport.reveal(float(min(value, last)), shown, extent)
        found = shown_by(viewport, extent)
        assert FINEST["step"] <= found.level <= COARSEST
        assert found.start <= extent.last
        assert found.end > extent.first
        assert found.first % 2 == 0
    viewport.show_all()
    assert shown_by(viewport, extent) == window(View(), extent, 200)
    assert not viewport.held


def test_the_cursor_stays_where_it_is_while_zooming() -> None:
    extent = Extent(0.0, 100_000.0)
    viewport = Viewport()
    viewport.set_cursor(40_000.0)
    for _ in range(6):
        viewport.zoom(shown_by(viewport, extent), extent, -1)
    shown = shown_by(viewport, extent)
    assert shown.column(40_000.0) is not None
    assert shown.bin < 16
    assert viewport.held


def test_zooming_in_while_following_keeps_following() -> None:
    extent = Extent(0.0, 100_000.0)
    viewport = Viewport()
    viewport.zoom(shown_by(viewport, extent), extent, -4)
    assert not viewport.held
    later = Extent(0.0, 200_000.0)
    assert shown_by(viewport, later).column(200_000.0) is not None


def test_a_held_window_stays_and_letting_go_fits_the_whole_run_again() -> None:
    viewport = Viewport()
    before = shown_by(viewport, Extent(0.0, 1000.0))
    viewport.toggle_hold(before)
    assert shown_by(viewport, Extent(0.0, 9000.0)) == before
    viewport.toggle_hold(before)
    assert shown_by(viewport, Extent(0.0, 9000.0)).column(9000.0) is not None
    assert viewport.view == View()


def test_panning_past_the_newest_data_follows_it_again() -> None:
    extent = Extent(0.0, 100_000.0)
    viewport = Viewport()
    viewport.zoom(shown_by(viewport, extent), extent, -4)
    viewport.pan(shown_by(viewport, extent), extent, -40)
    assert viewport.held
    viewport.pan(shown_by(viewport, extent), extent, 200)
    assert not viewport.held


def test_zooming_out_far_enough_shows_the_whole_run() -> None:
    extent = Extent(0.0, 100_000.0)
    viewport = Viewport()
    viewport.zoom(shown_by(viewport, extent), extent, -3)
    for _ in range(5):
        viewport.zoom(shown_by(viewport, extent), extent, 1)
    assert viewport.view.level is None


def test_the_version_moves_with_changes_alone() -> None:
    viewport = Viewport()
    viewport.show_all()
    viewport.set_cursor(None)
    assert viewport.version == 0
    viewport.set_cursor(5.0)
    assert viewport.version == 1


def test_a_run_without_rows_has_a_window() -> None:
    assert window(View(), Extent(0.0, 0.0), 100).column(0.0) == 0


def test_a_narrow_chart_has_whole_cells() -> None:
    assert window(View(), Extent(0.0, 99.0), 7).columns == 6


@given(st.integers(-100, 100))
def test_four_levels_double_a_bin_and_none_is_more_than_a_quarter_wider(level: int) -> None:
    assert bin_width(level + 4) == 2 * bin_width(level)
    assert 1 < bin_width(level + 1) / bin_width(level) <= 1.25


def test_zooming_in_and_out_again_shows_the_same() -> None:
    extent = Extent(0.0, 62_000.0)
    viewport = Viewport()
    shown = shown_by(viewport, extent)
    viewport.zoom(shown, extent, -1)
    closer = shown_by(viewport, extent)
    assert closer.bin == shown.bin / 2
    viewport.zoom(closer, extent, 1)
    assert shown_by(viewport, extent) == shown


def test_holding_changes_nothing_until_it_is_let_go() -> None:
    extent = Extent(0.0, 62_000.0)
    viewport = Viewport()
    shown = shown_by(viewport, extent)
    viewport.toggle_hold(shown)
    assert viewport.held
    assert shown_by(viewport, extent) == shown
    assert window(viewport.view, Extent(0.0, 170_000.0), 200) == shown


def test_a_batch_of_a_run_that_a_restart_left_behind_can_be_shown() -> None:
    extent = Extent(0.0, 100.0)
    viewport = Viewport()
    viewport.reveal(39_000.0, shown_by(viewport, extent), extent)
    assert shown_by(viewport, extent).column(39_000.0) is not None
