"""A cursor runs through all charts at one step: side by side they have the same bins."""

from __future__ import annotations

import pytest

from tests.vlamon.tui.driving import running, until
from tests.vlamon.tui.fake_feed import block, fed, info
from vlamon.charts.chart import plot_columns
from vlamon.charts.viewport import Viewport
from vlamon.records import Link


@pytest.mark.parametrize("rows", [90, 91, 92, 183])
async def test_charts_side_by_side_have_the_same_bins(rows: int) -> None:
    feed = fed(Link("live"), info(), block(0, rows))
    async with running(feed, size=(160, 45)) as (pilot, screen, _):
        await until(
            pilot, lambda: all(chart.shown is not None for chart in screen.placement.charts)
        )
        line = [chart for chart in screen.placement.charts if chart.region.y == 1]
        widths = {chart.size.width for chart in line}
        assert widths == {53, 54}
        shown = [chart.shown for chart in line if chart.shown is not None]
        assert len({(one.first, one.bin) for one in shown}) == 1
        assert {one.columns for one in shown} == {plot_columns(width) for width in widths}
        assert all(one.end >= rows for one in shown)


def test_a_chart_that_is_much_wider_chooses_its_own_bins() -> None:
    found = Viewport()
    found.lay_out([90, 92, 180])
    assert (found.shared(92), found.shared(90), found.shared(180)) == (90, 90, 180)
    assert found.shared(40) == 40
