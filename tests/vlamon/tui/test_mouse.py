"""What the mouse does; all of it has a key as well."""

from __future__ import annotations

import pytest

from tests.vlamon.tui.driving import page, running
from vlamon.charts.frame import GUTTER


async def test_a_click_on_a_hint_runs_it() -> None:
    async with running() as (pilot, screen, feed):
        footer = "".join(text for text, _ in screen.placement.panels["footer"].role_rows()[0])
        await pilot.click("#footer", offset=(footer.index("checkpoint"), 0))
        await pilot.pause()
        assert feed.sent == [("checkpoint", {})]


async def test_a_click_on_an_event_jumps_to_it() -> None:
    async with running() as (pilot, screen, _):
        await pilot.click("#events", offset=(10, 1))
        await pilot.pause()
        assert screen.navigation.event_id == "e1"
        assert screen.navigation.cursor_row() == 39_210


async def test_a_click_on_a_chart_sets_the_cursor_in_all_of_them() -> None:
    async with running() as (pilot, screen, _):
        await pilot.click(screen.placement.charts[0], offset=(30, 5))
        await pilot.pause()
        assert screen.navigation.cursor_row() is not None
        assert screen.painter.frame is not None
        assert screen.painter.frame.at_cursor


async def test_a_click_on_a_column_reads_the_batch_that_stands_out_in_it() -> None:
    async with running() as (pilot, screen, _):
        chart = screen.placement.charts[0]
        assert chart.shown is not None
        column = chart.shown.column(39_210)
        assert column is not None
        await pilot.click(chart, offset=(GUTTER + 1 + column // 2, 5))
        await pilot.pause()
        assert screen.store.value("closs", screen.navigation.cursor_row() or 0) == pytest.approx(
            95.2
        )


async def test_a_click_on_a_line_of_a_dialog_chooses_it() -> None:
    async with running() as (pilot, _, feed):
        await pilot.press("r")
        lines = page(pilot).splitlines()
        y = next(index for index, line in enumerate(lines) if "39,150" in line and "disk" in line)
        await pilot.click(offset=(60, y))
        await pilot.pause()
        assert feed.sent == [("rollback", {"to": 39_150, "exact": True})]


async def test_a_click_beside_the_hints_does_nothing() -> None:
    async with running() as (pilot, _, feed):
        await pilot.click("#footer", offset=(0, 0))
        assert feed.sent == []
