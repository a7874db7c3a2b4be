"""What broke is told in whole sentences until somebody acknowledges it; `d` tells the story."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.vlamon.tui.driving import lines, page, running, until
from tests.vlamon.tui.fake_feed import AUTOPSY, EXPLOSION, NOW, ROLLBACK, block, fed, info, status
from vlamon.charts.glyphs import UNICODE
from vlamon.charts.rows import cells, text_of
from vlamon.records import BatchBlock, Column, Event, Link
from vlamon.store import RunStore
from vlamon.tui.headline import Break, headline, newest_break
from vlamon.tui.story import ADVICE, changes_before, worth


def words(found: Break, width: int = 120, deadline: float | None = None) -> str:
    rows = headline(found, deadline, width, UNICODE)
    assert len(rows) <= 2
    assert all(cells(row) <= width for row in rows)
    assert "d why  a hide" in text_of(rows[0])
    said = " ".join(text_of(row) for row in rows).replace("d why  a hide", "")
    return " ".join(said.split())


def test_the_headline_says_what_broke_why_and_what_was_done() -> None:
    said = words(Break(EXPLOSION, AUTOPSY, ROLLBACK, healthy=True))
    assert "✗ EXPLODED at 39,210 · closs 95.20 (11× median)" in said
    assert "cause: data: samples 881204, 881219 still at 90" in said
    assert "rolled back to 39,150, healthy since" in said


@pytest.mark.parametrize(
    ("answer", "deadline", "said"),
    [
        (None, None, "nothing was done yet: r rolls back"),
        (None, 596.0, "rolls back automatically in 9:56"),
        (replace(ROLLBACK, kind="recovered"), None, "recovered without a rollback"),
        (replace(ROLLBACK, data={"ok": False}, text="no snapshot"), None, "failed: no snapshot"),
    ],
)
def test_the_headline_says_what_is_still_to_do(
    answer: Event | None, deadline: float | None, said: str
) -> None:
    assert said in words(Break(EXPLOSION, None, answer), deadline=deadline)


def test_no_rollback_is_advised_while_the_guard_rolls_back() -> None:
    store = RunStore()
    for record in (info(), EXPLOSION, status(state="rolling_back")):
        store.apply(record)
    found = newest_break(store)

    assert found is not None
    assert "the guard is rolling back" in words(found)
    assert "r rolls back" not in words(found)


def test_a_training_that_ended_unanswered_did_not_continue() -> None:
    store = RunStore()
    went_on = replace(ROLLBACK, kind="resumed", data={}, text="nobody answered")
    for record in (info(), EXPLOSION, went_on):
        store.apply(record)
    found = newest_break(store)
    assert found is not None
    assert "the training continued without a rollback" in words(found)

    store.apply(replace(went_on, id="e9", kind="end", text="stopped"))
    found = newest_break(store)
    assert found is not None
    assert "the training ended without a rollback" in words(found)


def test_a_run_that_ended_is_not_offered_a_rollback() -> None:
    store = RunStore()
    for record in (Link("live"), info(), EXPLOSION):
        store.apply(record)
    found = newest_break(store)
    assert found is not None
    assert "r rolls back" in words(found)

    store.apply(Link("ended"))
    found = newest_break(store)
    assert found is not None
    assert "r rolls back" not in words(found)


def test_a_run_without_commands_is_not_offered_a_rollback() -> None:
    store = RunStore()
    store.apply(replace(info(), control=False))
    store.apply(EXPLOSION)
    found = newest_break(store)

    assert found is not None
    assert "no rollback followed" in words(found)
    assert "r rolls back" not in words(found)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_narrow_headline_leaves_the_cause_out_and_never_the_outcome(width: int) -> None:
    verdict = replace(AUTOPSY, text="word " * 40)
    assert "rolled back to 39,150" in words(Break(EXPLOSION, verdict, ROLLBACK), width)


@pytest.mark.parametrize("width", range(66, 130))
def test_the_step_that_a_rollback_returned_to_stands_beside_its_words(width: int) -> None:
    rows = headline(Break(EXPLOSION, None, ROLLBACK), None, width, UNICODE)
    assert any("rolled back to 39,150" in text_of(row) for row in rows)
    assert all(cells(row) <= width for row in rows)


async def test_it_stays_until_it_is_acknowledged_and_the_next_one_comes_back() -> None:
    async with running() as (pilot, screen, feed):
        assert "EXPLODED at 39,210" in lines(pilot)[1]
        await pilot.press("a")
        assert "EXPLODED" not in page(pilot)
        assert not screen.placement.arrangement.has("headline")
        feed.push(replace(EXPLOSION, id="e9", step=48_209, attempt=1, time=NOW))
        await until(pilot, lambda: "EXPLODED at 48,209" in lines(pilot)[1])


async def test_d_tells_the_story_of_the_break() -> None:
    async with running(size=(120, 50)) as (pilot, _, _feed):
        await pilot.press("d")
        await until(pilot, lambda: "timeline" in page(pilot))
        for heading in ("evidence", "what changed before", "what the rollback was worth"):
            assert heading in page(pilot)
        assert "95.20 then, 8.4" in page(pilot)


def run_with(**columns: list[float]) -> RunStore:
    store = RunStore()
    steps = np.arange(300)
    made = {name: Column(np.array(values)) for name, values in columns.items()}
    store.apply(BatchBlock(0, 0, steps, steps / 100, steps * 1.0, made, {"closs": 1.0}))
    return store


def test_a_learning_rate_that_jumped_before_the_break_is_named() -> None:
    store = run_with(lr=[1e-4] * 240 + [0.1] * 60, closs=[2.0] * 300)
    said = changes_before(store, replace(EXPLOSION, step=250))
    assert any("lr: 0.0001 to 0.1 (×1e+03) at 240" in text for text in said)
    assert not changes_before(store, replace(EXPLOSION, step=230))


def test_any_setting_that_moved_before_the_break_is_named_whatever_it_is_called() -> None:
    store = run_with(
        bridge_share=[0.0] * 240 + [0.4] * 60,
        batch_size=[64.0] * 230 + [128.0] * 70,
        skipped_updates=[0.0] * 250 + [1.0] * 50,
        closs=[2.0] * 245 + [2.1] * 55,
        val_closs=[2.0] * 245 + [2.1] * 55,
        grad_cosine=list(np.linspace(0.1, 0.9, 300)),
    )
    said = changes_before(store, replace(EXPLOSION, step=250))
    assert said == ["bridge_share: 0 to 0.4 at 240", "batch_size: 64 to 128 (×2) at 230"]


def test_a_schedule_is_no_change_before_a_break() -> None:
    store = run_with(lr=list(np.linspace(1e-4, 9e-5, 300)), closs=[2.0] * 300)
    assert not changes_before(store, replace(EXPLOSION, step=250))


def test_a_command_a_weight_and_a_slow_rank_before_the_break_are_named() -> None:
    store = run_with(step_seconds_rank3=[0.1] * 249 + [0.9] * 51, closs=[2.0] * 300)
    steps = np.arange(300, 310)
    more = {"closs": Column(np.full(10, 3.0))}
    store.apply(BatchBlock(300, 0, steps, steps / 100, steps * 1.0, more, {"closs": 5.0}))
    store.apply(Event("c1", "control", 245, 0, 0.0, text="root set closs 5"))
    store.apply(Event("w1", "warn", 246, 0, 0.0, "warn", text="closs 3.00: 1.5× the median"))
    said = "\n".join(changes_before(store, replace(EXPLOSION, step=305)))
    assert "weight of closs: 1 to 5" in said
    assert "root set closs 5" in said
    assert "1.5× the median" not in said, "a symptom is no cause"
    slow = "\n".join(changes_before(store, replace(EXPLOSION, step=250)))
    assert "step_seconds_rank3: 0.9" in slow


def test_a_rollback_says_what_it_cost_and_saved() -> None:
    feed = fed(Link("live"), info(), block(0, 39_211, spike=39_210))
    feed.push(Event("k", "checkpoint", 36_000, 0, 1.0), EXPLOSION, ROLLBACK)
    found = newest_break(feed.store)
    assert found is not None
    said = worth(feed.store, found)
    assert "steps lost: 60" in said
    assert "steps saved against the checkpoint at 36,000: 3,150" in said


AS_THE_GUARD_SENDS_IT = replace(
    ROLLBACK, step=39_210, data={"ok": True, "from": 39_210, "to": 39_150}
)
"""Its step is where the training was; `to` is where it went back to."""


def test_the_step_that_a_rollback_names_is_the_one_it_returned_to() -> None:
    assert "rolled back to 39,150" in words(Break(EXPLOSION, AUTOPSY, AS_THE_GUARD_SENDS_IT))
    feed = fed(Link("live"), info(), block(0, 39_211, spike=39_210))
    feed.push(Event("k", "checkpoint", 36_000, 0, 1.0), EXPLOSION, AS_THE_GUARD_SENDS_IT)
    found = newest_break(feed.store)
    assert found is not None
    said = worth(feed.store, found)
    assert "steps lost: 60" in said
    assert "steps saved against the checkpoint at 36,000: 3,150" in said


def test_every_verdict_of_the_guard_has_advice() -> None:
    pytest.importorskip("torch")
    from typing import get_args

    from vlamon.guard.autopsy import Cause

    assert set(ADVICE) == set(get_args(Cause)) - {"unknown"}


def test_what_came_of_a_break_is_no_change_before_it() -> None:
    store = RunStore()
    broken = replace(EXPLOSION, step=250)
    note = Event("n", "note", 240, 0, NOW - 60, "info", "more data")
    paused = Event("p", "paused", 250, 0, NOW, "warn", "guard is in ask mode")
    for record in (info(), block(0, 251), note, broken, paused):
        store.apply(record)
    said = "\n".join(changes_before(store, broken))
    assert "note at 240" in said
    assert "paused" not in said
