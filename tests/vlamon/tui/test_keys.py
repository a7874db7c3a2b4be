"""Every key of the dashboard does what the help page says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from textual.actions import parse

from tests.vlamon.tui.driving import lines, page, running, status_text, until
from tests.vlamon.tui.fake_feed import (
    EXPLOSION,
    FrozenDashboard,
    block,
    fed,
    info,
)
from vlamon.key_bindings import KEYS
from vlamon.records import BatchBlock, Column, Link
from vlamon.tui.screen import MainScreen


async def test_every_key_names_an_action_that_exists() -> None:
    async with running() as (_, screen, _feed):
        for key in KEYS:
            controller, name, _ = parse(key.action)
            if controller:
                assert callable(getattr(getattr(screen, controller), name)), key
            else:
                assert hasattr(MainScreen, f"action_{name}"), key


def test_no_key_is_bound_twice() -> None:
    names = [name for key in KEYS for name in key.keys.split(",")]
    assert len(names) == len(set(names))


def test_actions_have_names_that_differ() -> None:
    names = [key.name for key in KEYS]
    assert len(names) == len(set(names))
    assert all(name == name.lower() and " " not in name for name in names)


async def test_an_action_follows_its_new_keys_and_not_its_old_ones() -> None:
    keys = {"go-to": ("G", "ctrl+g"), "zoom": ("u",), "pause": ("r",), "rollback": ("p",)}
    async with running(size=(130, 45), keys=keys) as (pilot, screen, feed):
        await pilot.press("g")
        assert isinstance(pilot.app.screen, MainScreen)
        for key in ("G", "ctrl+g"):
            await pilot.press(key)
            assert not isinstance(pilot.app.screen, MainScreen), key
            await pilot.press("escape")
        level = screen.navigation.viewport.view.level
        await pilot.press("z", "plus")
        assert screen.navigation.viewport.view.level == level
        await pilot.press("u")
        once = screen.navigation.viewport.view.level
        await pilot.press("u")
        twice = screen.navigation.viewport.view.level
        assert once != level
        assert twice == once - 4, "one press zooms by two, once"
        await pilot.press("r")
        assert [name for name, _ in feed.sent] == ["pause"]
        assert "G go to" in page(pilot)
        await pilot.press("question_mark")
        assert "G      Go to a step." in page(pilot)


async def test_left_puts_a_cursor_on_the_newest_column_and_the_inspector_reads_there() -> None:
    async with running() as (pilot, screen, _):
        await pilot.press("left", "left", "left")
        assert screen.painter.frame is not None
        assert screen.painter.frame.at_cursor
        assert screen.painter.frame.row is not None
        assert screen.painter.frame.row < screen.store.rows - 1
        await pilot.press("escape")
        assert not screen.painter.frame.at_cursor


async def test_the_cursor_of_a_column_stands_on_the_batch_that_broke() -> None:
    async with running() as (pilot, screen, _):
        for _ in range(12):
            await pilot.press("left")
            assert screen.painter.frame is not None
            assert screen.painter.frame.row is not None
            if screen.store.value("closs", screen.painter.frame.row) == pytest.approx(95.2):
                return
        pytest.fail("the cursor passed over the spike")


async def test_the_cursor_reads_the_attempt_that_it_was_put_into() -> None:
    again = block(39_150, 200, attempt=1)
    feed = fed(Link("live"), info(), block(0, 39_211, spike=39_210), EXPLOSION, again)
    async with running(feed) as (pilot, screen, _):
        await pilot.press("n")
        assert screen.store.value("closs", screen.navigation.cursor_row() or 0) == pytest.approx(
            95.2
        )
        assert "closs at 39,210  " in page(pilot)
        assert " 95.20 " in lines(pilot)[1]
        await pilot.press("comma")
        assert screen.navigation.cursor_row() == 39_209
        await pilot.press("full_stop", "full_stop")
        assert (
            screen.navigation.cursor_row() == 39_211
        )  # the next batch is the first of the next attempt
        assert "attempt 1" in page(pilot)


async def test_comma_and_full_stop_move_by_one_batch() -> None:
    async with running() as (pilot, screen, _):
        await pilot.press("home")
        assert screen.navigation.cursor_row() == 0
        await pilot.press("full_stop", "full_stop")
        assert screen.navigation.cursor_row() == 2
        await pilot.press("comma")
        assert screen.navigation.cursor_row() == 1
        await pilot.press("end")
        assert screen.navigation.cursor_row() == screen.store.rows - 1


async def test_n_goes_to_events_from_the_newest_back() -> None:
    async with running() as (pilot, screen, _):
        await pilot.press("n")
        assert screen.navigation.event_id == "e3"
        await pilot.press("N", "N")
        assert screen.navigation.event_id == "e1"
        assert screen.store.value("closs", screen.navigation.cursor_row() or 0) == pytest.approx(
            95.2
        )
        await pilot.press("n")
        assert screen.navigation.event_id == "e2"


async def test_space_holds_the_window_while_data_comes_in() -> None:
    async with running() as (pilot, screen, feed):
        await pilot.press("space")
        assert screen.navigation.viewport.held
        assert "frozen" in status_text(screen)
        before = screen.placement.charts[0].shown
        feed.push(block(48_213, 4000, attempt=1))
        await pilot.pause(0.15)
        assert screen.placement.charts[0].shown == before
        await pilot.press("space")
        assert not screen.navigation.viewport.held


async def test_z_zooms_in_and_out_and_0_shows_the_whole_run() -> None:
    async with running() as (pilot, screen, _):
        whole = screen.placement.charts[0].shown
        assert whole is not None
        await pilot.press("z")
        nearer = screen.placement.charts[0].shown
        assert nearer is not None
        assert whole.bin / 2 <= nearer.bin < whole.bin
        await pilot.press("Z")
        assert screen.placement.charts[0].shown == whole
        await pilot.press("z", "z", "0")
        assert screen.placement.charts[0].shown == whole


async def test_pan_moves_the_window_and_f_follows_again() -> None:
    async with running() as (pilot, screen, _):
        await pilot.press("z", "z")
        newest = screen.placement.charts[0].shown
        assert newest is not None
        await pilot.press("less_than_sign")
        earlier = screen.placement.charts[0].shown
        assert earlier is not None
        assert earlier.start < newest.start
        await pilot.press("greater_than_sign")
        await pilot.press("less_than_sign", "f")
        assert screen.placement.charts[0].shown == newest


async def test_l_makes_all_charts_logarithmic_or_the_focused_one() -> None:
    async with running() as (pilot, screen, _):
        await pilot.press("l")
        assert all(chart.look.log for chart in screen.placement.charts)
        await pilot.press("l", "tab", "l")
        assert [chart.look.log for chart in screen.placement.charts].count(True) == 1


async def test_s_cycles_through_smoothing() -> None:
    async with running() as (pilot, screen, _):
        seen = []
        for _ in range(3):
            await pilot.press("s")
            seen.append(screen.placement.charts[0].look.smooth)
        assert seen == ["strong", "off", "auto"]


async def test_o_shows_clipped_excursions() -> None:
    async with running() as (pilot, screen, _):
        assert screen.placement.charts[0].look.robust
        await pilot.press("o")
        assert not screen.placement.charts[0].look.robust


async def test_x_changes_the_axis_and_keeps_the_cursor_on_its_batch() -> None:
    async with running() as (pilot, screen, _):
        await pilot.press("n", "N", "N")
        row = screen.navigation.cursor_row()
        for axis in ("epoch", "since", "time", "step"):
            await pilot.press("x")
            assert screen.navigation.viewport.view.axis == axis
            assert screen.navigation.cursor_row() is not None
            assert abs((screen.navigation.cursor_row() or 0) - (row or 0)) <= 1, axis


async def test_enter_gives_the_focused_chart_the_whole_screen() -> None:
    async with running() as (pilot, screen, _):
        await pilot.press("tab", "tab", "enter")
        assert [chart.picture.metrics for chart in screen.placement.charts] == [("loss_ct",)]
        assert screen.placement.charts[0].size == (120, 36)
        await pilot.press("escape")
        assert len(screen.placement.charts) == 5


async def test_brackets_page_through_charts_that_do_not_fit() -> None:
    async with running(size=(80, 24)) as (pilot, screen, _):
        assert screen.placement.charts[0].picture.metrics == ("closs",)
        await pilot.press("right_square_bracket")
        assert screen.placement.charts[0].picture.metrics == ("loss_ct",)
        await pilot.press("left_square_bracket", "left_square_bracket")
        assert screen.placement.charts[0].picture.metrics == ("grad_norm",)


async def test_b_shows_every_panel_below_in_turn() -> None:
    async with running() as (pilot, screen, _):
        seen = []
        for _ in range(6):
            await pilot.press("b")
            seen.append(screen.placement.lower)
            assert screen.placement.arrangement.has(screen.placement.lower or "events")
        assert seen == ["gpu", "slots", "inspector", "diagnoses", "snapshots", ""]


async def test_b_reaches_everything_in_eighty_columns_too() -> None:
    async with running(size=(80, 24)) as (pilot, screen, _):
        seen = set()
        for _ in range(6):
            await pilot.press("b")
            seen |= {place.name for place in screen.placement.arrangement.places}
        assert {"gpu", "slots", "inspector", "diagnoses", "snapshots", "events"} <= seen


async def test_settings_pin_hide_and_smooth_from_the_start() -> None:
    options = {"pinned": ("grad_norm",), "hidden": ("loss_ct",), "smoothing": "off"}
    async with running(size=(120, 40), **options) as (_, screen, _feed):
        titles = [chart.picture.title for chart in screen.placement.charts]
        assert titles[0].startswith("grad_norm")
        assert not any(title.startswith("loss_ct") for title in titles)
        assert {chart.look.smooth for chart in screen.placement.charts} == {"off"}


async def test_a_chart_is_titled_with_the_weight_of_the_moment() -> None:
    async with running() as (pilot, _, feed):
        assert "loss_ct ×10  0.1" in page(pilot)
        changed = replace(block(48_210, 10, attempt=1), weights={"loss_ct": 5.0})
        feed.push(changed)
        await until(pilot, lambda: "loss_ct ×5  0.1" in page(pilot))


async def test_a_acknowledges_alerts() -> None:
    async with running() as (pilot, screen, feed):
        app = pilot.app
        assert isinstance(app, FrozenDashboard)
        feed.push(replace(EXPLOSION, id="live", time=app.now))
        await pilot.pause(0.15)
        assert "1 ⚠" in status_text(screen)
        await pilot.press("a")
        assert "1 alert acknowledged" in status_text(screen)
        assert screen.alerting.alerts.unseen == 0


async def test_brackets_say_which_charts_are_on_screen() -> None:
    steps = np.arange(20)
    columns = {f"task_{n:02d}": Column(steps * 1.0) for n in range(10)}
    run = BatchBlock(0, 0, steps, steps / 10, steps * 1.0, columns)
    async with running(fed(Link("live"), info(), run)) as (pilot, screen, _):
        assert len(screen.placement.charts) == 8
        assert "charts 1–8 of 10" in lines(pilot)[-1]
        await pilot.press("right_square_bracket")
        assert "charts 3–10 of 10" in lines(pilot)[-1]
        await pilot.press("right_square_bracket")
        assert "charts 1–8 of 10" in lines(pilot)[-1]


async def test_shift_moves_the_cursor_ten_columns() -> None:
    async with running() as (pilot, screen, _):
        await pilot.press("left", "shift+left")
        chart = screen.placement.charts[0]
        assert chart.shown is not None
        column = chart.shown.column(screen.navigation.viewport.view.cursor or 0)
        await pilot.press("shift+right")
        after = chart.shown.column(screen.navigation.viewport.view.cursor or 0)
        assert (after or 0) // 2 == (column or 0) // 2 + 10


def test_the_documentation_lists_every_key() -> None:
    text = (Path(__file__).parents[3] / "docs" / "dashboard.md").read_text()
    for key in KEYS:
        assert f"| `{key.label}` | {key.help} |" in text, key


async def test_a_cursor_brings_the_inspector_where_it_has_no_place_of_its_own() -> None:
    for size in ((80, 24), (120, 40), (200, 60)):
        async with running(size=size) as (pilot, screen, _):
            await pilot.press("left")
            assert screen.placement.arrangement.has("inspector")
            await pilot.press("escape")
            assert screen.placement.arrangement.has("inspector") == (size[0] == 200)
