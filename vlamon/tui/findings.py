"""What is wrong with the run: the guard's verdicts, and what the rules find now and then."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from vlamon.charts.numbers import count
from vlamon.records import BatchBlock, Column, Event, Record

if TYPE_CHECKING:
    from vlamon.analysis.diagnosis import Diagnosis
    from vlamon.charts.rows import Row
    from vlamon.detect.rules import SpikeRules
    from vlamon.store import RunStore
    from vlamon.tui.dialogs.page import Page
    from vlamon.tui.host import Host

ROWS = 20_000
"""Newest batches that the rules look at; `vlamon analyze` reads a run whole."""
PERIOD = 30.0
"""Least seconds between two looks."""
SHARE = 1 / 100
"""Largest share of one core that the looks may take."""

FEW = 10
"""Rows below which the diagnosis has nothing to go by."""
VERDICTS = 3
"""Verdicts of autopsies that the panel has; the page has all."""

Finding = tuple[str, str, str]
"""Role, headline and detail."""
Found = tuple[Finding, ...]


@dataclass(slots=True)
class LookSchedule:
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


class Findings:
    """Looks at the run now and then, while somebody sees what is found."""

    def __init__(self, host: Host, seen: Callable[[], bool], reading: Callable[[], bool]) -> None:
        self.looked = False
        self._host = host
        self._seen = seen
        self._reading = reading
        self._schedule = LookSchedule()
        self._found: Found = ()
        self._page: Page | None = None
        self._autopsies: list[Event] = []
        self._read = 0
        """Events that were looked through for autopsies."""

    def all(self, verdicts: int | None = VERDICTS) -> Found:
        """Return the guard's verdicts, newest first, what the rules found, and what was lost."""
        store = self._host.store
        self._look_when_due()
        self._autopsies += [
            event for event in store.events[self._read :] if event.kind == "autopsy"
        ]
        self._read = len(store.events)
        found: list[Finding] = []
        for event in islice(reversed(self._autopsies), verdicts):
            verdict = str(event.data.get("verdict", "")) or "autopsy"
            found.append(("warn", f"{verdict} at {count(event.step)}", event.text))
        pending = "diagnosis pending" if store.rows >= FEW else "too few batches for a diagnosis"
        found += self._found if self.looked else (("muted", pending, ""),)
        lost = sum(gap.rows for gap in store.gaps)
        if lost:
            found.append(
                ("muted", f"{count(lost)} batches were not received", store.gaps[-1].reason)
            )
        return tuple(found)

    def _look_when_due(self) -> None:
        host = self._host
        seen = self._page is not None or self._seen()
        if not seen or self._reading() or host.store.rows < FEW:
            return
        if self._schedule.wanted(host.store.rows, host.shell.monotonic()):
            host.work(self._find, "findings")

    def _find(self, cancelled: Callable[[], bool]) -> Callable[[], None]:
        rules = self._host.shell.options.rules
        found = look(self._host.store, self._host.data_lock, self._schedule, rules)

        def show() -> None:
            self._found, self.looked = found, True
            self._host.repaint()
            if self._page is not None:
                self._page.update()

        return show

    def show_page(self) -> None:
        """Show every finding in full."""
        from vlamon.tui.dialogs.page import Page
        from vlamon.tui.headline import newest_break
        from vlamon.tui.story import story_rows

        def write(width: int) -> Sequence[Row]:
            with self._host.data_lock:
                found = newest_break(self._host.store)
                story = story_rows(self._host.store, found, width) if found is not None else []
                findings = in_full(self.all(None), width)
                rows = [*story, *[()] * bool(story and findings), *findings]
                return rows or [((" No problems were found.", "muted"),)]

        def closed(_: None) -> None:
            self._page = None

        self._page = Page(self._host, "diagnoses", write)
        self._host.show(self._page, closed)


def in_full(findings: Sequence[Finding], width: int) -> list[Row]:
    """Write findings as paragraphs."""
    rows: list[Row] = []
    for role, headline, detail in findings:
        lines = textwrap.wrap(headline, width - 2) or [""]
        rows += [((f" {line}", f"{role} bold"),) for line in lines]
        rows += [((f"   {line}", "foreground"),) for line in textwrap.wrap(detail, width - 5)]
        rows.append(())
    return rows[:-1]


def look(
    store: RunStore,
    lock: AbstractContextManager[Any],
    schedule: LookSchedule,
    rules: SpikeRules,
) -> Found:
    """Run the rules over the newest batches and all epoch lines; role, headline and detail each."""
    began = time.monotonic()
    try:
        found = _diagnosed(store, lock, rules)
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


def _diagnosed(
    store: RunStore, lock: AbstractContextManager[Any], rules: SpikeRules
) -> list[Diagnosis]:
    from vlamon.analysis.diagnosis import diagnose
    from vlamon.analysis.evidence import gather
    from vlamon.analysis.settings import REFERENCE_VOCAB, Settings

    with lock:
        records = list(_records(store))
        vocab = store.info.vocab if store.info is not None else None
    settings = Settings(vocab=vocab or REFERENCE_VOCAB, rules=rules)
    return diagnose(gather(records, settings))


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
