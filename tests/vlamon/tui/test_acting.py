"""Keys that send commands, save or quit: what is sent, shown and written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.vlamon.tui.driving import host, lines, page, running, status_text, until
from tests.vlamon.tui.fake_feed import (
    NOW,
    FrozenDashboard,
    block,
    fed,
    info,
    status,
    whole_run,
)
from vlamon.charts.glyphs import UNICODE
from vlamon.charts.rows import text_of
from vlamon.records import BatchBlock, Column, Link, Reply, Snapshot
from vlamon.tui.dialogs.choice import Choice, Choosing, Item
from vlamon.tui.export import save_screen
from vlamon.tui.screen import MainScreen


async def test_c_orders_a_checkpoint_and_shows_the_reply() -> None:
    async with running() as (pilot, screen, feed):
        await pilot.press("c")
        assert feed.sent == [("checkpoint", {})]
        assert "waiting" in status_text(screen)
        feed.push(Reply("order-1", True, {"step": 48_211, "seconds": 0.31}))
        await pilot.pause(0.15)
        assert "checkpoint done: step 48,211, 0.31 s" in status_text(screen)


async def test_a_refused_order_says_why() -> None:
    async with running() as (pilot, screen, feed):
        await pilot.press("c")
        feed.push(Reply("order-1", False, {}, "the disk is full"))
        await pilot.pause(0.15)
        assert "checkpoint refused: the disk is full" in status_text(screen)


async def test_a_command_without_an_answer_says_so_after_a_while() -> None:
    async with running() as (pilot, screen, feed):
        await pilot.press("p")
        app = pilot.app
        assert isinstance(app, FrozenDashboard)
        app.now += 11
        feed.push(replace(status(), time=app.now))
        await pilot.pause(0.15)
        assert "pause: no answer after 10 s" in status_text(screen)


async def test_a_command_that_cannot_be_sent_says_so() -> None:
    async with running() as (pilot, screen, feed):
        feed.refuse_to_send = "the connection is gone"
        await pilot.press("c")
        assert "checkpoint not sent: the connection is gone" in status_text(screen)


async def test_a_run_that_takes_no_commands_says_so_at_once() -> None:
    feed = fed(Link("live"), info(control=False), block(0, 100))
    async with running(feed) as (pilot, screen, _):
        await pilot.press("c")
        assert feed.sent == []
        assert "takes no commands" in status_text(screen)


async def test_a_run_that_takes_no_commands_offers_no_rollback() -> None:
    feed = fed(Link("live"), info(control=False), block(0, 100))
    async with running(feed) as (pilot, screen, _):
        await pilot.press("r")
        assert pilot.app.screen is screen
        assert "takes no commands" in status_text(screen)


@pytest.mark.parametrize("key", ["m", "colon"])
@pytest.mark.parametrize("read_only", [True, False])
async def test_what_is_typed_after_a_refused_key_is_no_key(key: str, read_only: bool) -> None:
    feed = fed(Link("live"), info(control=read_only), block(0, 100))
    async with running(feed, read_only=read_only) as (pilot, screen, _):
        await pilot.press(key, *"lbex", "enter")
        await until(pilot, lambda: "lbex" in page(pilot))
        assert ("read-only" if read_only else "takes no commands") in page(pilot)
        await pilot.press("escape")
        assert pilot.app.screen is screen
        assert feed.sent == []
        assert not screen.styling.look.log
        assert screen.placement.lower == ""


async def test_p_pauses_and_then_resumes() -> None:
    async with running() as (pilot, _, feed):
        await pilot.press("p")
        feed.push(status(state="paused"))
        await pilot.pause(0.15)
        await pilot.press("p")
        assert [name for name, _ in feed.sent] == ["pause", "resume"]


async def test_r_offers_the_snapshots_and_rolls_back_to_the_chosen_one() -> None:
    async with running() as (pilot, _, feed):
        await pilot.press("r")
        text = page(pilot)
        for words in ("39,150", "48,100", "48,200", "trusted", "unverified", "8.52"):
            assert words in text
        await pilot.press("enter")
        assert feed.sent == [("rollback", {"to": 48_100, "exact": True})]


async def test_the_state_before_the_first_step_is_the_start() -> None:
    start = Snapshot(-1, "ring", True, NOW - 400, None)
    async with running(fed(*whole_run(), status(snapshots=(start,)))) as (pilot, _, feed):
        await pilot.press("r")
        await until(pilot, lambda: "roll back to" in page(pilot))
        assert "start" in next(line for line in lines(pilot) if "trusted" in line)
        await pilot.press("enter")
        assert feed.sent == [("rollback", {"to": -1, "exact": True})]


class Unmounted(Choice):
    """A choice that needs no application around it."""

    glyphs = UNICODE  # type: ignore[assignment]


def test_a_snapshot_that_comes_in_does_not_move_the_choice_to_another_one() -> None:
    items = [Item("48200", (("48,200", ""),)), Item("48100", (("48,100", ""),))]
    choice = Unmounted(host(), Choosing("roll back to", lambda _: items), at="48100")
    items.insert(0, Item("48300", (("48,300", ""),)))
    choice.body(40)
    assert choice.highlighted == "48100"


def test_a_state_in_memory_and_on_disk_has_two_lines_to_pass() -> None:
    items = [Item(key, ((key, ""),)) for key in ("48200", "48100", "48100", "48000")]
    choice = Unmounted(host(), Choosing("roll back to", lambda _: items), at="48200")
    for _ in range(3):
        choice.action_move(1)
        choice.body(40)
    assert choice.highlighted == "48000"


async def test_escape_leaves_the_rollback_dialog_without_an_order() -> None:
    async with running() as (pilot, _, feed):
        await pilot.press("r", "escape")
        assert feed.sent == []


async def test_m_sends_a_note() -> None:
    async with running() as (pilot, _, feed):
        await pilot.press("m", *"lr", "space", *"cut", "enter")
        assert feed.sent == [("note", {"text": "lr cut"})]


async def test_colon_sets_a_weight_and_refuses_nonsense_before_sending() -> None:
    async with running() as (pilot, _, feed):
        await pilot.press("colon", *"loss_ct", "space", "x", "enter")
        assert feed.sent == []
        assert "must be a number from 0" in page(pilot)
        await pilot.press("backspace", "5", "enter")
        assert feed.sent == [("set", {"name": "loss_ct", "value": 5.0})]


async def test_capital_s_saves_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with running() as (pilot, screen, _):
        await pilot.press("S")
        (saved,) = tmp_path.glob("vlamon-libero_goal-*.svg")
        assert "closs" in saved.read_text()
        assert "picture saved" in status_text(screen)


async def test_e_saves_every_batch_as_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with running(fed(Link("live"), info(), block(0, 5000))) as (pilot, screen, _):
        await pilot.press("e")
        await until(pilot, lambda: "5,000 batches saved" in status_text(screen))
        (saved,) = tmp_path.glob("vlamon-libero_goal-*.csv")
        rows = saved.read_text().splitlines()
        assert rows[0].startswith("attempt,epoch,step,time,closs,loss_ct,z_loss")
        assert len(rows) == 5001


async def test_the_csv_gives_back_what_the_run_sent_or_names_what_it_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    steps = np.arange(3)
    single = np.array([0.1, 1e-12, 95.2], np.float32).astype(np.float64)
    columns = {"closs": Column(single), "lr": Column(np.array([0.1, 0.2, 0.3]))}
    rows = BatchBlock(0, 0, steps, steps / 3, steps * 1.0, columns)
    async with running(fed(Link("live"), info(), rows)) as (pilot, screen, _):
        await pilot.press("e")
        await until(pilot, lambda: "(float32: lr)" in status_text(screen))
    (saved,) = tmp_path.glob("*.csv")
    cells = [line.split(",") for line in saved.read_text().splitlines()]
    assert [float(line[4]) for line in cells[1:]] == single.tolist()
    assert [line[5] for line in cells[1:]] == ["0.1", "0.2", "0.3"]


async def test_a_full_disk_under_a_picture_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def full(*_: Any, **__: Any) -> int:
        raise OSError(28, "No space left on device")

    async with running() as (pilot, screen, _):
        monkeypatch.setattr(Path, "open", full)
        await pilot.press("S")
        assert "picture not saved: No space left on device" in status_text(screen)


async def test_q_leaves_with_code_0() -> None:
    async with running() as (pilot, _, _feed):
        await pilot.press("q")
    assert pilot.app.return_code == 0


async def test_read_only_hides_every_order() -> None:
    async with running(read_only=True, size=(160, 60)) as (pilot, screen, feed):
        for key in ("c", "r", "p"):
            await pilot.press(key)
            assert isinstance(pilot.app.screen, MainScreen)
            assert "read-only" in status_text(screen)
        assert feed.sent == []
        footer = text_of(screen.placement.panels["footer"].role_rows()[0])
        assert "checkpoint" not in footer
        await pilot.press("question_mark")
        assert "snapshot to go back" not in page(pilot)


def test_a_picture_is_never_written_through_a_link_that_lies_in_its_place(tmp_path: Path) -> None:
    path, victim = tmp_path / "vlamon-run.svg", tmp_path / "victim"
    path.symlink_to(victim)
    assert "not saved" in save_screen("<svg/>", path).text
    victim.write_text("mine")
    assert "not saved" in save_screen("<svg/>", path).text
    assert victim.read_text() == "mine"
