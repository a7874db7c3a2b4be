"""Finds where a resumed process went on in the middle of an epoch, from unaccounted wall time."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from vlamon.analysis.desmear import STRIDE, WINDOW

_UNEXPLAINED_SECONDS = 5.0
"""A gap that the `time` meter does not account for, beyond this, is a new process starting."""

_MOST_RESTARTS = 8
"""More of them in one log are a misunderstanding."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Stamps:
    """Lines of a log as the clock sees them, with the process that each belongs to."""

    epoch: Ints
    iteration: Ints
    time: Floats
    """Time stamp of each line."""
    pace: Floats
    """Mean time of an iteration, over the window."""
    head: Ints
    """Iteration of the first line of each line's process."""
    first_pace: Floats
    """What that line printed as mean time."""
    latest: Ints
    """First iteration of the process, the latest that is possible by this line and those before."""
    slack: Ints
    """How much earlier it may have been."""

    def last(self) -> _Stamps:
        """The lines of the last process that the next one's window reaches back to."""
        own = self.head == self.head[-1]
        own &= self.iteration >= self.iteration[-1] - WINDOW
        # An earlier process may have begun at the same iteration.
        falls = np.flatnonzero(np.diff(self.iteration) <= 0)
        own[: int(falls[-1]) + 1 if len(falls) else 0] = False
        return _Stamps(*(getattr(self, field.name)[own] for field in fields(self)))


class ProcessClock:
    """Tells when a resumed process went on where the old one had stopped, in the same epoch.

    `time:` is the mean of the last 1000 iteration times, and those add up to all the wall time that
    passed. A gap in the time stamps that they do not account for was not spent inside this process;
    iterations that took longer than the clock on the wall were not all its own either.
    """

    def __init__(self) -> None:
        self._before: _Stamps | None = None
        self._trusted = True
        self._found = 0

    def restarts(self, epoch: Ints, iteration: Ints, time: Floats, pace: Floats) -> Ints:
        """The earliest iteration of the new process that prints from a row on; −1 elsewhere.

        Not for rows where the iteration falls back.
        """
        since = np.full(len(epoch), -1)
        if not self._trusted:
            return since
        stamps, begins = _joined(self._before, epoch, iteration, time, pace)
        old = len(begins) - len(epoch)
        _narrow(stamps, begins)
        while (row := _first_unexplained(stamps, begins)) is not None:
            self._found += 1
            if self._found > _MOST_RESTARTS:
                # `time` is something else in this log: its sum explains nothing.
                self._trusted = False
                return np.full(len(epoch), -1)
            since[row - old] = earliest = _earliest(stamps, row)
            _begin(stamps, begins, row, earliest)
            _narrow(stamps, begins)
        self._before = stamps.last()
        return since


def _joined(
    before: _Stamps | None, epoch: Ints, iteration: Ints, time: Floats, pace: Floats
) -> tuple[_Stamps, Bools]:
    """Remembered and new lines, and where processes begin among them."""
    if before is None:
        epochs, ks, times, paces = epoch, iteration, time, pace
    else:
        epochs = np.concatenate([before.epoch, epoch])
        ks = np.concatenate([before.iteration, iteration])
        times = np.concatenate([before.time, time])
        paces = np.concatenate([before.pace, pace])
    begins = np.concatenate([[before is None], (epochs[1:] != epochs[:-1]) | (ks[1:] <= ks[:-1])])
    at = np.maximum.accumulate(np.where(begins, np.arange(len(ks)), 0))
    # Where an epoch begins in the middle, its head may be missing: any start is possible.
    advanced = np.concatenate([[True], epochs[1:] > epochs[:-1]])
    slack = np.where(advanced[at], ks[at], np.minimum(ks[at], STRIDE - 1))
    stamps = _Stamps(epochs, ks, times, paces, ks[at], paces[at], ks[at], slack)
    if before is not None:
        own, old = at == 0, len(before.epoch)
        stamps.head[own], stamps.first_pace[own] = before.head[0], before.first_pace[0]
        stamps.latest[own], stamps.slack[own] = before.latest[-1], before.slack[-1]
        stamps.latest[:old], stamps.slack[:old] = before.latest, before.slack
    return stamps, begins


def _begin(stamps: _Stamps, begins: Bools, row: int, earliest: int) -> None:
    """From this row on until the next begin, another process counts."""
    later = np.flatnonzero(begins[row + 1 :])
    rows = slice(row, row + 1 + int(later[0]) if len(later) else None)
    begins[row] = True
    stamps.head[rows], stamps.first_pace[rows] = stamps.iteration[row], stamps.pace[row]
    stamps.latest[rows] = stamps.iteration[row]
    stamps.slack[rows] = stamps.iteration[row] - earliest


def _allowed(count: Ints, passed: Floats) -> Floats:
    rounding = 1e-4 * np.minimum(count, WINDOW)
    return np.asarray(_UNEXPLAINED_SECONDS + rounding + 0.02 * np.abs(passed))


