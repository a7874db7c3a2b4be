"""The run's pulse as the status line shows it, from what the store holds; clocks are passed in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from vlamon.analysis.liveness import Alive, Heart, judge, of_log, typical_interval
from vlamon.charts.numbers import age

if TYPE_CHECKING:
    from vlamon.store import RunStore

HISTORY = 500
"""Steps behind the trainer from which what arrives is called history."""
RECENT_ROWS = 65
"""Newest rows that the typical interval between batches is taken from."""


@dataclass(slots=True)
class Pulse:
    """Judges again and again whether a run is alive."""

    store: RunStore
    heart: Heart = field(default_factory=Heart)

    def judge(self, monotonic: float, wall: float) -> Alive:
        """Say how the run is now; the caller holds the feed's lock."""
        store, heart = self.store, self.heart
        rows = store.rows
        times = store.times(max(0, rows - RECENT_ROWS), rows)
        latest = store.gpu.latest
        others = [latest.time] if latest is not None else []
        if store.status is not None:
            others.append(store.status.time)
        heart.observe(rows, float(times[-1]) if rows else float("nan"), others, monotonic)
        if store.status is not None and store.status.state in ("paused", "stopped"):
            heart.rest(monotonic)
        interval = typical_interval(times)
        if interval != interval:
            interval = typical_interval(heart.arrivals)
        alive = judge(store.link, store.status, rows, interval, heart.quiet(monotonic))
        if store.status is None and rows:
            alive = of_log(alive, float(times[-1]), wall)
            if alive.pulse == "ended" and alive.silent_for:
                return replace(alive, text=f"last line {age(alive.silent_for)} ago")
            if alive.pulse == "live" and interval != interval:
                return replace(alive, text="no new line yet")
        if alive.pulse == "live" and not alive.text:
            return replace(alive, text=self.reading())
        return alive

    def reading(self) -> str:
        """Say how much of a long history is still to come, empty where all is here."""
        status, rows = self.store.status, self.store.rows
        if status is None or not rows:
            return ""
        last = int(self.store.steps(rows - 1, rows)[0])
        if status.step - last < HISTORY:
            return ""
        return f"reading history, {last * 100 // max(1, status.step)} %"
