"""What is told of a training that cannot tell itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from vlamon.alerts.watchdog import GRACE, Watchdog
from vlamon.records import BatchBlock, Event, Link, Record, RunInfo, Status

START = 1_795_000_000.0


class Run:
    """A run on a clock that the test moves; the process lives until it is killed."""

    def __init__(self, host: str = "here", **settings: Any) -> None:
        self.lives: bool | None = True
        self.now = 0.0
        self.dog = Watchdog(lambda pid: self.lives, "here", **settings)
        self.told: list[str] = []
        self.feed(RunInfo("id", "goal", "boot", host, 24913))

    def feed(self, *records: Record) -> None:
        self.told += [a.kind for a in self.dog.observe(records, self.now, START + self.now)]

    def rows(self, count: int, every: float = 1.0) -> None:
        for _ in range(count):
            self.now += every
            self.feed(block(int(self.now / every), START + self.now))

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.now += 1.0
            self.told += [a.kind for a in self.dog.check(self.now, START + self.now)]


def block(step: int, time: float) -> BatchBlock:
    return BatchBlock(0, 0, np.array([step]), np.array([np.nan]), np.array([time]), {})


def test_a_killed_process_is_gone_and_reported_once() -> None:
    run = Run()
    run.rows(50)
    run.lives = False
    run.wait(100)
    assert run.told == ["gone"]
    assert run.dog.failed


def test_a_process_that_ended_well_sends_no_alert() -> None:
    run = Run()
    run.rows(5)
    run.feed(Event("e", "end", 5, 0, START, "info", "the training ended"))
    run.lives = False
    run.wait(600)
    assert run.told == []
    assert not run.dog.failed


def test_a_hang_is_reported_once_and_its_end_too() -> None:
    run = Run()
    run.rows(50)
    run.wait(600)
    assert run.told == ["silent"]
    run.rows(3)
    assert run.told == ["silent", "recovered"]


def test_slow_steps_and_pauses_are_no_silence() -> None:
    slow = Run()
    slow.rows(20, every=60.0)
    slow.wait(1000)
    assert slow.told == []
    paused = Run()
    paused.rows(20)
    paused.feed(Status("paused", 20))
    paused.wait(5000)
    assert paused.told == []


def test_a_lost_connection_to_another_host_has_a_grace() -> None:
    run = Run(host="node17")
    run.rows(20)
    run.feed(Link("reconnecting"))
    run.wait(GRACE - 2)
    run.feed(Link("live"))
    run.wait(60)
    assert run.told == []
    run.feed(Link("reconnecting"))
    run.wait(60)
    assert run.told == ["gone"]


def test_a_requeued_run_is_watched_again() -> None:
    run = Run()
    run.rows(20)
    run.lives = False
    run.wait(5)
    run.lives = True
    run.feed(RunInfo("id", "goal", "another boot", "here", 25000))
    run.rows(5)
    assert not run.dog.over
    run.lives = False
    run.wait(5)
    assert run.told == ["gone", "gone"]


def test_the_runs_own_events_are_reported_only_when_asked_for() -> None:
    explosion = Event("e-1", "explode", 7, 0, START, "error", "closs 95")
    quiet, loud = Run(), Run(every_event=True)
    for run in (quiet, loud):
        run.feed(explosion)
    assert (quiet.told, loud.told) == ([], ["explosion"])
