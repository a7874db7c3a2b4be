"""The states that a run can go back to, with what the run's own records tell of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vlamon.charts.numbers import count

if TYPE_CHECKING:
    from vlamon.records import Snapshot
    from vlamon.store import RunStore


def snapshots(store: RunStore) -> list[Snapshot]:
    """Return the snapshots, newest first.

    A guard tells little of a checkpoint on disk; when it was written says its event, and what
    closs was its batch.
    """
    status = store.status
    if status is None:
        return []
    found = [_completed(store, snapshot) for snapshot in status.snapshots]
    return sorted(found, key=lambda one: one.step, reverse=True)


def step_of(snapshot: Snapshot) -> str:
    """Write the step of a snapshot; the state before the first step has none."""
    return count(snapshot.step) if snapshot.step >= 0 else "start"


def _completed(store: RunStore, snapshot: Snapshot) -> Snapshot:
    if not snapshot.time:
        snapshot = replace(snapshot, time=_written(store, snapshot))
    if snapshot.closs is None:
        row = store.row_of_step(snapshot.step)
        closs = None if row is None else store.value("closs", row)
        snapshot = replace(snapshot, closs=closs)
    return snapshot


def _written(store: RunStore, snapshot: Snapshot) -> float:
    for event in reversed(store.events):
        if event.kind == "checkpoint" and event.step == snapshot.step:
            return event.time
    return 0.0
