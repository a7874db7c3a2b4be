"""Panels tile the screen at every size, and nothing is ever a sliver."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.vlamon.tui.driving import running
from tests.vlamon.tui.fake_feed import block, fed, whole_run
from vlamon.records import EpochRow
from vlamon.tui.layout import IN_SIDE, ContentNeeds, PanelRect, arrange, form_for, is_below

NEEDS = (
    ContentNeeds(charts=1, terms=0),
    ContentNeeds(charts=5, terms=3),
    ContentNeeds(charts=9, terms=3, gpu=False),
    ContentNeeds(charts=9, terms=3, headline=2),
    ContentNeeds(charts=40, terms=7, lower="inspector"),
    ContentNeeds(charts=5, terms=3, maximised=True),
    ContentNeeds(charts=9, terms=3, events=0, devices=8),
    ContentNeeds(charts=9, terms=3, events=2, devices=2, cursor=True),
    ContentNeeds(charts=9, terms=3, values=8, findings=4),
    ContentNeeds(charts=9, terms=3, values=60, findings=4),
)


@pytest.mark.parametrize("needs", NEEDS)
@pytest.mark.parametrize("width", [1, 20, 59, 60, 80, 99, 100, 120, 149, 160, 179, 180, 240, 400])
def test_panels_tile_the_screen_without_gap_or_overlap(width: int, needs: ContentNeeds) -> None:
    for height in range(1, 90):
        cells = [[0] * width for _ in range(height)]
        for place in arrange(width, height, needs).places:
            assert place.width > 0, place
            assert place.height > 0, place
            for y in range(place.y, place.y + place.height):
                for x in range(place.x, place.x + place.width):
                    cells[y][x] += 1
        assert all(count == 1 for row in cells for count in row), (width, height)


@pytest.mark.parametrize("needs", NEEDS)
def test_no_panel_is_ever_too_small_to_read(needs: ContentNeeds) -> None:
    for width in range(60, 300, 7):
        for height in range(14, 90):
            for place in arrange(width, height, needs).places:
                if place.name.startswith("chart-"):
                    assert place.width >= 38, (width, height, place)
                    assert place.height >= 7, (width, height, place)
                elif place.name not in ("status", "headline", "footer", "contribution", "gpu-line"):
                    assert place.height >= 5, (width, height, place)
                    assert place.width >= 36, (width, height, place)


@pytest.mark.parametrize(
    ("size", "form", "charts", "side"),
    [
        ((59, 24), "numbers", 0, False),
        ((60, 24), "column", 1, False),
        ((80, 24), "column", 1, False),
        ((120, 40), "grid", 8, False),
        ((160, 45), "grid", 9, False),
        ((200, 60), "grid", 9, True),
        ((240, 60), "grid", 9, True),
    ],
)
def test_breakpoints(size: tuple[int, int], form: str, charts: int, side: bool) -> None:
    found = arrange(*size, ContentNeeds(charts=9, terms=3))
    assert found.form == form_for(*size) == form
    assert found.charts == charts
    assert found.has("inspector") == side


def test_at_eighty_by_twenty_four_what_matters_most_is_on_screen() -> None:
    found = arrange(80, 24, ContentNeeds(charts=9, terms=3, headline=2))
    assert [place.name for place in found.places] == [
        "status", "headline", "chart-0", "contribution", "gpu-line", "events", "footer",
    ]  # fmt: skip


def test_a_chart_can_have_everything_between_status_and_keys() -> None:
    found = arrange(120, 40, ContentNeeds(charts=9, terms=3, maximised=True))
    assert [(place.name, place.width, place.height) for place in found.places] == [
        ("status", 120, 1),
        ("chart-0", 120, 38),
        ("footer", 120, 1),
    ]


@pytest.mark.parametrize("size", [(80, 40), (120, 40), (200, 60)])
def test_rows_that_events_do_not_fill_are_the_charts(size: tuple[int, int]) -> None:
    def height(**needs: int) -> int:
        places = arrange(*size, ContentNeeds(charts=9, terms=3, **needs)).places
        return next(place.height for place in places if place.name == "events")

    assert height(events=0) == height(events=3) == 5
    assert height(events=4) == height(events=6)
    assert 5 < height(events=4) <= height(events=99)


@pytest.mark.parametrize("size", [(80, 24), (80, 40), (100, 30), (120, 40), (160, 50), (200, 60)])
@pytest.mark.parametrize("events", [0, 4, 99])
@pytest.mark.parametrize("devices", [0, 8])
def test_a_cursor_moves_no_chart(size: tuple[int, int], events: int, devices: int) -> None:
    needs = ContentNeeds(charts=9, terms=3, headline=2, events=events, devices=devices)
    without, pointed = arrange(*size, needs), arrange(*size, replace(needs, cursor=True))
    charts = [place for place in without.places if place.name.startswith("chart-")]
    assert charts == [place for place in pointed.places if place.name.startswith("chart-")]
    assert pointed.has("inspector")


def test_several_accelerators_have_a_bar_each_where_there_is_room() -> None:
    needs = ContentNeeds(charts=9, terms=3, events=2, devices=8)
    roomy, small = arrange(160, 50, needs), arrange(160, 45, needs)
    (panel,) = [place for place in roomy.places if place.name == "gpu"]
    assert panel.height == 8 + 3
    assert not roomy.has("gpu-line")
    assert small.has("gpu-line")
    assert not arrange(160, 50, replace(needs, devices=1)).has("gpu")


def test_rows_that_a_panel_at_the_side_does_not_fill_are_the_other_ones() -> None:
    def rows(**needs: int) -> tuple[int, ...]:
        places = arrange(200, 60, ContentNeeds(charts=9, terms=3, **needs)).places
        return tuple(one.height for one in places if one.name in IN_SIDE)

    usual = rows()
    assert rows(values=80, findings=14) == (sum(usual) - 14, 14)
    assert rows(values=20, findings=40) == (20, sum(usual) - 20)
    assert rows(values=80, findings=40) == usual


def test_events_are_marked_on_the_lowest_chart_under_each_column() -> None:
    wide = PanelRect("chart-1", 60, 0, 60, 10)
    assert is_below(PanelRect("chart-3", 40, 10, 40, 10), wide)
    assert not is_below(PanelRect("chart-2", 0, 10, 60, 10), wide)
    assert not is_below(wide, PanelRect("chart-4", 80, 10, 40, 10))


async def test_the_inspector_at_the_side_is_as_tall_as_a_batch_needs() -> None:
    feed = fed(*whole_run())
    means = {f"metric_{number}": 1.0 for number in range(40)}
    feed.push(EpochRow(36.0, "val_ind", means, step=47_232))
    async with running(feed, size=(200, 60)) as (_, screen, _feed):
        (panel,) = (p for p in screen.placement.arrangement.places if p.name == "inspector")
        values = len(block(0, 1).columns)
        assert values + 3 <= panel.height <= values + 8
