"""Judges whether a run is live, paused, waiting, reconnecting, over, or silent (no batches).

Silence is measured on the trainer's own clock as far as it is known, so that a watcher whose clock
is wrong neither raises nor hides the alarm; between two signs of life the watcher's clock goes on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vlamon.records import Link, Status

Pulse = Literal[
    "waiting",
    "live",
    "loading",
    "silent",
    "paused",
    "stopped",
    "rolling_back",
    "checkpointing",
    "replay",
    "reconnecting",
    "ended",
    "failed",
]

INTERVALS = 10
"""So many typical intervals without a batch are silence."""

LEAST_SILENCE = 3.0
"""Seconds below which nothing is called silence: at 20 batches a second a pause of half a second is
a data loader's hiccup."""

OWN_WORK = 300.0
"""Seconds that a rollback with its autopsy, or a checkpoint, takes before it is called silence."""

OLD_WHEN_READ = 600.0
"""Seconds that the newest line of a log was old when it was read, from which on its run is over."""

WINDOW = 64
"""Intervals that the typical one is the median of."""


@dataclass(frozen=True, slots=True)
class Alive:
    """What the status line says about the run's pulse."""

    pulse: Pulse
    """The state in one word."""
    text: str = ""
    """One sentence more, where there is something to say."""
    silent_for: float = 0.0
    """Seconds without a batch, for `silent` alone."""

    @property
    def alarming(self) -> bool:
        """Whether a person should be called."""
        return self.pulse in ("silent", "failed")


def typical_interval(times: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the median of the last intervals between rows; NaN where fewer than two have a time.

    Of so few numbers, which every frame asks for, Python finds it in a third of NumPy's time.
    """
    recent = np.asarray(times[-(WINDOW + 1) :], dtype=np.float64).tolist()
    known = [moment for moment in recent if math.isfinite(moment)]
    gaps = [later - moment for moment, later in pairwise(known) if later >= moment]
    return median(gaps) if gaps else math.nan


@dataclass(slots=True)
class Heartbeat:
    """Remembers when the trainer last gave a sign of life; time is passed in."""

    newest: float = float("-inf")
    """Newest moment on the trainer's clock that any record carried."""
    seen_at: float = 0.0
    """The watcher's monotonic clock when that record came."""
    rows: int = -1
    """Rows held when a row last came."""
    row_time: float = float("nan")
    """The trainer's time of the newest row; its arrival where rows carry no time."""
    row_seen_at: float = float("-inf")
    """The watcher's monotonic clock when a row last came, live or out of history."""
    _began: float | None = None
    _arrivals: list[float] = field(default_factory=list)

    def observe(self, rows: int, row_time: float, other_times: Sequence[float], now: float) -> None:
        """Note what has come: rows held, the newest row's time, other records' newest times."""
        known = [t for t in (row_time, *other_times) if math.isfinite(t) and t > 0]
        if known and max(known) > self.newest:
            self.newest, self.seen_at = max(known), now
        if rows != self.rows:
            self._began = now if self._began is None else self._began
            if not math.isfinite(row_time):
                # How fast an old file is read says nothing about how fast its run logged.
                if now - self._began >= LEAST_SILENCE:
                    self._arrivals = [*self._arrivals[-WINDOW:], now]
                if not known:
                    self.newest, self.seen_at = max(self.newest, now), now
            self.rows, self.row_seen_at = rows, now
            self.row_time = row_time if math.isfinite(row_time) else self._trainer_now(now)

    def rest(self, now: float) -> None:
        """Note that the trainer is paused on command: silence counts from the end of the pause."""
        if math.isfinite(self.newest):
            self.row_time = max(self.row_time, self._trainer_now(now))

    def _trainer_now(self, now: float) -> float:
        return self.newest + (now - self.seen_at)

    def quiet(self, now: float) -> float:
        """Return the seconds since the newest row, on the trainer's clock.

        While rows of an old history still come in, their age is not silence.
        """
        if now - self.row_seen_at < LEAST_SILENCE:
            return 0.0
        if not math.isfinite(self.row_time) or not math.isfinite(self.newest):
            return 0.0
        return max(0.0, self._trainer_now(now) - self.row_time)

    @property
    def arrivals(self) -> Sequence[float]:
        """Arrival times of rows that carry no time of their own; not of those that were there."""
        return self._arrivals


def judge(
    link: Link | None, status: Status | None, rows: int, interval: float, quiet: float
) -> Alive:
    """Say how the run is: from the link, the trainer's status, and the time without a batch."""
    state = link.state if link is not None else "connecting"
    said = link.text if link is not None else ""
    if state == "failed":
        return Alive("failed", said)
    if state == "replay":
        return Alive("replay", said)
    if state == "ended":
        return Alive("ended", said)
    if status is not None and status.state == "ended":
        return Alive("ended")  # the link lives for a moment longer, and says that it does
    if state == "reconnecting" or (state in ("waiting", "connecting") and rows):
        return Alive("reconnecting", said)
    if state in ("waiting", "connecting"):
        return Alive("waiting", said)
    if status is not None and status.state in ("paused", "stopped"):
        return Alive(status.state, said)
    if quiet <= OWN_WORK and status is not None:
        if status.state in ("rolling_back", "checkpointing"):
            return Alive(status.state, said)
        if status.phase == "checkpoint" and status.state == "training":
            return Alive("checkpointing", said)
    limit = max(LEAST_SILENCE, INTERVALS * interval) if math.isfinite(interval) else float("inf")
    if rows and quiet > limit:
        phase = f"in {status.phase}" if status is not None and status.phase else ""
        return Alive("silent", phase, quiet)
    return Alive("live")


def of_log(alive: Alive, row_time: float, wall: float) -> Alive:
    """Say of a silent log whose last line was old already when it was read that its run is over.

    A log has no trainer to say so, and an old one is opened to be read, not to raise an alarm.
    """
    if alive.pulse != "silent" or not math.isfinite(row_time):
        return alive
    age = wall - row_time
    return Alive("ended", "", age) if age - alive.silent_for > OLD_WHEN_READ else alive
