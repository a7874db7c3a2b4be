"""Summaries of ever longer groups of cells, so that a zoomed-out chart still shows one bad batch.

Level 1 sums up groups of 32 cells, level 2 groups of 32 of those, and so on; only whole groups
are kept. A range is put together from at most two ragged ends a level.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

GROUP = 32
"""Cells a group: 18 bytes of summary for 128 bytes of cells."""

FINITE, NAN, POS_INF, NEG_INF = 1, 2, 4, 8
MISSING_BITS = 0x7FC0_0AB5
"""The float32 NaN that means: this cell was never logged. Any other NaN was."""


class Summary(NamedTuple):
    """What is known of each of several ranges of cells."""

    low: F32
    """Least finite value, +inf where there is none."""
    high: F32
    """Greatest finite value, -inf where there is none."""
    last: F32
    """Last finite value, NaN where there is none."""
    total: NDArray[np.float32] | F64
    """Sum of the finite values: in single precision for one group, where it is exact to 1e-7, and
    in double above, where a million losses would drift."""
    finite: NDArray[np.uint8] | NDArray[np.uint32]
    """How many values are finite."""
    flags: U8
    """FINITE | NAN | POS_INF | NEG_INF: the kinds of values in the range."""

    @classmethod
    def of_cells(cls, cells: F32) -> Summary:
        """Every cell as a range of its own."""
        finite = np.isfinite(cells)
        flags = finite.astype(np.uint8)
        low, high, last = cells, cells, cells
        total = cells.astype(np.float64)
        if not finite.all():
            total[~finite] = 0.0
            low = np.where(finite, cells, np.float32(np.inf))
            high = np.where(finite, cells, np.float32(-np.inf))
            last = np.where(finite, cells, np.float32(np.nan))
            logged_nan = np.isnan(cells) & (cells.view(np.uint32) != MISSING_BITS)
            flags |= np.where(logged_nan, np.uint8(NAN), np.uint8(0))
            flags |= np.where(cells == np.inf, np.uint8(POS_INF), np.uint8(0))
            flags |= np.where(cells == -np.inf, np.uint8(NEG_INF), np.uint8(0))
        return cls(low, high, last, total, finite.astype(np.uint32), flags)

    @classmethod
    def of_groups(cls, cells: F32) -> Summary:
        """Whole groups of GROUP cells summed up; the length must be a multiple of it."""
        if not np.isfinite(cells).all():
            return cls.of_cells(cells).grouped()
        by_place = _by_place(cells)  # the usual case, at a third of the price
        flags = np.full(by_place.shape[1], FINITE, np.uint8)
        low, high = np.minimum.reduce(by_place), np.maximum.reduce(by_place)
        total = np.add.reduce(by_place, dtype=np.float64)
        finite = np.full(by_place.shape[1], GROUP, np.uint32)
        return cls(low, high, by_place[-1], total, finite, flags)

    def grouped(self) -> Summary:
        """Whole groups of GROUP ranges summed up; the length must be a multiple of it."""
        last = _by_place(self.last)
        latest = last[-1]
        gone = np.isnan(latest)
        if gone.any():
            known = ~np.isnan(last[:, gone])
            at = GROUP - 1 - np.argmax(known[::-1], axis=0)
            latest = latest.copy()
            latest[gone] = last[:, gone][at, np.arange(len(at))]
        return Summary(
            np.minimum.reduce(_by_place(self.low)),
            np.maximum.reduce(_by_place(self.high)),
            latest,
            np.add.reduce(_by_place(self.total), dtype=np.float64),
            np.add.reduce(_by_place(self.finite), dtype=np.uint32),
            np.bitwise_or.reduce(_by_place(self.flags)),
        )

    def packed(self) -> Summary:
        """The same in the narrow types that one group's sum and number need."""
        most = float(np.finfo(np.float32).max)
        total = np.clip(self.total, -most, most).astype(np.float32)
        return self._replace(total=total, finite=self.finite.astype(np.uint8))

    def part(self, rows: slice | I64) -> Summary:
        """Some of the ranges."""
        return Summary._make(values[rows] for values in self)


_F, _U = np.empty(0, np.float32), np.empty(0, np.uint8)
_NONE = Summary(_F, _F, _F, _F, _U, _U)


