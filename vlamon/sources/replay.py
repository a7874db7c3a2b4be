"""Plays a journal as if it happened now, at any speed."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Sequence

from vlamon.hardware import GpuSample
from vlamon.protocol.commands import Command
from vlamon.records import BatchBlock, Column, EpochRow, Event, Link, Record, Status
from vlamon.sources import SourceError
from vlamon.sources.journal import JournalSource

PAUSE = 2.0
"""Longest wait, in seconds: a night between two boots is not replayed as one."""
_AHEAD = 10_000
_STEP = 0.02


class ReplaySource:
    """The records of `run.vlaj` at `speed` times the pace at which they came.

    `clock` and `sleep` are the real ones but in tests.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        speed: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not speed > 0:
            raise SourceError(f"a replay's speed is above 0, not {speed}")
        self.speed = speed
        self._inner = JournalSource(path, follow=False, whole=not math.isfinite(speed))
        self._clock = clock
        self._sleep = sleep
        self._ahead: deque[Record] = deque()
        self._played: float | None = None
        """Recorded time up to which all was handed over."""
        self._at = 0.0
        self._closed = False
        self._announced = False

    @property
    def finished(self) -> bool:
        """True when all was played."""
        return self._closed or (self._inner.finished and not self._ahead)

    def send(self, command: Command) -> None:
        """Refuse: a replay takes no commands."""
        raise SourceError("this is a replay; only a live training takes commands")

    def close(self) -> None:
        """Stop."""
        self._closed = True
        self._inner.close()

    def read(self, timeout: float) -> Sequence[Record]:
        """What is due now, after a wait of at most `timeout`."""
        if not self._announced:
            self._announced = True
            pace = f"at {self.speed:g}×" if math.isfinite(self.speed) else "as fast as it is read"
            return [Link("replay", f"played {pace}")]
        if not math.isfinite(self.speed):
            return self._inner.read(timeout)
        end = self._clock() + timeout
        while not self.finished:
            self._fill()
            found = self._due()
            if found or self._clock() >= end:
                return found
            self._sleep(_STEP)
        return []

    def _fill(self) -> None:
        while len(self._ahead) < _AHEAD and not self._inner.finished:
            self._ahead.extend(self._inner.read(0.0))

    def _due(self) -> list[Record]:
        now = self._clock()
        if self._played is not None:
            self._played += (now - self._at) * self.speed
        self._at = now
        found: list[Record] = []
        while self._ahead:
            record = self._ahead[0]
            when = _time_of(record)
            if when is None:
                found.append(self._ahead.popleft())
                continue
            if self._played is None:
                self._played = when
            # Nobody watches a pause of hours: wait for it PAUSE seconds at most.
            self._played = max(self._played, when - PAUSE * self.speed)
            if when > self._played:
                break
            self._ahead.popleft()
            if isinstance(record, BatchBlock):
                record = self._cut(record, self._played)
            found.append(record)
        return found

    def _cut(self, block: BatchBlock, until: float) -> BatchBlock:
        """The rows that are due; the others go back to be waited for."""
        late = [row for row, when in enumerate(block.time.tolist()) if when > until]
        if not late:
            return block
        self._ahead.appendleft(rows_of(block, late[0], block.rows))
        return rows_of(block, 0, late[0])


def rows_of(block: BatchBlock, first: int, end: int) -> BatchBlock:
    """Some rows of a block, as views."""
    cut = slice(first, end)
    columns = {
        name: Column(column.values[cut], None if column.present is None else column.present[cut])
        for name, column in block.columns.items()
    }
    return BatchBlock(
        block.seq + first,
        block.attempt,
        block.step[cut],
        block.epoch[cut],
        block.time[cut],
        columns,
        block.weights if first == 0 else {},
    )


def _time_of(record: Record) -> float | None:
    """When the record happened; None for what has no time and goes with what is before it."""
    when: float | None = None
    if isinstance(record, BatchBlock):
        when = float(record.time[0])
    elif isinstance(record, Event | EpochRow | GpuSample | Status):
        when = record.time
    return None if when is None or not math.isfinite(when) else when
