"""A monitor orders a rollback for what happens now, once, and only where nobody else does."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from vlamon.detect.auto_rollback import BUDGET, BUDGET_ROWS, AutoRollback, RollbackRequest
from vlamon.hardware import GpuSample
from vlamon.records import BatchBlock, Column, Event, MetricSpec, RunInfo, Status

INFO = RunInfo("id", "run", boot="abcdef1234", metrics=(MetricSpec("closs", "trained", 1.0),))
NOW = 1_000_000.0


def status(guard: str = "off", time: float = NOW) -> Status:
    return Status("training", 500, guard=guard, time=time)


def rows(closs: list[float], first: int, time: float, attempt: int = 0) -> BatchBlock:
    count = len(closs)
    return BatchBlock(
        seq=first,
        attempt=attempt,
        step=np.arange(first, first + count),
        epoch=np.zeros(count),
        time=np.full(count, time),
        columns={"closs": Column(np.array(closs))},
    )


def calm(count: int, first: int = 0, time: float = NOW - 900, seed: int = 0) -> BatchBlock:
    rng = random.Random(seed)
    return rows([8.5 * math.exp(rng.gauss(0, 0.03)) for _ in range(count)], first, time)


def watching(guard: str = "off") -> AutoRollback:
    monitor = AutoRollback()
    for record in (INFO, calm(500), status(guard)):
        assert monitor.observe(record) is None
    return monitor


def explosion(event: str = "boot-3", time: float = NOW) -> Event:
    return Event(event, "explode", 501, 0, time, "error", "closs 95")


def test_a_live_explosion_is_found_in_the_batches_when_the_trainer_does_not_look() -> None:
    monitor = watching()
    wanted = monitor.observe(rows([8.4, 8.5, 95.0], 501, NOW))
    assert isinstance(wanted, RollbackRequest)
    assert wanted.step == 503
    assert "closs 95" in wanted.text


def test_one_explosion_is_rolled_back_once_however_long_it_lasts() -> None:
    monitor = watching()
    found = [monitor.observe(rows([95.0 + i], 501 + i, NOW + i)) for i in range(40)]
    assert [wanted is not None for wanted in found] == [True] + 39 * [False]


def test_the_next_attempt_may_explode_and_be_answered_again() -> None:
    monitor = watching()
    assert monitor.observe(rows([95.0], 501, NOW)) is not None
    assert monitor.observe(rows([8.5] * 40, 430, NOW + 1, attempt=1)) is None
    again = monitor.observe(rows([99.0], 470, NOW + 2, attempt=1))
    assert again is not None


def test_two_monitors_give_one_explosion_the_same_id() -> None:
    early, late = watching(), AutoRollback()
    for record in (INFO, calm(200, 300), status()):
        late.observe(record)
    first, second = (monitor.observe(rows([95.0], 501, NOW)) for monitor in (early, late))
    assert first is not None
    assert second is not None
    assert first.event == second.event


def test_history_is_never_answered() -> None:
    monitor = AutoRollback()
    assert monitor.observe(INFO) is None
    assert monitor.observe(calm(400)) is None
    assert monitor.observe(rows([95.0] * 5, 400, NOW - 600)) is None
    assert monitor.observe(explosion(time=NOW - 600)) is None
    assert monitor.observe(status()) is None
    assert monitor.observe(rows([95.0] * 5, 405, NOW - 500)) is None
    assert monitor.observe(explosion("boot-4", NOW - 500)) is None


def test_a_guard_that_acts_itself_is_left_alone() -> None:
    for guard in ("auto", "ask"):
        monitor = watching(guard)
        assert monitor.observe(rows([95.0], 501, NOW)) is None
        assert monitor.observe(explosion()) is None


def test_in_watch_mode_the_trainers_own_event_is_answered_by_its_id() -> None:
    monitor = watching("watch")
    assert monitor.observe(rows([95.0], 501, NOW)) is None
    wanted = monitor.observe(explosion("boot-3"))
    assert wanted is not None
    assert wanted.event == "boot-3"
    assert monitor.observe(explosion("boot-3")) is None


def test_a_training_that_keeps_exploding_is_left_to_a_person() -> None:
    monitor = watching()
    ordered = 0
    for attempt in range(10):
        monitor.observe(rows([8.5] * 20, 500, NOW, attempt))
        ordered += monitor.observe(rows([95.0], 520, NOW, attempt)) is not None
    assert ordered == BUDGET
    assert monitor.spent


def test_a_restarted_trainer_is_learned_anew() -> None:
    monitor = watching()
    monitor.observe(RunInfo("id", "run", boot="other", metrics=INFO.metrics))
    assert monitor.observe(rows([95.0], 0, NOW)) is None
    monitor.observe(status())
    assert monitor.observe(rows([95.0], 1, NOW)) is None


@pytest.mark.parametrize(("age", "answered"), [(15.0, True), (15.1, False)])
def test_what_is_older_than_fifteen_seconds_is_history(age: float, answered: bool) -> None:
    monitor = watching()
    assert (monitor.observe(explosion(time=NOW - age)) is not None) is answered
    monitor = watching()
    monitor.observe(GpuSample(NOW + 20.0, ()))
    assert (monitor.observe(explosion(time=NOW + 20.0 - age)) is not None) is answered
    monitor = watching()
    monitor.observe(rows([8.5], 501, NOW + 20.0))
    assert (monitor.observe(explosion(time=NOW + 20.0 - age)) is not None) is answered


def test_nothing_is_live_before_the_first_status() -> None:
    monitor = AutoRollback()
    for record in (INFO, calm(500)):
        monitor.observe(record)
    assert monitor.observe(explosion()) is None
    assert monitor.observe(rows([95.0], 501, NOW)) is None


def test_an_event_that_a_monitor_made_or_that_is_no_explosion_is_not_answered() -> None:
    monitor = watching()
    seen = Event("seen", "explode", 501, 0, NOW, "error", "closs 95", {"by": "monitor"})
    assert monitor.observe(seen) is None
    assert monitor.observe(Event("note", "warn", 501, 0, NOW)) is None
    assert monitor.observe(explosion()) is not None


def test_ten_thousand_rows_after_it_a_rollback_is_no_longer_counted() -> None:
    monitor = watching()
    for attempt in range(BUDGET):
        assert not monitor.spent
        monitor.observe(rows([8.5] * 20, 500, NOW, attempt))
        assert monitor.observe(rows([95.0], 520, NOW, attempt)) is not None
    assert monitor.spent
    monitor.observe(rows([8.5] * (BUDGET_ROWS - 2 * 21), 600, NOW, BUDGET))
    assert monitor.spent, "the oldest is just that old"
    monitor.observe(rows([8.5], 20_000, NOW, BUDGET))
    assert not monitor.spent


def test_the_last_thousand_rows_of_a_history_teach_what_is_usual() -> None:
    monitor = AutoRollback()
    monitor.observe(INFO)
    for first in range(0, 3000, 100):
        level = 50.0 if first < 1900 else 8.5
        monitor.observe(rows([level] * 100, first, NOW - 900))
    assert sum(block.rows for block in monitor._backlog) == 1100, "and no more of it is kept"
    monitor.observe(status())
    wanted = monitor.observe(rows([95.0], 3000, NOW))
    assert wanted is not None, "the level from before them is forgotten"


def test_a_long_block_is_kept_until_those_behind_it_are_enough() -> None:
    monitor = AutoRollback()
    monitor.observe(INFO)
    for first, count, kept in (
        (0, 1000, 1000),
        (1000, 100, 1100),
        (1100, 923, 2023),
        (2023, 1, 1024),
    ):
        monitor.observe(rows([8.5] * count, first, NOW - 900))
        assert sum(block.rows for block in monitor._backlog) == kept


def test_weights_of_a_block_say_which_losses_are_judged() -> None:
    monitor = watching()
    calm_block = replace(rows([8.5], 501, NOW), weights={"other": 1.0})
    assert monitor.observe(calm_block) is None
    assert monitor.observe(rows([95.0], 502, NOW)) is None
