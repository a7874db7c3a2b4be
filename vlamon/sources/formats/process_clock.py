"""When one process went on where another had stopped, told by time that nobody accounts for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlamon.analysis.smearing import STRIDE, WINDOW

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
    slack: Ints
    """How many iterations before its first line the process may have begun."""

    def last(self) -> _Stamps:
        """The lines of the last process that the next one's window reaches back to."""
        own = self.head == self.head[-1]
        own &= self.iteration >= self.iteration[-1] - WINDOW
        # Lines of another process of the same head come before a line that falls back.
        falls = np.flatnonzero(np.diff(self.iteration) <= 0)
        own[: int(falls[-1]) + 1 if len(falls) else 0] = False
        return _Stamps(*(getattr(self, name)[own] for name in self.__slots__))


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

    def restarts(self, epoch: Ints, iteration: Ints, time: Floats, pace: Floats) -> Bools:
        """Rows from which on a new process prints; not those where the iteration falls back."""
        found = np.zeros(len(epoch), bool)
        if not self._trusted:
            return found
        stamps, begins = _joined(self._before, epoch, iteration, time, pace)
        old = len(begins) - len(epoch)
        while (row := _first_unexplained(stamps, begins)) is not None:
            found[row - old] = begins[row] = True
            self._found += 1
            if self._found > _MOST_RESTARTS:
                # `time` is something else in this log: its sum explains nothing.
                self._trusted = False
                return np.zeros(len(epoch), bool)
            _begin(stamps, begins, row, STRIDE - 1)
        self._before = stamps.last()
        return found


def _joined(
    before: _Stamps | None, epoch: Ints, iteration: Ints, time: Floats, pace: Floats
) -> tuple[_Stamps, Bools]:
    """Remembered and new lines, and where processes begin among them."""
    none = before is None or not len(before.epoch)
    old = 0 if before is None else len(before.epoch)
    epochs = epoch if before is None else np.concatenate([before.epoch, epoch])
    ks = iteration if before is None else np.concatenate([before.iteration, iteration])
    begins = np.concatenate([[none], (epochs[1:] != epochs[:-1]) | (ks[1:] <= ks[:-1])])
    times = time if before is None else np.concatenate([before.time, time])
    paces = pace if before is None else np.concatenate([before.pace, pace])
    at = np.maximum.accumulate(np.where(begins, np.arange(len(ks)), 0))
    head, first_pace = ks[at], paces[at]
    # Where an epoch begins in the middle, its head may be missing: any start is possible.
    advanced = np.concatenate([[True], epochs[1:] > epochs[:-1]])
    slack = np.where(advanced[at], head, np.minimum(head, STRIDE - 1))
    if before is not None and old:
        own = at == 0
        head[own], slack[own] = before.head[0], before.slack[0]
        first_pace[own] = before.first_pace[0]
    return _Stamps(epochs, ks, times, paces, head, first_pace, slack), begins


def _begin(stamps: _Stamps, begins: Bools, row: int, slack: int) -> None:
    """From this row on until the next begin, another process counts."""
    later = np.flatnonzero(begins[row + 1 :])
    rows = slice(row, row + 1 + int(later[0]) if len(later) else None)
    stamps.head[rows], stamps.first_pace[rows] = stamps.iteration[row], stamps.pace[row]
    stamps.slack[rows] = slack


def _first_unexplained(stamps: _Stamps, begins: Bools) -> int | None:
    passed = np.diff(stamps.time)
    with np.errstate(invalid="ignore"):
        left = _left_the_window(stamps, begins)
        usual = np.diff(stamps.iteration) * stamps.pace[:-1]
        filled = np.where(np.isnan(left), usual, left)
        most = stamps.iteration[1:] - stamps.head[1:] + 1 + stamps.slack[1:]
        guessed = np.isnan(left) & (most > WINDOW)
        starts = (stamps.head, stamps.head - stamps.slack)
        one, other = (passed - _inside(stamps, start, filled) for start in starts)
        # The gap goes with the count, so between two ends of one sign no count explains it.
        over, under = np.minimum(one, other), np.maximum(one, other)
        # A stall that leaves the window unseen looks like a gap, but nobody had to wait for it.
        over = np.where(guessed, np.minimum(over, passed - usual), over)
        count = np.minimum(most, WINDOW)
        allowed = _UNEXPLAINED_SECONDS + 1e-4 * count + 0.02 * np.abs(passed)
        unexplained = (over > allowed) | ((under < -allowed) & ~guessed)
    rows = np.flatnonzero(unexplained & ~begins[1:])
    return int(rows[0]) + 1 if len(rows) else None


def _inside(stamps: _Stamps, start: Ints, left: Floats) -> Floats:
    """Time of the iterations between two lines, if their process counts from `start` on."""
    count = stamps.iteration - start + 1
    total = np.minimum(count, WINDOW) * stamps.pace
    return np.asarray(np.diff(total) + np.where(count[1:] > WINDOW, left, 0.0))


def _left_the_window(stamps: _Stamps, begins: Bools) -> Floats:
    """Time of the iterations that left the window from line to line; NaN where it is not known."""
    ks, key = stamps.iteration, (np.cumsum(begins) << 40) + stamps.iteration
    lag = np.minimum(np.searchsorted(key, key - WINDOW), len(key) - 1)
    printed = key[lag] == key - WINDOW
    left = np.where(
        printed[1:] & printed[:-1], stamps.time[lag[1:]] - stamps.time[lag[:-1]], np.nan
    )
    # The first to leave are those of the first line, which printed their own mean.
    at_head = ks[1:] - WINDOW == stamps.head[1:]
    first = np.where(stamps.slack[1:] == 0, stamps.first_pace[1:], np.nan)
    return np.where(at_head, first, left)
