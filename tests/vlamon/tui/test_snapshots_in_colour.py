"""Whole screens with their colours, compared as SVG by the snapshot plug-in.

States, dialogs and themes on a terminal of 80×24; the text of every panel and size is compared in
test_screens.py. `pytest --snapshot-update` writes the pictures anew: look at them in a browser.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests import scenes
from tests.scenes import FEW_COLOURS, TERMINAL
from tests.vlamon.tui.driving import until
from tests.vlamon.tui.fake_feed import (
    AUTOPSY,
    EXPLOSION,
    NOW,
    FrozenDashboard,
    block,
    fed,
    gpu,
    info,
    status,
    whole_run,
)
from vlamon.records import Link, Record
from vlamon.tui.options import Options
from vlamon.tui.screen import MainScreen
from vlamon.tui.themes import load_themes

Compare = Callable[..., bool]
THEMES = sorted(load_themes(user=Path("/nonexistent")).themes)


def live(*more: Record) -> Sequence[Record]:
    """A run of two accelerators that goes well, and what comes then."""
    return Link("live"), info(world_size=1), block(0, 48_210), gpu(devices=2), status(), *more


STATES: dict[str, Callable[[], Sequence[Record]]] = {
    "waiting": lambda: [Link("waiting", "waiting for a training")],
    "loading": lambda: [Link("live"), info(), block(0, 1000), status()],
    "training": live,
    "paused": lambda: live(status(state="paused")),
    "checkpointing": lambda: live(status(state="checkpointing")),
    "rolling-back": lambda: live(
        replace(EXPLOSION, step=48_209), status(state="rolling_back"), Link("live")
    ),
    "silent": live,
    "reconnecting": lambda: live(Link("reconnecting", "waiting for /tmp/vla.sock: it is gone")),
    "ended": lambda: live(Link("ended")),
    "failed": lambda: live(Link("failed", "run.vlaj is damaged at byte 4096")),
    "exploded": whole_run,
    "no-guard": lambda: [*live(), EXPLOSION, AUTOPSY],
    "epochs": scenes.twelve_epochs,
}


def dashboard(records: Sequence[Record], theme: str = "dusk", **environ: str) -> FrozenDashboard:
    """A dashboard on a clock that stands."""
    feed: Any = fed(*records)
    return FrozenDashboard(feed, Options(theme=theme), environ=environ or TERMINAL)


async def settled(pilot: Pilot[Any]) -> None:
    """What is worked out on threads is on the screen."""
    await pilot.app.workers.wait_for_complete()
    await pilot.pause(0.3)


@pytest.mark.parametrize("state", STATES)
def test_every_state_of_a_run(state: str, snap_compare: Compare) -> None:
    async def a_while_later(pilot: Pilot[Any]) -> None:
        await settled(pilot)
        if state == "silent":
            pilot.app.now = NOW + 40  # type: ignore[attr-defined]
            pilot.app.screen.painter.tick()  # type: ignore[attr-defined]
            await settled(pilot)

    assert snap_compare(dashboard(STATES[state]()), run_before=a_while_later)


@pytest.mark.parametrize("theme", sorted({*THEMES} - {"dusk"}))
def test_every_theme(theme: str, snap_compare: Compare) -> None:
    assert snap_compare(dashboard(whole_run(), theme), run_before=settled)


def test_two_hundred_and_fifty_six_colours(snap_compare: Compare) -> None:
    assert snap_compare(dashboard(whole_run(), **FEW_COLOURS), run_before=settled)


@pytest.mark.parametrize("size", [(50, 16), (120, 40)], ids=["numbers", "grid"])
def test_sizes_of_other_forms(size: tuple[int, int], snap_compare: Compare) -> None:
    assert snap_compare(dashboard(whole_run()), terminal_size=size, run_before=settled)


@pytest.mark.parametrize(
    "key", ["question_mark", "slash", "i", "v", "d", "t", "r", "m", "colon", "g", "n", "comma"]
)
def test_every_dialog_and_the_cursor(key: str, snap_compare: Compare) -> None:
    async def opened(pilot: Pilot[Any]) -> None:
        await settled(pilot)
        await pilot.press(key)
        if key not in ("n", "comma"):
            await until(pilot, lambda: not isinstance(pilot.app.screen, MainScreen))
        for field in pilot.app.screen.query(Input):
            field.cursor_blink = False
        await settled(pilot)

    assert snap_compare(dashboard(whole_run()), run_before=opened)
