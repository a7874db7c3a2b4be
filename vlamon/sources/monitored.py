"""A run's source with the explosions that the run itself does not report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vlamon.detect.monitor import BEFORE, ExplosionMonitor
from vlamon.detect.rules import SpikeRules
from vlamon.protocol.commands import Command
from vlamon.records import Backfill, BatchBlock, Event, Record, RunInfo, Status
from vlamon.sources import Source

OVERLAP = BEFORE
"""Rows that are judged again once those before them are there: at first nothing was usual yet."""


class Monitored:
    """Records as they come, each explosion behind the batches that show it."""

    def __init__(self, source: Source, rules: SpikeRules | None = None) -> None:
        self._source = source
        self._rules = rules
        self._monitor = ExplosionMonitor(rules)
        self._info: RunInfo | None = None
        self._reported: Event | None = None
        """An explosion that the run itself reported."""
        self._status: Status | None = None
        self._head: list[BatchBlock] = []
        """The first rows of what has come."""
        self._older: list[BatchBlock] = []
        """Rows from before them, as far as they have come."""
        self._yielded: set[str] = set()

    @property
    def finished(self) -> bool:
        """True when the source is."""
        return self._source.finished

    def read(self, timeout: float) -> Sequence[Record]:
        """What came, with what the monitor reports of it."""
        records: list[Record] = []
        for record in self._source.read(timeout):
            records.append(record)
            records += self._observe(record)
        return records

    def send(self, command: Command) -> None:
        """Pass a command on."""
        self._source.send(command)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _observe(self, record: Record) -> Iterator[Event]:
        if isinstance(record, Backfill):
            self._older += [block for block in record.records if isinstance(block, BatchBlock)]
            if record.done:
                yield from self._once(self._look_back())
            return
        if isinstance(record, RunInfo):
            self._info = record
        elif isinstance(record, Status):
            self._status = record
        elif isinstance(record, Event) and record.kind == "explode":
            self._reported = record
        elif isinstance(record, BatchBlock) and sum(b.rows for b in self._head) < OVERLAP:
            self._head.append(record)
        yield from self._once(self._monitor.observe(record))

    def _look_back(self) -> Iterator[Event]:
        """Judge rows from before those that came first, and the first of those by them."""
        monitor, older = ExplosionMonitor(self._rules), self._older
        for record in (self._info, self._reported, *older, *self._head, self._status):
            if record is not None:
                yield from monitor.observe(record)
        head: list[BatchBlock] = []
        for block in older:
            if sum(b.rows for b in head) < OVERLAP:
                head.append(block)
        self._head, self._older = head or self._head, []

    def _once(self, events: Iterator[Event]) -> Iterator[Event]:
        for event in events:
            if event.id not in self._yielded:
                self._yielded.add(event.id)
                yield event
