"""What a chart draws of a run that was rolled back or restarted."""

from __future__ import annotations

import numpy as np

from tests.vlamon.charts.drawn import PLAIN, WHOLE, block, draw, picture, rolled_back
from vlamon.charts.chart_style import ChartStyle
from vlamon.store import RunStore


def test_everything_fits_includes_what_was_rolled_back() -> None:
    store = RunStore()
    store.apply(block(0, [2.0 + n % 2 for n in range(300)] + [95.0]))
    store.apply(block(301, [2.0 + n % 2 for n in range(100)], attempt=1))
    store.apply(block(200, [2.0 + n % 2 for n in range(300)], attempt=2))
    clipped = picture()
    assert any("↑95.0" in row for row in draw(clipped, store)[1:-1])
    assert clipped.scale is not None
    assert clipped.scale.high < 10
    for chart in (clipped, picture()):
        shown = draw(chart, store, look=ChartStyle(band=False, robust=False))
        assert not any("↑" in row for row in shown[1:-1])
        assert chart.scale is not None
        assert chart.scale.high >= 95
    assert any("↑" in row for row in draw(clipped, store)[1:-1])


def test_no_line_joins_what_two_rollbacks_abandoned() -> None:
    store = RunStore()
    store.apply(block(0, [9.0] * 100 + [4.0] * 20))
    store.apply(block(100, [9.0] * 600 + [4.0] * 20, attempt=1))
    store.apply(block(700, [9.0] * 100, attempt=2))
    chart = picture()
    draw(chart, store, size=(120, 12))
    below = [n for n, row in enumerate(chart.rows[1:-1]) for _, r in row if "abandoned" in r]
    shown = chart.window
    assert shown is not None
    grid = chart.cells(shown, 10, WHOLE, PLAIN)
    between = slice((shown.column(200) or 0) // 2, (shown.column(600) or 0) // 2)
    assert below
    assert all(grid.role(row, n) != "abandoned" for row in range(10) for n in range(120)[between])


def test_a_restart_from_the_beginning_has_an_x_axis_of_its_own() -> None:
    store, chart = RunStore(), picture()
    store.apply(block(0, [9.0] * 5000))
    store.apply(block(0, [8.0, 8.5] * 50, attempt=1))
    draw(chart, store)
    assert chart.window is not None
    assert chart.window.end < 130
    track = chart.tracks[0]
    assert track.abandoned is not None
    assert np.nanmax(track.abandoned.high) == 9.0


def test_an_abandoned_attempt_stays_on_screen_and_is_told_apart() -> None:
    store, chart = rolled_back(), picture()
    draw(chart, store)
    track, shown = chart.tracks[0], chart.window
    assert shown is not None
    assert track.abandoned is not None
    at = shown.column(80.0)
    assert at is not None
    assert track.live.high[at] == 7.0
    assert track.abandoned.high[at] == 40.0
    before = shown.column(30.0)
    assert before is not None
    assert np.isnan(track.abandoned.high[before])
    assert track.live.high[before] == 8.0
    roles = {role for row in chart.rows for _, role in row}
    assert any(role.startswith("abandoned") for role in roles)


def test_rows_after_a_rollback_join_the_run_and_not_what_was_abandoned() -> None:
    store, chart = rolled_back(), picture()
    draw(chart, store)
    store.apply(block(120, [6.5, 6.0], attempt=1))
    draw(chart, store)
    track, shown = chart.tracks[0], chart.window
    assert shown is not None
    assert track.abandoned is not None
    at = shown.column(121.0)
    assert at is not None
    assert track.live.last[at] == 6.0
    assert np.isnan(track.abandoned.high[at])
