"""The keys that open a dialog or a page."""

from __future__ import annotations

import numpy as np

from tests.vlamon.tui.driving import lines, page, running, status_text, until
from tests.vlamon.tui.fake_feed import (
    NOW,
    FrozenDashboard,
    fed,
    info,
    whole_run,
)
from vlamon.key_bindings import KEYS
from vlamon.records import BatchBlock, Column, Event, Link
from vlamon.tui.screen import MainScreen


async def test_question_mark_shows_every_key() -> None:
    async with running(size=(130, 45)) as (pilot, _, _feed):
        await pilot.press("question_mark")
        text = page(pilot)
        for key in KEYS:
            assert key.help in text, key
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, MainScreen)


async def test_help_scrolls_where_it_does_not_fit() -> None:
    async with running(size=(80, 24)) as (pilot, _, _feed):
        await pilot.press("question_mark")
        assert "Mouse:" not in page(pilot)
        assert "space: next page" in page(pilot)
        await pilot.press("end")
        assert "Mouse:" in page(pilot)


async def test_space_turns_the_pages_of_help_in_eighty_by_twenty_four() -> None:
    async with running(size=(80, 24)) as (pilot, _, _feed):
        await pilot.press("question_mark")
        seen = [page(pilot)]
        while "Esc closes" not in seen[-1]:
            assert len(seen) < 4, "two columns make three pages"
            await pilot.press("space")
            seen.append(page(pilot))
        both = "\n".join(seen)
        for key in KEYS:
            words = key.help.split()
            assert f"{key.label:<7}{words[0]} {words[1]}" in both, key
        await pilot.press("b")
        assert "space: next page" in page(pilot), "b turns back"


async def test_i_explains_the_focused_metric_from_the_catalogue() -> None:
    async with running() as (pilot, _, _feed):
        await pilot.press("tab", "tab", "i")
        text = page(pilot)
        assert "loss_ct" in text
        assert "formula" in text
        assert "weight 10" in text


async def test_v_shows_every_value_of_a_batch_and_its_events_in_full() -> None:
    wide = BatchBlock(
        48_210,
        1,
        *(np.array([at]) for at in (48_210, 36.7, NOW)),
        {f"rank{rank}_closs": Column(np.array([8.0 + rank])) for rank in range(60)},
    )
    said = "data: " + "the batch is bad on healthy weights too, " * 5 + "and here it ends"
    autopsy = Event("e9", "autopsy", 48_210, 1, NOW, "warn", said, {"samples": [881204]})
    elsewhere = Event("e8", "explode", 48_210, 0, NOW, "error", "of the attempt before")
    feed = fed(*whole_run(), wide, autopsy, elsewhere)
    async with running(feed, size=(80, 24)) as (pilot, _, _):
        await pilot.press("v")
        text = page(pilot)
        assert "step 48,210" in text
        assert "and here it ends" in " ".join(text.split())
        assert "881204" in text
        assert "of the attempt before" not in text
        await pilot.press("end")
        text = page(pilot)
        assert "67.00" in text  # of the last rank
        assert "not logged" in text
        assert "l1_loss_action_9" in text
        await pilot.press("v")
        assert "not logged" not in page(pilot)


async def test_v_before_the_first_batch_says_that_there_is_none() -> None:
    async with running(fed(Link("live"), info()), size=(120, 40)) as (pilot, screen, _):
        await pilot.press("v")
        assert "no batch yet" in status_text(screen)


async def test_slash_finds_pins_and_hides_metrics() -> None:
    async with running() as (pilot, screen, _):
        await pilot.press("slash", *"grad")
        assert "grad_norm" in page(pilot)
        assert "30.8" not in "".join(lines(pilot)[17:22])
        await pilot.press("enter")
        assert screen.placement.pinned == ["grad_norm"]
        await pilot.press("escape")
        assert screen.placement.charts[0].picture.metrics == ("grad_norm",)
        await pilot.press("slash", *"closs", "tab", "escape")
        assert ("closs",) not in [chart.picture.metrics for chart in screen.placement.charts]


async def test_letters_typed_into_the_filter_are_no_orders() -> None:
    async with running() as (pilot, _, feed):
        await pilot.press("slash", *"cpqr")
        assert feed.sent == []
        assert pilot.app.is_running


async def test_t_previews_themes_live_and_escape_goes_back() -> None:
    async with running() as (pilot, _, _feed):
        app = pilot.app
        assert isinstance(app, FrozenDashboard)
        before = app.rendering.palette.theme.name
        await pilot.press("t", "down")
        assert app.rendering.palette.theme.name != before
        await pilot.press("escape")
        assert app.rendering.palette.theme.name == before
        await pilot.press("t", "down", "enter")
        assert app.rendering.palette.theme.name != before


async def test_the_palette_finds_commands_by_name() -> None:
    async with running() as (pilot, _, feed):
        await pilot.press("ctrl+p", *"checkpoint")
        await until(pilot, lambda: "Write a checkpoint" in page(pilot))
        await pilot.press("enter")
        await until(pilot, lambda: bool(feed.sent))
        assert feed.sent == [("checkpoint", {})]
