"""At once after a rest, then at most so often; and only rows that changed."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from tests.vlamon.tui.driving import page, running, until
from tests.vlamon.tui.fake_feed import EXPLOSION, block, fed, gpu, info
from vlamon.records import Link
from vlamon.tui.pacing import Pacer
from vlamon.tui.widgets.row_panel import RowPanel


def test_the_first_change_is_painted_at_once_and_the_next_waits() -> None:
    pacer = Pacer(0.1)
    assert pacer.wait(5.0) == 0.0
    pacer.painted(5.0)
    assert pacer.wait(5.0) > 0.0
    assert pacer.wait(5.2) == 0.0


def test_a_flood_is_painted_once_an_interval() -> None:
    pacer, now, paints = Pacer(0.1), 0.0, 0
    while now < 10.0:
        if pacer.wait(now) == 0.0:
            pacer.painted(now)
            paints += 1
        now += 0.003
    assert 95 <= paints <= 102


def test_paints_out_of_turn_put_the_next_one_off_once() -> None:
    pacer = Pacer(0.1)
    for resized in (5.0, 5.01, 5.02, 5.03):
        pacer.painted(resized)
    assert pacer.wait(5.03) == pytest.approx(0.1)


async def test_the_first_rows_wait_for_nothing(monkeypatch: Any) -> None:
    async with running(fed(info())) as (pilot, screen, feed):
        monkeypatch.setattr(screen.painter.pace, "due", time.monotonic() + 600)
        feed.push(block(0, 50))
        await until(pilot, lambda: bool(screen.placement.charts))
        shown = [chart.picture.title for chart in screen.placement.charts]
        monkeypatch.setattr(screen.painter.pace, "due", time.monotonic() + 600)
        feed.push(block(50, 50))
        await pilot.pause(0.1)
        assert screen.painter.due is not None, "those that follow wait their turn"
    assert shown[0].startswith("closs")


async def test_a_flood_of_batches_paints_ten_times_a_second_at_most(monkeypatch: Any) -> None:
    async with running() as (pilot, screen, feed):
        paints: list[int] = []
        original = screen.painter.paint
        monkeypatch.setattr(
            screen.painter, "paint", lambda force=False: paints.append(original(force))
        )
        begun = time.monotonic()
        for step in range(100):
            feed.push(block(48_210 + step, 1, attempt=1))
            await pilot.pause(0.005)
        most = (time.monotonic() - begun) * 10  # the slower the machine, the longer the flood
        assert 1 <= len(paints) <= most + 2


async def test_a_batch_waits_for_no_paint_that_showed_none_and_a_status_goes_with_a_batch() -> None:
    async with running() as (_pilot, screen, feed):
        painter, now = screen.painter, time.monotonic()
        painter._changed, painter._batch_came = True, True  # nothing wakes the screen
        painter.paint()
        assert painter.pace_others.due > now
        assert painter._wait(now) == 0.0
        feed.push(block(48_210, 1, attempt=1))
        painter.paint()
        assert painter._wait(time.monotonic()) > 0.0, "a batch waits for the one before"
        painter._batch_came = False
        assert painter._wait(time.monotonic()) > 0.1, "a status waits for the next batch"


async def test_titles_keep_the_pace_of_the_data_and_curves_follow_when_it_ends(
    monkeypatch: Any,
) -> None:
    async with running() as (_pilot, screen, feed):
        screen.repaint()
        chart = screen.placement.charts[0]
        curves = chart.picture.rows[1:]
        shares = screen.placement.panels["contribution"]
        figures = list(shares.role_rows())
        soon = time.monotonic() + 600
        monkeypatch.setattr(screen.painter.pace_curves, "due", soon)
        monkeypatch.setattr(screen.painter, "_wake", lambda: None)
        title = chart.picture.rows[0]
        feed.push(block(48_210, 4_000, attempt=1))
        screen.painter.paint()
        assert chart.picture.rows[0] != title
        assert chart.picture.rows[1:] == curves
        assert shares.role_rows() == figures, "figures of every batch go with the curves"
        assert screen.painter.owed is not None, "the curves are owed"
        screen.repaint()
        assert chart.picture.rows[1:] != curves
        assert shares.role_rows() != figures
        assert screen.painter.owed is None


async def test_what_did_not_change_is_not_painted(monkeypatch: Any) -> None:
    async with running() as (pilot, screen, feed):
        screen.repaint()
        refreshed: list[str] = []

        def note(self: RowPanel, *regions: Any, **_: Any) -> RowPanel:
            refreshed.extend(f"{self.id}:{region.y}" for region in regions)
            return self

        monkeypatch.setattr(RowPanel, "refresh", note)
        screen.repaint()
        assert refreshed == []
        feed.push(gpu(feed.store.gpu.latest.time + 1))  # type: ignore[union-attr]
        await pilot.pause(0.15)
        assert not [name for name in refreshed if not name.startswith(("gpu", "status"))]


async def test_low_bandwidth_paints_charts_twice_and_numbers_once_a_second() -> None:
    async with running(low_bandwidth=True) as (pilot, screen, _):
        assert screen.painter.pace.interval == 0.5
        assert screen.painter.pace_numbers.interval == 1.0
        assert pilot.app.rendering.palette.theme.name == "sixteen"  # type: ignore[attr-defined]


async def test_the_last_that_came_is_shown_with_low_bandwidth_too() -> None:
    feed = fed(Link("live"), info(), block(0, 100))
    async with running(feed, low_bandwidth=True) as (pilot, _, _feed):
        assert "nothing has happened yet" in page(pilot)
        feed.push(replace(EXPLOSION, step=50))
        await until(pilot, lambda: "explode" in page(pilot))


async def test_what_is_owed_is_painted_once(monkeypatch: Any) -> None:
    async with running(low_bandwidth=True) as (pilot, screen, feed):
        feed.push(block(48_210, 1, attempt=1))
        await until(pilot, lambda: screen.painter.owed is not None)
        screen.repaint()
        assert screen.painter.owed is None
