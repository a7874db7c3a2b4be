"""The run's pulse as the status line shows it, from what the store holds; clocks are passed in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from vlamon.analysis.liveness import Alive, Heartbeat, judge, of_log, typical_interval
from vlamon.charts.numbers import age, count
from vlamon.tui.headline import SETTLES
from vlamon.tui.severity import LOUD

if TYPE_CHECKING:
    from vlamon.store import RunStore

HISTORY = 500
"""Steps behind the trainer from which what arrives is called history."""
GONE = ("is gone", "(killed?)")
"""How a source ends its sentence when nobody serves the socket any more."""
MENTIONED = 8
"""Newest events among which an autopsy of the newest explosion is."""
RECENT_ROWS = 65
"""Newest rows that the typical interval between batches is taken from."""
FEW_ROWS = 8
"""Rows after which it is taken anew."""


@dataclass(slots=True)
class Pulse:
    """Judges again and again whether a run is alive."""

    store: RunStore
    heartbeat: Heartbeat = field(default_factory=Heartbeat)
    _interval: tuple[int, float] = (0, float("nan"))
    """Rows when the typical interval was taken, and what it was."""

    def judge(self, monotonic: float, wall: float) -> Alive:
        """Say how the run is now; the caller holds the feed's lock."""
        store, heartbeat = self.store, self.heartbeat
        rows = store.rows
        row_time = float(store.times(rows - 1, rows)[0]) if rows else float("nan")
        latest = store.gpu.latest
        others = [latest.time] if latest is not None else []
        if store.status is not None:
            others.append(store.status.time)
        heartbeat.observe(rows, row_time, others, monotonic)
        if store.status is not None and store.status.state in ("paused", "stopped"):
            heartbeat.rest(monotonic)
        interval = self._typical()
        if interval != interval:
            interval = typical_interval(heartbeat.arrivals)
        alive = judge(store.link, store.status, rows, interval, heartbeat.quiet(monotonic))
        if store.status is None and rows:
            alive = of_log(alive, row_time, wall)
            if alive.pulse == "ended" and alive.silent_for:
                return replace(alive, text=f"last line {age(alive.silent_for)} ago")
            if alive.pulse == "live" and interval != interval:
                return replace(alive, text="no new line yet")
        if alive.pulse == "live" and not alive.text:
            loading = self.reading()
            return Alive("loading", loading) if loading else alive
        if alive.pulse == "rolling_back":
            return replace(alive, text=self._autopsy())
        if alive.pulse == "reconnecting" and alive.text.endswith(GONE):
            return replace(alive, text=self._gone() or alive.text)
        return alive

    def _typical(self) -> float:
        """Return the typical interval between batches, which a few more of them do not move."""
        rows, interval = self._interval
        if rows < RECENT_ROWS or not 0 <= self.store.rows - rows < FEW_ROWS:
            rows = self.store.rows
            interval = typical_interval(self.store.times(max(0, rows - RECENT_ROWS), rows))
            self._interval = rows, interval
        return interval

    def _autopsy(self) -> str:
        """Say which batches the guard looks at again; empty where it does not or no longer does."""
        status, events = self.store.status, self.store.events
        last = next((one for one in reversed(events) if one.kind in (*LOUD, *SETTLES)), None)
        if status is None or last is None or last.kind != "explode":
            return ""
        if any(one.kind == "autopsy" and one.step == last.step for one in events[-MENTIONED:]):
            return ""
        trusted = [held.step for held in status.snapshots if held.trusted and held.step < last.step]
        since = f"{count(max(trusted))}→" if trusted else ""
        return f"autopsy: replaying {since}{count(last.step)}"

    def _gone(self) -> str:
        """Name the process that ended without goodbye, and how far it came."""
        info, rows = self.store.info, self.store.rows
        if info is None or not info.pid or not rows:
            return ""
        return f"process {info.pid} gone at {count(int(self.store.steps(rows - 1, rows)[0]))}"

    def reading(self) -> str:
        """Say how much of a long history is still to come, empty where all is here."""
        status, rows = self.store.status, self.store.rows
        if status is None or not rows:
            return ""
        last = int(self.store.steps(rows - 1, rows)[0])
        if status.step - last < HISTORY:
            return ""
        return f"{last * 100 // max(1, status.step)} %"
