"""A dashboard on a fake feed, driven by keys, and what is then on its screen."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from textual.pilot import Pilot

from tests.vlamon.tui.fake_feed import (
    FakeFeed,
    FrozenDashboard,
    fed,
    whole_run,
)
from vlamon.charts.rows import text_of
from vlamon.tui.options import Options
from vlamon.tui.rendering import Rendering
from vlamon.tui.screen import MainScreen
from vlamon.tui.themes import Palette, load_themes

TERMINAL = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}


@asynccontextmanager
async def running(
    feed: FakeFeed | None = None, size: tuple[int, int] = (120, 40), **options: Any
) -> AsyncIterator[tuple[Pilot[Any], MainScreen, FakeFeed]]:
    feed = feed or fed(*whole_run())
    app = FrozenDashboard(feed, Options(**options), environ=TERMINAL)  # type: ignore[arg-type]
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, MainScreen)
        yield pilot, screen, feed


def rendering() -> Rendering:
    """A palette for widgets that no application surrounds."""
    return Rendering(Palette(load_themes().themes["dusk"]))


def host() -> Any:
    """The least that a dialog without an application around it needs."""
    return SimpleNamespace(shell=SimpleNamespace(rendering=rendering()))


async def until(pilot: Pilot[Any], holds: Callable[[], bool]) -> None:
    """Let the application run until something is so: a dialog takes a loaded machine a while."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, page(pilot)
        await pilot.pause(0.02)


def lines(pilot: Pilot[Any]) -> list[str]:
    """What is on screen, dialogs included."""
    strips = pilot.app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip) for strip in strips]


def page(pilot: Pilot[Any]) -> str:
    return "\n".join(lines(pilot))


def status_text(screen: MainScreen) -> str:
    return text_of(screen.placement.panels["status"].role_rows()[0])
