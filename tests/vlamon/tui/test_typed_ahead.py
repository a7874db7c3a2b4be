"""However fast one types: every key reaches what it was meant for, in order."""

from __future__ import annotations

from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot

from tests.vlamon.tui.driving import page, running, status_text, until
from tests.vlamon.tui.fake_feed import NOW, block, fed, info, status
from vlamon.records import Link
from vlamon.tui.dialogs.choice import Choice
from vlamon.tui.screen import MainScreen

NAMES = {":": "colon", "/": "slash", " ": "space", "\r": "enter", "_": "underscore"}


def at_once(pilot: Pilot[Any], text: str) -> None:
    """Have the keys of a text arrive as those of one write do."""
    for char in text:
        key = NAMES.get(char, char)
        pilot.app.post_message(events.Key(key, None if char == "\r" else char))


async def test_a_command_that_is_typed_in_one_go_is_sent() -> None:
    async with running() as (pilot, _, feed):
        at_once(pilot, ":guard auto\r")
        await until(pilot, lambda: bool(feed.sent))
        assert feed.sent == [("set", {"name": "guard", "value": "auto"})]


@pytest.mark.parametrize("pause", [1, 2, 3, 5])
async def test_letters_keep_their_order_whenever_the_dialog_comes(pause: int) -> None:
    async with running() as (pilot, _, feed):
        text = ":loss_ct 52\r"
        at_once(pilot, text[:pause])
        await pilot.pause(0)
        for char in text[pause:]:
            at_once(pilot, char)
            await pilot.pause(0)
        await until(pilot, lambda: bool(feed.sent))
        assert feed.sent == [("set", {"name": "loss_ct", "value": 52.0})]


async def test_a_filter_that_is_typed_in_one_go_pins_what_it_finds() -> None:
    async with running() as (pilot, screen, _):
        at_once(pilot, "/grad\r")
        await until(pilot, lambda: bool(screen.placement.pinned))
        assert screen.placement.pinned == ["grad_norm"]


async def test_keys_of_the_dashboard_act_one_after_the_other() -> None:
    async with running() as (pilot, screen, _):
        at_once(pilot, "lxxm")
        await until(pilot, lambda: "note at step" in page(pilot))
        assert screen.navigation.viewport.view.axis == "since"


async def test_a_dialog_that_opens_by_itself_takes_no_key_that_was_meant_for_the_charts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    feed = fed(Link("live"), info(), block(0, 48_210), status())
    async with running(feed) as (pilot, screen, _):
        push_screen = pilot.app.push_screen

        def push_and_type(*arguments: Any) -> object:
            """Have a key arrive while the dialog is being opened."""
            pushed = push_screen(*arguments)
            at_once(pilot, "\r")
            return pushed

        monkeypatch.setattr(pilot.app, "push_screen", push_and_type)
        feed.push(status(state="paused", deadline=NOW + 60))
        await until(pilot, lambda: getattr(pilot.app.screen, "ready", False))
        await pilot.pause()
        assert isinstance(pilot.app.screen, Choice)
        assert not isinstance(pilot.app.screen, MainScreen)
        assert feed.sent == []
        assert "rollback sent" not in status_text(screen)
