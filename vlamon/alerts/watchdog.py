"""Tells of a training that cannot tell itself: killed, hung, or on a machine that went away. Pure.

It sees the run's records and the time, and nothing else: a source reads, a sender sends.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from vlamon.alerts.alert import Alert, Kind, of_event
from vlamon.records import BatchBlock, Event, Link, Record, RunInfo, Status

INTERVALS = 20
"""Typical intervals without a batch after which an alert is sent."""
LEAST_SILENCE = 120.0
"""Seconds below which no silence calls a person: an evaluation takes that long."""
GRACE = 15.0
"""Seconds that a lost connection may take to come back before the process counts as gone."""
WINDOW = 64


@dataclass(slots=True)
class Watchdog:
    """What is known of one run, and which alerts were sent."""

    alive: Callable[[int], bool | None]
    """Whether a process of this host lives; None where that cannot be known."""
    host: str
    """This host: process ids of other hosts mean nothing here."""
    every_event: bool = False
    """Tell of the run's own events too, for runs whose emitter sends no alerts itself."""
    least_silence: float = LEAST_SILENCE
    info: RunInfo = field(default_factory=lambda: RunInfo("", ""))
    over: bool = False
    """The run said that it ended, or it is gone."""
    failed: bool = False
    """It is gone, or ended by an error."""
    _step: int | None = None
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _last_row: float | None = None
    _lost_since: float | None = None
    _silent: bool = False
    _resting: bool = False
    _phase: str = ""

    def observe(self, records: Iterable[Record], now: float, wall: float) -> list[Alert]:
        """Take what came; `now` is monotonic, `wall` is seconds since the epoch."""
        found: list[Alert] = []
        for record in records:
            if isinstance(record, RunInfo):
                if record.boot != self.info.boot:
                    self.over = self.failed = self._silent = False
                self.info, self._lost_since = record, None
            elif isinstance(record, BatchBlock):
                found += self._rows(record, now, wall)
            elif isinstance(record, Status):
                self._resting = record.state in ("paused", "stopped")
                self._phase = record.phase or ""
            elif isinstance(record, Link):
                self._linked(record, now)
            elif isinstance(record, Event):
                found += self._event(record)
        return found

    def check(self, now: float, wall: float) -> list[Alert]:
        """What the passing of time tells: call it every second or so."""
        if self.over or not self.info.boot:
            return []
        if self._is_gone(now):
            self.over = self.failed = True
            text = f"process {self.info.pid} is gone and said nothing"
            return [self._alert("gone", text, wall)]
        quiet = 0.0 if self._last_row is None else now - self._last_row
        if not self._silent and not self._resting and quiet > self._limit():
            self._silent = True
            where = f" (in {self._phase})" if self._phase else ""
            return [self._alert("silent", f"no batch for {quiet:.0f} s{where}", wall)]
        return []

    def _rows(self, block: BatchBlock, now: float, wall: float) -> list[Alert]:
        times = block.time[-WINDOW:].tolist()
        self._times.extend(times)
        self._step = int(block.step[-1])
        was_silent, self._silent = self._silent, False
        # Rows out of history are as old as they say, not as new as their arrival.
        self._last_row = now - min(max(0.0, wall - times[-1]), 86_400.0)
        if was_silent and now - self._last_row < self._limit():
            return [self._alert("recovered", "batches come again", wall)]
        self._silent = was_silent and now - self._last_row >= self._limit()
        return []

    def _event(self, event: Event) -> list[Alert]:
        if event.kind == "end":
            self.over, self.failed = True, event.severity == "error"
        alert = of_event(event, self.info) if self.every_event else None
        return [] if alert is None else [alert]

    def _linked(self, link: Link, now: float) -> None:
        if link.state == "live":
            self._lost_since = None
        elif link.state in ("reconnecting", "waiting") and self._lost_since is None:
            self._lost_since = now

    def _is_gone(self, now: float) -> bool:
        here = self.info.host == self.host
        alive = self.alive(self.info.pid) if here and self.info.pid else None
        if alive is not None:
            return not alive
        return self._lost_since is not None and now - self._lost_since > GRACE

    def _limit(self) -> float:
        gaps = [b - a for a, b in zip(self._times, list(self._times)[1:], strict=False) if b >= a]
        typical = statistics.median(gaps) if gaps else 0.0
        return max(self.least_silence, INTERVALS * typical)

    def _alert(self, kind: Kind, text: str, wall: float) -> Alert:
        return Alert(
            id=f"{self.info.boot}-{kind}-{self._step}",
            kind=kind,
            urgency="low" if kind == "recovered" else "high",
            run=self.info.name,
            host=self.info.host,
            step=self._step,
            time=wall,
            text=text,
        )
