"""What the diagnosis rules find in the run that is on screen: computed seldom, on a thread."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vlamon.records import BatchBlock, Column, Record

if TYPE_CHECKING:
    from vlamon.analysis.diagnosis import Diagnosis
    from vlamon.store import RunStore

ROWS = 20_000
"""Newest batches that the rules look at; `vlamon analyze` reads a run whole."""
PERIOD = 30.0
"""Least seconds between two looks."""
SHARE = 1 / 100
"""Largest share of one core that the looks may take."""

Found = tuple[tuple[str, str, str], ...]


@dataclass(slots=True)
class Schedule:
    """When to look again: seldom, and the more seldom the longer a look takes."""

    due: float = 0.0
    """Time of the next look."""
    rows: int = -1
    """Rows that the last look saw."""

    def wanted(self, rows: int, now: float) -> bool:
        """Say whether there is something new and a look is due; it then counts as taken."""
        if rows == self.rows or now < self.due:
            return False
        self.rows, self.due = rows, now + PERIOD
        return True

    def took(self, seconds: float, now: float) -> None:
        """Note what a look cost."""
        self.due = max(self.due, now + seconds / SHARE)


def look(store: RunStore, lock: AbstractContextManager[Any], schedule: Schedule) -> Found:
    """Run the rules over the newest batches and all epoch lines; role, headline and detail each."""
    began = time.monotonic()
    try:
        found = _diagnosed(store, lock)
    except Exception as problem:  # a rule that fails is no reason to lose the screen
        return (
            ("explode", "the rules failed on this run", f"{type(problem).__name__}: {problem}"),
        )
    finally:
        now = time.monotonic()
        schedule.took(now - began, now)
    roles = {"error": "explode", "warn": "warn", "info": "note"}
    return tuple(
        (roles.get(one.severity, "note"), one.title, f"{one.evidence} {one.advice}")
        for one in found
    )


def _diagnosed(store: RunStore, lock: AbstractContextManager[Any]) -> list[Diagnosis]:
    from vlamon.analysis.diagnosis import diagnose
    from vlamon.analysis.evidence import REFERENCE_VOCAB, Settings, gather

    with lock:
        records = list(_records(store))
        vocab = store.info.vocab if store.info is not None else None
    return diagnose(gather(records, Settings(vocab=vocab or REFERENCE_VOCAB)))


def _records(store: RunStore) -> Iterator[Record]:
    """Copy what the rules need out of the store; the caller holds the lock."""
    if store.info is not None:
        yield store.info
    own = [name for name in store.metrics if name in store.specs or not name.startswith("val_")]
    first = max(0, store.rows - ROWS)
    for attempt in store.attempts if len(store.intervals) == 0 else ():
        start, end = max(first, attempt.first_row), attempt.end_row
        if start >= end:
            continue
        columns = {
            name: Column(
                np.array(store.values(name, start, end), np.float64),
                np.array(store.present(name, start, end)),
            )
            for name in own
        }
        yield BatchBlock(
            start,
            attempt.number,
            np.array(store.steps(start, end)),
            np.array(store.epochs_of_rows(start, end), np.float64),
            np.array(store.times(start, end)),
            columns,
            dict(store.weights_at(start)),
        )
    yield from store.intervals.blocks
    yield from store.epochs[:]
    yield from store.events