class _Level:
    """The summaries of one level, growing by a quarter where they run out of room."""

    def __init__(self) -> None:
        self.rows = 0
        self._room = _NONE

    @property
    def nbytes(self) -> int:
        return sum(values.nbytes for values in self._room)

    def append(self, more: Summary) -> None:
        end = self.rows + len(more.low)
        room = len(self._room.low)
        if end > room:
            size = max(end, 64, room + room // 4)
            pairs = zip(self._room, more, strict=True)
            self._room = Summary._make(_grown(held, size, new) for held, new in pairs)
        for held, new in zip(self._room, more, strict=True):
            held[self.rows : end] = new
        self.rows = end

    def part(self, rows: slice | I64) -> Summary:
        return self._room.part(rows)


class Pyramid:
    """All levels above the cells."""

    def __init__(self) -> None:
        self.levels: list[_Level] = []

    @property
    def rows(self) -> int:
        """Cells that are summed up."""
        return self.levels[0].rows * GROUP if self.levels else 0

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(level.nbytes for level in self.levels)

    def append(self, cells: F32) -> None:
        """Sum up whole groups of further cells."""
        if not len(cells):
            return
        more = Summary.of_groups(cells).packed()
        for depth in range(64):
            if depth == len(self.levels):
                self.levels.append(_Level())
            level = self.levels[depth]
            level.append(more)
            above = self.levels[depth + 1].rows if depth + 1 < len(self.levels) else 0
            whole = level.rows // GROUP
            if whole == above:
                return
            more = level.part(slice(above * GROUP, whole * GROUP)).grouped()


def summarise(take: Callable[[I64], F32], pyramid: Pyramid, first: I64, end: I64) -> Summary:
    """Summary of each range first[i]..end[i] (ascending, not overlapping)."""
    count = len(first)
    total = np.zeros(count, np.float64)
    finite = np.zeros(count, np.uint32)
    low = np.full(count, np.inf, np.float32)
    high = np.full(count, -np.inf, np.float32)
    flags = np.zeros(count, np.uint8)
    # The last finite value: the highest level's is older than a lower level's tail, newer than
    # its head. `head` collects what comes before (deepest wins last), `tail` what comes after.
    head = np.full(count, np.nan, np.float32)
    tail = np.full(count, np.nan, np.float32)
    depth = 0
    while True:
        level = None if depth == 0 else pyramid.levels[depth - 1]
        rows_above = pyramid.levels[depth].rows if depth < len(pyramid.levels) else 0
        up = -(-first // GROUP)
        down = np.minimum(end // GROUP, rows_above)
        whole = up < down
        pieces = (
            (first, np.where(whole, up * GROUP, end), head, True),
            (np.where(whole, down * GROUP, end), end, tail, False),
        )
        for start, stop, last, newer_wins in pieces:
            part, at, offsets = _gather(take, level, start, stop)
            if not len(at):
                continue
            low[at] = np.minimum(low[at], np.minimum.reduceat(part.low, offsets))
            high[at] = np.maximum(high[at], np.maximum.reduceat(part.high, offsets))
            total[at] += np.add.reduceat(part.total, offsets, dtype=np.float64)
            finite[at] += np.add.reduceat(part.finite, offsets, dtype=np.uint32)
            flags[at] |= np.bitwise_or.reduceat(part.flags, offsets)
            found = _last_known(part.last, offsets)
            keep = ~np.isnan(found) if newer_wins else np.isnan(last[at])
            last[at] = np.where(keep, found, last[at])
        if not whole.any():
            break
        first = np.where(whole, up, 0)
        end = np.where(whole, down, 0)
        depth += 1
    last = np.where(np.isnan(tail), head, tail)
    return Summary(low, high, last, total, finite, flags)


def _gather(
    take: Callable[[I64], F32], level: _Level | None, start: I64, stop: I64
) -> tuple[Summary, I64, I64]:
    """The cells of all non-empty ranges in a row, which ranges, and where each begins."""
    lengths = np.maximum(stop - start, 0)
    at = np.flatnonzero(lengths)
    lengths = lengths[at]
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    rows = np.arange(offsets[-1]) + np.repeat(start[at] - offsets[:-1], lengths)
    part = Summary.of_cells(take(rows)) if level is None else level.part(rows)
    return part, at, offsets[:-1]


def _last_known(last: F32, offsets: I64) -> F32:
    """The last value that is no NaN in each run of cells that begins at an offset."""
    place = np.where(np.isnan(last), -1, np.arange(len(last)))
    found = np.maximum.reduceat(place, offsets)
    return np.where(found < 0, np.float32(np.nan), last[found])


def _by_place(values: NDArray[Any]) -> NDArray[Any]:
    """Groups as columns: a reduction over the long axis is several times as fast."""
    return np.ascontiguousarray(values.reshape(-1, GROUP).T)


def _grown(array: NDArray[Any], size: int, like: NDArray[Any]) -> NDArray[Any]:
    grown = np.empty(size, like.dtype)
    grown[: len(array)] = array
    return grown