def _narrow(stamps: _Stamps, begins: Bools) -> None:
    """Where it is in doubt since when a process counts, ask which counts explain the time."""
    begin = np.concatenate([[0], np.flatnonzero(begins[1:]) + 1])
    ends = np.append(begin[1:], len(begins))
    doubtful = stamps.slack[begin] > 0
    for first, end in zip(begin[doubtful].tolist(), ends[doubtful].tolist(), strict=True):
        ks, pace = stamps.iteration[first:end], stamps.pace[first:end]
        latest, slack = int(stamps.latest[first]), int(stamps.slack[first])
        most = ks[1:] - latest + slack + 1
        passed, change = np.diff(stamps.time[first:end]), np.diff(pace)
        with np.errstate(invalid="ignore", divide="ignore"):
            rest, allowed = passed - np.diff(ks) * pace[1:], _allowed(most, passed)
            one, other = (rest - allowed) / change, (rest + allowed) / change
            known = np.isfinite(one) & np.isfinite(other) & (most <= WINDOW)
        start = ks[:-1] + 1
        low = np.where(known, np.ceil(start - np.maximum(one, other)), -np.inf)
        high = np.where(known, np.floor(start - np.minimum(one, other)), np.inf)
        low = np.maximum(np.maximum.accumulate(low), latest - slack).astype(np.int64)
        high = np.minimum(np.minimum.accumulate(high), latest).astype(np.int64)
        # Where none is left, another process prints: what was known of this one stands until then.
        until = first + 1 + int(np.argmax(low > high) if np.any(low > high) else len(low))
        known = until - first - 1
        stamps.latest[first + 1 : until] = high[:known]
        stamps.slack[first + 1 : until] = high[:known] - low[:known]
        stamps.latest[until:end] = stamps.latest[until - 1]
        stamps.slack[until:end] = stamps.slack[until - 1]


def _first_unexplained(stamps: _Stamps, begins: Bools) -> int | None:
    passed = np.diff(stamps.time)
    latest, slack = stamps.latest[:-1], stamps.slack[:-1]
    with np.errstate(invalid="ignore"):
        left = _left_the_window(stamps, begins)
        usual = np.diff(stamps.iteration) * stamps.pace[:-1]
        filled = np.where(np.isnan(left), usual, left)
        most = stamps.iteration[1:] - latest + 1 + slack
        guessed = np.isnan(left) & (most > WINDOW)
        one, other = (passed - _inside(stamps, at, filled) for at in (latest, latest - slack))
        # The gap goes with the count, so between two ends of one sign no count explains it.
        over, under = np.minimum(one, other), np.maximum(one, other)
        # A stall that leaves the window unseen looks like a gap, but no iteration waited for it.
        over = np.where(guessed, np.minimum(over, passed - usual), over)
        allowed = _allowed(most, passed)
        unexplained = (over > allowed) | ((under < -allowed) & ~guessed)
    rows = np.flatnonzero(unexplained & ~begins[1:])
    return int(rows[0]) + 1 if len(rows) else None


def _earliest(stamps: _Stamps, row: int) -> int:
    """Since when the process at the latest counts that explains this line and not the one before.

    As long as a count is in doubt, the first line of another process may pass for one of its own.
    """
    ks, pace = stamps.iteration, stamps.pace
    if ks[row - 1] == stamps.head[row - 1]:
        # Two processes of a line each, or more of the first one's lines are lost than was thought.
        return 0
    if row < 2:
        return int(ks[row - 1]) + 1
    before, passed = np.diff(stamps.time[row - 2 : row + 1])
    rest = passed - (ks[row] - ks[row - 1]) * pace[row]
    counts = np.array([1, ks[row - 1] - ks[row - 2]])
    gaps = rest - counts * (pace[row] - pace[row - 1])
    allowed = _UNEXPLAINED_SECONDS + 0.02 * abs(passed)
    waited = before - (ks[row - 1] - ks[row - 2]) * pace[row - 2] > _UNEXPLAINED_SECONDS
    if waited and gaps.min() <= allowed and gaps.max() >= -allowed:
        return int(ks[row - 2]) + 1
    return int(ks[row - 1]) + 1


def _inside(stamps: _Stamps, start: Ints, left: Floats) -> Floats:
    """Time of the iterations between two lines, if their process counts from `start` on."""
    earlier = np.minimum(stamps.iteration[:-1] - start + 1, WINDOW) * stamps.pace[:-1]
    later = np.minimum(stamps.iteration[1:] - start + 1, WINDOW) * stamps.pace[1:]
    moving = stamps.iteration[1:] - start + 1 > WINDOW
    return np.asarray(later - earlier + np.where(moving, left, 0.0))


def _left_the_window(stamps: _Stamps, begins: Bools) -> Floats:
    """Time of the iterations that left the window from line to line; NaN where it is not known."""
    key = (np.cumsum(begins) << 40) + stamps.iteration
    lag = np.minimum(np.searchsorted(key, key - WINDOW), len(key) - 1)
    printed = key[lag] == key - WINDOW
    left = np.where(
        printed[1:] & printed[:-1], stamps.time[lag[1:]] - stamps.time[lag[:-1]], np.nan
    )
    # The first to leave are those of the first line, which printed their own mean.
    at_head = stamps.iteration[1:] - WINDOW == stamps.head[1:]
    first = np.where(stamps.slack[1:] == 0, stamps.first_pace[1:], np.nan)
    return np.where(at_head, first, left)
