"""Summaries of ever longer groups of cells, so that a zoomed-out chart still shows one bad batch.

Level 1 sums up groups of 32 cells, level 2 groups of 32 of those, and so on; only whole groups
are kept. A range is put together from at most two ragged ends a level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

GROUP = 32
"""Cells a group: 13 bytes of summary for 128 bytes of cells."""

FINITE, NAN, POS_INF, NEG_INF = 1, 2, 4, 8
MISSING_BITS = 0x7FC0_0AB5
"""The float32 NaN that means: this cell was never logged. Any other NaN was."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What is known of each of several ranges of cells."""

    low: F32
    """Least finite value, +inf where there is none."""
    high: F32
    """Greatest finite value, -inf where there is none."""
    last: F32
    """Last finite value, NaN where there is none."""
    flags: U8
    """FINITE | NAN | POS_INF | NEG_INF: the kinds of values in the range."""

    @classmethod
    def of_cells(cls, cells: F32) -> Summary:
        """Every cell as a range of its own."""
        finite = np.isfinite(cells)
        flags = finite.astype(np.uint8)
        low, high, last = cells, cells, cells
        if not finite.all():
            low = np.where(finite, cells, np.float32(np.inf))
            high = np.where(finite, cells, np.float32(-np.inf))
            last = np.where(finite, cells, np.float32(np.nan))
            logged_nan = np.isnan(cells) & (cells.view(np.uint32) != MISSING_BITS)
            flags |= np.where(logged_nan, np.uint8(NAN), np.uint8(0))
            flags |= np.where(cells == np.inf, np.uint8(POS_INF), np.uint8(0))
            flags |= np.where(cells == -np.inf, np.uint8(NEG_INF), np.uint8(0))
        return cls(low, high, last, flags)

    @classmethod
    def of_groups(cls, cells: F32) -> Summary:
        """Whole groups of GROUP cells summed up; the length must be a multiple of it."""
        if not np.isfinite(cells).all():
            return cls.of_cells(cells).grouped()
        by_place = _by_place(cells)  # the usual case, at a third of the price
        flags = np.full(by_place.shape[1], FINITE, np.uint8)
        low, high = np.minimum.reduce(by_place), np.maximum.reduce(by_place)
        return cls(low, high, by_place[-1], flags)

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
            np.bitwise_or.reduce(_by_place(self.flags)),
        )

    def part(self, rows: slice | I64) -> Summary:
        """Some of the ranges."""
        return Summary(self.low[rows], self.high[rows], self.last[rows], self.flags[rows])


class _Level:
    """The summaries of one level, growing by half where they run out of room."""

    def __init__(self) -> None:
        self.rows = 0
        none = np.empty(0, np.float32)
        self._room = Summary(none, none, none, np.empty(0, np.uint8))

    @property
    def nbytes(self) -> int:
        room = self._room
        return room.low.nbytes + room.high.nbytes + room.last.nbytes + room.flags.nbytes

    def append(self, more: Summary) -> None:
        end = self.rows + len(more.low)
        room = self._room
        if end > len(room.low):
            size = max(end, 64, len(room.low) + len(room.low) // 4)
            room = self._room = Summary(
                _grown(room.low, size),
                _grown(room.high, size),
                _grown(room.last, size),
                _grown(room.flags, size),
            )
        here = slice(self.rows, end)
        room.low[here], room.high[here] = more.low, more.high
        room.last[here], room.flags[here] = more.last, more.flags
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
        more = Summary.of_groups(cells)
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
            flags[at] |= np.bitwise_or.reduceat(part.flags, offsets)
            found = _last_known(part.last, offsets)
            keep = ~np.isnan(found) if newer_wins else np.isnan(last[at])
            last[at] = np.where(keep, found, last[at])
        if not whole.any():
            break
        first = np.where(whole, up, 0)
        end = np.where(whole, down, 0)
        depth += 1
    return Summary(low, high, np.where(np.isnan(tail), head, tail), flags)


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


def _grown(array: NDArray[Any], size: int) -> NDArray[Any]:
    grown = np.empty(size, array.dtype)
    grown[: len(array)] = array
    return grown
