"""Keys that lead from one chart, event or diagnosis to the next, from wherever one is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.vlamon.tui.driving import page, rendering, running, until
from tests.vlamon.tui.fake_feed import (
    AUTOPSY,
    EXPLOSION,
    NOW,
    ROLLBACK,
    block,
    fed,
    info,
    whole_run,
)
from vlamon.analysis.liveness import Alive
from vlamon.charts.rows import text_of
from vlamon.records import Link
from vlamon.tui.frame_context import FrameContext
from vlamon.tui.panels import lower_panels
from vlamon.tui.screen import MainScreen
from vlamon.tui.widgets.diagnoses import DiagnosesPanel


async def test_brackets_and_tab_show_the_next_chart_alone_while_one_is_maximised() -> None:
    async with running() as (pilot, screen, _):
        await pilot.press("enter")
        for key, shown in (
            ("right_square_bracket", "loss_ct"),
            ("tab", "z_loss"),
            ("left_square_bracket", "loss_ct"),
            ("shift+tab", "closs"),
            ("left_square_bracket", "grad_norm"),
        ):
            await pilot.press(key)
            assert [chart.picture.metrics[0] for chart in screen.placement.charts] == [shown]
            assert screen.placement.charts[0].size == (120, 36)


async def test_n_goes_on_from_the_cursor() -> None:
    async with running() as (pilot, screen, _):
        await pilot.press("home", "n")
        assert screen.navigation.event_id == "e1"
        await pilot.press("n")
        assert screen.navigation.event_id == "e2"
        await pilot.press("escape", "end", "N")
        assert screen.navigation.event_id == "e3"
        await pilot.press("escape", "home", "N")
        assert screen.navigation.event_id == "e1"


async def test_the_welcome_stays_whatever_panel_is_asked_for() -> None:
    async with running(fed(Link("waiting", "waiting for /tmp/vla.sock"))) as (pilot, _, feed):
        for _ in range(3):
            assert "from vlamon import Emitter" in page(pilot)
            await pilot.press("b")
        feed.push(Link("live"), info(), block(0, 100))
        await until(pilot, lambda: "from vlamon import Emitter" not in page(pilot))
        assert "╭ closs" in page(pilot)


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ("waiting for /tmp/vla-job7.sock: no training serves it yet", "/tmp/vla-job7.sock"),
        ("no training was found; waiting for one to serve /tmp/vla*.sock", "auto"),
        ("waiting for node17:/tmp/vla.sock: no such file", "auto"),
    ],
)
async def test_the_welcome_names_the_place_that_is_awaited(said: str, place: str) -> None:
    async with running(fed(Link("waiting", said))) as (pilot, _, _feed):
        assert f'Emitter("{place}", run=' in page(pilot)


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_d_shows_every_diagnosis_to_its_last_word(size: tuple[int, int]) -> None:
    words = " ".join(f"word{n}" for n in range(90))
    verdicts = [replace(AUTOPSY, id=f"a{n}", text=f"{words} last{n}") for n in range(5)]
    async with running(fed(Link("live"), info(), block(0, 5), *verdicts), size) as (
        pilot,
        _,
        _feed,
    ):
        await pilot.press("d")
        await until(pilot, lambda: "Esc closes" in page(pilot) or " more" in page(pilot))
        seen = ""
        for _ in range(12):
            seen += page(pilot)
            await pilot.press("pagedown")
        assert all(f"last{n}" in seen for n in range(5))
        await pilot.press("d")
        await until(pilot, lambda: isinstance(pilot.app.screen, MainScreen))


async def test_a_click_on_the_diagnoses_shows_them_in_full() -> None:
    async with running(size=(200, 60)) as (pilot, _, _feed):
        await pilot.click("#diagnoses", offset=(10, 3))
        await until(pilot, lambda: "Esc closes" in page(pilot))


@pytest.mark.parametrize(("height", "whole"), [(30, True), (12, False)])
def test_a_diagnosis_has_as_many_lines_as_there_is_room_for(height: int, whole: bool) -> None:
    words = " ".join(f"word{n}" for n in range(60))
    told = (("warn", "one at 5", f"{words} last0"), ("warn", "two at 9", f"{words} last1"))
    held = fed(*whole_run()).store
    frame = FrameContext(held, NOW, Alive("live"), diagnoses=told)
    rows = [
        text_of(row) for row in DiagnosesPanel("diagnoses", rendering()).rows(frame, 48, height)
    ]
    text = "\n".join(rows)
    assert len(rows) == height
    assert ("last0" in text and "last1" in text) == whole
    assert ("in full" in rows[0]) != whole
    assert "snapshots" in text


async def test_the_page_of_diagnoses_lets_the_rules_look_where_no_panel_does() -> None:
    async with running(size=(80, 24)) as (pilot, screen, _):
        assert not screen.placement.arrangement.has("diagnoses")
        await pilot.press("d")
        await until(pilot, lambda: screen.findings.looked)
        await until(pilot, lambda: "diagnosis pending" not in page(pilot))


async def test_a_settled_explosion_is_not_asked_about_again() -> None:
    async with running() as (pilot, screen, feed):
        again = replace(EXPLOSION, id="e9", step=48_209, attempt=1, time=NOW)
        feed.push(again)
        await until(pilot, lambda: screen.alerting.alerts.unseen == 1)
        await pilot.press("r")
        await until(pilot, lambda: "✗" in page(pilot) and "roll back to" in page(pilot))
        await pilot.press("escape")
        feed.push(replace(ROLLBACK, id="e10", step=48_100, attempt=2, time=NOW))
        await pilot.press("r")
        await until(pilot, lambda: "roll back to" in page(pilot))
        dialog = page(pilot).split("roll back to")[1].split("step")[0]
        assert "✗" not in dialog


@pytest.mark.parametrize(("asked", "shown"), [("slots", ["slots"]), ("auto", []), ("gpu", [])])
async def test_the_settings_choose_the_panel_below_the_charts(asked: str, shown: list[str]) -> None:
    async with running(size=(120, 40), panel=asked, gpu=False) as (_, screen, _feed):
        panels = screen.placement.panels
        assert [name for name in lower_panels() if panels[name].display] == shown
