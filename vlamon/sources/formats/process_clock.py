"""When one process went on where another had stopped, told by time that nobody accounts for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vlamon.analysis.smearing import WINDOW

_UNEXPLAINED_SECONDS = 5.0
"""A gap that the `time` meter does not account for, beyond this, is a new process starting."""

_MOST_RESTARTS = 8
"""More of them in one block of lines are a misunderstanding."""


class ProcessClock:
    """Tells when a resumed process went on where the old one had stopped, in the same epoch.

    `time:` is the mean of the last 1000 iteration times, and those add up to all the wall time that
    passed. A gap in the time stamps that they do not account for was not spent inside this process.
    """

    def __init__(self) -> None:
        self._start = 0
        self._last: tuple[int, int, float, float] | None = None
        self._trusted = True

    def restarts(
        self,
        epoch: NDArray[np.int64],
        iteration: NDArray[np.int64],
        time: NDArray[np.float64],
        pace: NDArray[np.float64],
    ) -> NDArray[np.bool_]:
        """Rows from which on a new process prints; not those where the iteration falls back."""
        epoch0, k0, time0, pace0 = self._last or (int(epoch[0]), -1, time[0], pace[0])
        epochs = np.concatenate([[epoch0], epoch])
        ks = np.concatenate([[k0], iteration])
        times, paces = np.concatenate([[time0], time]), np.concatenate([[pace0], pace])
        begins = np.concatenate([[True], (epochs[1:] != epochs[:-1]) | (ks[1:] <= ks[:-1])])
        begins[1] |= self._last is None
        heads = np.flatnonzero(begins)
        sizes = np.diff(np.append(heads, len(ks)))
        starts = np.repeat(ks[heads], sizes)
        starts[: sizes[0]] = self._start
        ends = np.repeat(heads + sizes, sizes)
        found = np.zeros(len(ks), bool)
        while self._trusted:
            row = _first_unexplained(ks - starts + 1, times, paces, begins)
            if row is None:
                break
            found[row] = begins[row] = True
            starts[row : ends[row]] = ks[row]
            if np.count_nonzero(found) > _MOST_RESTARTS:
                # `time` is something else in this log: its sum explains nothing.
                self._trusted = False
                found[:] = False
        self._start = int(starts[-1])
        self._last = (int(epoch[-1]), int(iteration[-1]), float(time[-1]), float(pace[-1]))
        return found[1:]


def _first_unexplained(
    count: NDArray[np.int64],
    times: NDArray[np.float64],
    paces: NDArray[np.float64],
    begins: NDArray[np.bool_],
) -> int | None:
    passed = np.diff(times)
    with np.errstate(invalid="ignore"):
        gap = passed - np.diff(count * paces)
        allowed = _UNEXPLAINED_SECONDS + 1e-4 * count[1:] + 0.02 * np.abs(passed)
        unexplained = (gap > allowed) & (count[1:] <= WINDOW) & ~begins[1:]
    rows = np.flatnonzero(unexplained)
    return int(rows[0]) + 1 if len(rows) else None
