"""What the dashboard knows of a state to go back to, beyond what the guard tells."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.vlamon.tui.fake_feed import NOW, block, status
from vlamon.records import Event, Snapshot
from vlamon.store import RunStore
from vlamon.tui.snapshots import snapshots


def run(*held: Snapshot) -> RunStore:
    store = RunStore()
    store.apply(block(0, 1000))
    store.apply(Event("c1", "checkpoint", 499, 0, NOW - 300, "info", "in runs/a/step-499"))
    store.apply(status(snapshots=held))
    return store


def test_age_and_closs_of_a_checkpoint_on_disk_come_from_its_event_and_its_batch() -> None:
    store = run(Snapshot(499, "runs/a/checkpoints/step-499", True))
    (found,) = snapshots(store)
    assert found.time == NOW - 300
    assert found.closs == pytest.approx(store.value("closs", 499))


def test_what_the_guard_tells_is_kept() -> None:
    told = Snapshot(499, "ring", False, NOW - 7, 8.61)
    assert snapshots(run(told)) == [told]


def test_a_checkpoint_of_before_the_history_stays_without() -> None:
    (found,) = snapshots(run(Snapshot(100_000, "runs/a/old", True)))
    assert (found.time, found.closs) == (0.0, None)


def test_the_newest_stands_first_wherever_it_is() -> None:
    disk = Snapshot(499, "runs/a/checkpoints/step-499", True, NOW, 8.0)
    ring = [replace(disk, step=step, where="ring") for step in (480, 490, 510)]
    assert [one.step for one in snapshots(run(disk, *ring))] == [510, 499, 490, 480]
