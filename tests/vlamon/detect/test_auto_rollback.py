"""A monitor orders a rollback for what happens now, once, and only where nobody else does."""

from __future__ import annotations

import math
import random

import numpy as np

from vlamon.detect.auto_rollback import BUDGET, AutoRollback, WantedRollback
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
        assert monitor.hear(record) is None
    return monitor


def explosion(event: str = "boot-3", time: float = NOW) -> Event:
    return Event(event, "explode", 501, 0, time, "error", "closs 95")


def test_a_live_explosion_is_found_in_the_batches_when_the_trainer_does_not_look() -> None:
    monitor = watching()
    wanted = monitor.hear(rows([8.4, 8.5, 95.0], 501, NOW))
    assert isinstance(wanted, WantedRollback)
    assert wanted.step == 503
    assert "closs 95" in wanted.text


def test_one_explosion_is_ordered_once_however_long_it_lasts() -> None:
    monitor = watching()
    found = [monitor.hear(rows([95.0 + i], 501 + i, NOW + i)) for i in range(40)]
    assert [wanted is not None for wanted in found] == [True] + 39 * [False]


def test_the_next_attempt_may_explode_and_be_answered_again() -> None:
    monitor = watching()
    assert monitor.hear(rows([95.0], 501, NOW)) is not None
    assert monitor.hear(rows([8.5] * 40, 430, NOW + 1, attempt=1)) is None
    again = monitor.hear(rows([99.0], 470, NOW + 2, attempt=1))
    assert again is not None


def test_two_monitors_give_one_explosion_the_same_id() -> None:
    early, late = watching(), AutoRollback()
    for record in (INFO, calm(200, 300), status()):
        late.hear(record)
    first, second = (monitor.hear(rows([95.0], 501, NOW)) for monitor in (early, late))
    assert first is not None
    assert second is not None
    assert first.event == second.event


def test_history_is_never_answered() -> None:
    monitor = AutoRollback()
    assert monitor.hear(INFO) is None
    assert monitor.hear(calm(400)) is None
    assert monitor.hear(rows([95.0] * 5, 400, NOW - 600)) is None
    assert monitor.hear(explosion(time=NOW - 600)) is None
    assert monitor.hear(status()) is None
    assert monitor.hear(rows([95.0] * 5, 405, NOW - 500)) is None
    assert monitor.hear(explosion("boot-4", NOW - 500)) is None


def test_a_guard_that_acts_itself_is_left_alone() -> None:
    for guard in ("auto", "ask"):
        monitor = watching(guard)
        assert monitor.hear(rows([95.0], 501, NOW)) is None
        assert monitor.hear(explosion()) is None


def test_in_watch_mode_the_trainers_own_event_is_answered_by_its_id() -> None:
    monitor = watching("watch")
    assert monitor.hear(rows([95.0], 501, NOW)) is None
    wanted = monitor.hear(explosion("boot-3"))
    assert wanted is not None
    assert wanted.event == "boot-3"
    assert monitor.hear(explosion("boot-3")) is None


def test_a_training_that_keeps_exploding_is_left_to_a_person() -> None:
    monitor = watching()
    ordered = 0
    for attempt in range(10):
        monitor.hear(rows([8.5] * 20, 500, NOW, attempt))
        ordered += monitor.hear(rows([95.0], 520, NOW, attempt)) is not None
    assert ordered == BUDGET
    assert monitor.spent


def test_a_restarted_trainer_is_learned_anew() -> None:
    monitor = watching()
    monitor.hear(RunInfo("id", "run", boot="other", metrics=INFO.metrics))
    assert monitor.hear(rows([95.0], 0, NOW)) is None
    monitor.hear(status())
    assert monitor.hear(rows([95.0], 1, NOW)) is None
