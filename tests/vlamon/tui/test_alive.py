"""Is it alive: silence, reconnecting, alerts, ask mode and automatic rollbacks on the screen."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.vlamon.tui.driving import page, running, status_text, until
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
from vlamon.records import Link, Reply
from vlamon.tui import terminal
from vlamon.tui.pulse import GONE
from vlamon.tui.screen import MainScreen


def told(app: Any, monkeypatch: Any) -> list[str]:
    """Catch what goes to the terminal past the screen."""
    written: list[str] = []
    monkeypatch.setattr(app, "to_terminal", written.append)
    return written


def advance(app: Any, screen: MainScreen, seconds: float) -> None:
    assert isinstance(app, FrozenDashboard)
    app.now += seconds
    screen.painter.tick()


async def test_a_run_without_batches_for_ten_intervals_is_silent_and_calls(
    monkeypatch: Any,
) -> None:
    async with running() as (pilot, screen, _):
        written = told(pilot.app, monkeypatch)
        assert "training" in status_text(screen)
        advance(pilot.app, screen, 2.9)
        assert "SILENT" not in status_text(screen)
        advance(pilot.app, screen, 20)
        assert "SILENT 20 s in forward" in status_text(screen)
        assert "1 ⚠" in status_text(screen)
        calls = [text for text in written if "\x1b]9;" in text]
        assert len(calls) == 1
        advance(pilot.app, screen, 20)
        assert len([text for text in written if "\x1b]9;" in text]) == 1


async def test_silence_ends_with_the_next_batch() -> None:
    async with running() as (pilot, screen, feed):
        advance(pilot.app, screen, 30)
        assert "SILENT" in status_text(screen)
        late = block(48_210, 1, attempt=1)
        feed.push(replace(late, time=late.time + 30))
        await pilot.pause(0.15)
        assert "● training" in status_text(screen)


async def test_a_history_that_is_still_coming_in_is_no_silence() -> None:
    old = block(0, 1000)
    feed = fed(Link("live"), info(), old, gpu(NOW - 1), status())
    async with running(feed) as (pilot, screen, _):
        assert "● loading 2 %" in status_text(screen)
        assert "SILENT" not in status_text(screen)
        advance(pilot.app, screen, 5)
        assert "SILENT" in status_text(screen)


async def test_the_guards_own_work_is_reported_as_such_and_never_as_silence() -> None:
    async with running() as (pilot, screen, feed):
        exploded = replace(EXPLOSION, id="e9", step=48_209, attempt=1)
        feed.push(exploded, status(state="rolling_back"))
        advance(pilot.app, screen, 60)
        assert "autopsy: replaying 48,100→48,209" in status_text(screen)
        found = replace(AUTOPSY, id="e10", step=48_209, attempt=1)
        feed.push(found)
        advance(pilot.app, screen, 60)
        assert "● rolling back" in status_text(screen)
        feed.push(status(state="checkpointing"))
        advance(pilot.app, screen, 60)
        assert "● writing checkpoint" in status_text(screen)
        assert "SILENT" not in page(pilot)


@pytest.mark.parametrize("end", GONE)
async def test_a_trainer_that_was_killed_is_named_with_the_step_it_came_to(end: str) -> None:
    async with running() as (pilot, screen, feed):
        feed.push(Link("reconnecting", f"waiting for /tmp/vla.sock: the training {end}"))
        await until(pilot, lambda: "process 4711 gone at 48,209" in status_text(screen))


async def test_an_old_log_says_when_its_last_line_was_written() -> None:
    old = block(0, 1000)
    week = replace(old, time=NOW - 7.5 * 86_400 + np.arange(1000.0))
    async with running(fed(Link("live"), info(control=False), week)) as (pilot, screen, _):
        advance(pilot.app, screen, 30)
        assert "last line 7 d ago" in status_text(screen)
        assert "SILENT" not in page(pilot)


async def test_a_paused_run_is_not_silent() -> None:
    async with running() as (pilot, screen, feed):
        feed.push(status(state="paused"))
        await pilot.pause(0.15)
        advance(pilot.app, screen, 600)
        assert "paused" in status_text(screen)
        assert "SILENT" not in status_text(screen)


async def test_a_replay_says_so_and_no_guard_acts_in_it() -> None:
    asking = status(state="paused", deadline=NOW + 159)
    feed = fed(Link("replay", "played at 4×"), info(), block(0, 48_210), asking)
    async with running(feed) as (pilot, screen, _):
        assert "● replay" in status_text(screen)
        assert "played at 4×" in status_text(screen)
        assert "guard acts" not in page(pilot)
        feed.push(Link("ended", "the training ended"))
        await until(pilot, lambda: "● ended" in status_text(screen))
        assert "guard acts" not in page(pilot)


async def test_while_reconnecting_the_last_data_stays_on_screen() -> None:
    async with running() as (pilot, screen, feed):
        before = page(pilot).splitlines()[2:30]
        feed.push(Link("reconnecting", "the trainer went away, waiting for /tmp/vla.sock"))
        await pilot.pause(0.15)
        assert "reconnecting" in status_text(screen)
        assert "waiting for /tmp/vla.sock" in status_text(screen)
        assert page(pilot).splitlines()[2:30] == before


async def test_before_the_first_batch_the_screen_says_what_it_waits_for() -> None:
    async with running(fed(Link("waiting", "no socket at /tmp/vla.sock yet"))) as (pilot, _, _feed):
        text = page(pilot)
        assert "no socket at /tmp/vla.sock yet" in text
        assert "Emitter" in text


async def test_an_ended_run_stays_on_screen() -> None:
    async with running() as (pilot, screen, feed):
        feed.push(Link("ended", "the run is over"))
        await pilot.pause(0.15)
        assert "ended" in status_text(screen)
        assert pilot.app.is_running
        assert len(screen.placement.charts) == 5


async def test_a_failed_source_is_named_and_alarming(monkeypatch: Any) -> None:
    async with running() as (pilot, screen, feed):
        written = told(pilot.app, monkeypatch)
        feed.push(Link("failed", "protocol 2.0 is newer than this monitor: upgrade vlamon"))
        await pilot.pause(0.15)
        assert "upgrade vlamon" in status_text(screen)
        assert any("\x1b]777;" in text for text in written)


async def test_a_live_explosion_calls_and_one_out_of_history_does_not(monkeypatch: Any) -> None:
    async with running(bell=True) as (pilot, screen, feed):
        assert screen.alerting.alerts.unseen == 0  # the run's old explosion is history
        written = told(pilot.app, monkeypatch)
        rung: list[int] = []
        monkeypatch.setattr(pilot.app, "bell", lambda: rung.append(1))
        feed.push(replace(EXPLOSION, id="old", time=NOW - 3600))
        await pilot.pause(0.15)
        assert not rung
        feed.push(replace(EXPLOSION, id="live", time=NOW))
        await pilot.pause(0.15)
        assert rung == [1]
        assert any("libero_goal: explode: closs 95.20" in text for text in written)


async def test_the_terminal_title_tells_pulse_progress_and_alerts(monkeypatch: Any) -> None:
    async with running() as (pilot, _, feed):
        written = told(pilot.app, monkeypatch)
        feed.push(replace(EXPLOSION, id="live", time=NOW))
        await pilot.pause(0.15)
        assert terminal.title("(1) training 91 % · libero_goal") in written
        count = len(written)
        feed.push(block(48_210, 1, attempt=1))
        await pilot.pause(0.15)
        assert len(written) == count  # no byte for a title that did not change


async def test_escape_sequences_in_a_note_never_reach_the_terminal() -> None:
    evil = replace(EXPLOSION, id="x", kind="note", text="\x1b]0;owned\x07\x1b[2J", severity="info")
    async with running() as (pilot, _, feed):
        feed.push(evil)
        await pilot.pause(0.15)
        assert "\x1b" not in page(pilot)
        assert "owned" in page(pilot)
    assert terminal.title("a\x1b]0;b") == "\x1b]0;a·]0,b\x07"


async def test_auto_rollback_orders_once_for_a_live_explosion_and_names_it() -> None:
    async with running(auto_rollback=True) as (pilot, _, feed):
        feed.push(status(guard="watch"))
        feed.push(replace(EXPLOSION, id="live", time=NOW))
        feed.push(replace(EXPLOSION, id="live", time=NOW))
        await pilot.pause(0.15)
        assert feed.sent == [("rollback", {"event": "live"})]


async def test_auto_rollback_never_sends_commands_for_history() -> None:
    async with running(auto_rollback=True) as (pilot, _, feed):
        feed.push(status(guard="watch"), replace(EXPLOSION, id="old", time=NOW - 3600))
        await pilot.pause(0.15)
        assert feed.sent == []


async def test_auto_rollback_leaves_a_guard_that_acts_by_itself_alone() -> None:
    async with running(auto_rollback=True) as (pilot, _, feed):
        feed.push(status(guard="auto"), replace(EXPLOSION, id="live", time=NOW))
        await pilot.pause(0.15)
        assert feed.sent == []


async def test_without_the_option_an_explosion_orders_nothing() -> None:
    async with running() as (pilot, _, feed):
        feed.push(replace(EXPLOSION, id="live", time=NOW))
        await pilot.pause(0.15)
        assert feed.sent == []


async def test_in_ask_mode_the_dialog_opens_with_a_countdown() -> None:
    async with running() as (pilot, screen, feed):
        feed.push(replace(EXPLOSION, id="live", time=NOW))
        feed.push(status(state="paused", deadline=NOW + 60))
        await until(pilot, lambda: "rolls back automatically in 1:00" in page(pilot))
        advance(pilot.app, screen, 10)
        await until(pilot, lambda: "rolls back automatically in 50 s" in page(pilot))
        await pilot.press("enter")
        assert feed.sent == [("rollback", {"to": 48_100, "exact": True, "event": "live"})]


async def test_the_dialog_of_one_explosion_opens_once() -> None:
    async with running() as (pilot, screen, feed):
        feed.push(status(state="paused", deadline=NOW + 60))
        await until(pilot, lambda: "rolls back automatically" in page(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen is screen)
        feed.push(status(state="paused", deadline=NOW + 60))
        await pilot.pause(0.3)
        assert pilot.app.screen is screen


async def test_the_dialog_closes_when_the_guard_has_acted() -> None:
    async with running() as (pilot, screen, feed):
        feed.push(status(state="paused", deadline=NOW + 60))
        await until(pilot, lambda: pilot.app.screen is not screen)
        feed.push(status(state="training"))
        await until(pilot, lambda: pilot.app.screen is screen)


async def test_a_read_only_watcher_is_not_asked() -> None:
    async with running(read_only=True) as (pilot, screen, feed):
        feed.push(status(state="paused", deadline=NOW + 60))
        await pilot.pause(0.3)
        assert pilot.app.screen is screen


async def test_a_reply_to_somebody_elses_order_is_not_shown_as_ours() -> None:
    async with running() as (pilot, screen, feed):
        feed.push(Reply("theirs", False, {}, "no"))
        await pilot.pause(0.15)
        assert "refused" not in status_text(screen)


async def test_a_run_without_events_or_gpu_is_drawn() -> None:
    feed = fed(Link("live"), info(), block(0, 9))
    async with running(feed) as (pilot, _, _feed):
        assert "nothing has happened yet" in page(pilot)
        await pilot.press("d")
        assert "too few batches for a diagnosis" in page(pilot)


async def test_a_restart_with_other_metrics_rearranges_the_charts() -> None:
    async with running(fed(*whole_run())) as (pilot, screen, feed):
        more = block(48_210, 5, attempt=2)
        columns = {**more.columns, "energy": more.columns["closs"]}
        feed.push(info(boot="b2"), replace(more, columns=columns))
        await pilot.pause(0.15)
        assert "energy" in [name for group in screen.placement.groups() for name in group.metrics]


async def test_garbage_that_start_up_leaves_alone_is_collected_once_the_screen_is_up() -> None:
    gc.disable()
    try:
        async with running() as (pilot, _, _feed):
            await until(pilot, gc.isenabled)
        assert gc.get_freeze_count()
    finally:
        gc.enable()
        gc.unfreeze()


async def test_the_status_line_tells_how_much_is_done_and_left() -> None:
    async with running(size=(160, 45)) as (_, screen, _feed):
        said = status_text(screen)
        assert "48,209/52,480  ━━━━━━━━━·  91 %" in said
        assert "21 min left" in said
    last = block(52_479, 1)
    async with running(fed(Link("ended"), info(), last), size=(160, 45)) as (_, screen, _feed):
        assert "━━━━━━━━━━  100 %" in status_text(screen)
    async with running(size=(80, 24)) as (_, screen, _feed):
        assert "21 min left" in status_text(screen), "time left before the bar"
