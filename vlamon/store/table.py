"""Rows in order of arrival, with their step, epoch and time, and a column a metric.

Batches make one table, intervals another, the epoch lines of each split one more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vlamon.records import Column
from vlamon.store.column import CHUNK, Chunked, MetricColumn, is_missing
from vlamon.store.pyramid import Summary

Axis = Literal["step", "epoch", "time", "row"]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
FARTHEST = 1e15
"""Epochs and seconds beyond this are not believed: what a run sends may be anything."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A stretch of rows in which the step never falls."""

    number: int
    """0, then one more after each rollback or restart."""
    first_row: int
    """Its first row."""
    end_row: int
    """One past its last row."""
    first_step: int
    """Step of its first row."""
    last_step: int
    """Step of its last row."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a chart needs of a metric: one entry a bin."""

    low: F32
    """Least finite value, NaN where the bin has none."""
    high: F32
    """Greatest finite value, NaN where the bin has none."""
    last: F32
    """Last finite value, NaN where the bin has none."""
    total: F64
    """Sum of the finite values."""
    finite: I64
    """How many values are finite: `total / finite` is the bin's mean."""
    count: I64
    """Rows in the bin, whether they logged the metric or not."""
    flags: U8
    """FINITE=1 | NAN=2 | POS_INF=4 | NEG_INF=8: the kinds of values in the bin."""


class RowTable:
    """Rows of one kind; append only."""

    def __init__(self) -> None:
        self.columns: dict[str, MetricColumn] = {}
        self._axes = {
            "step": Chunked(np.int64, 0),
            "epoch": Chunked(np.float32, np.nan),
            "time": Chunked(np.float64, np.nan),
        }
        self._segments: list[_Segment] = []
        self._attempts: list[Attempt] = []
        self._attempts_of = 0
        self._places: dict[tuple[str, int, bytes], list[I64]] = {}

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self._axes["step"].rows

    @property
    def nbytes(self) -> int:
        """Bytes held by axes and columns."""
        axes = sum(axis.nbytes for axis in self._axes.values())
        return axes + sum(column.nbytes for column in self.columns.values())

    @property
    def attempts(self) -> list[Attempt]:
        """Stretches of rows in order; a source that lets steps fall unannounced gets one each."""
        if self._attempts_of != self.rows:  # every panel of a frame asks
            self._attempts_of, self._attempts = self.rows, self._list_attempts()
        return self._attempts

    def _list_attempts(self) -> list[Attempt]:
        steps = self._axes["step"]
        return [
            Attempt(
                segment.number,
                segment.first,
                segment.end,
                int(steps.slice(segment.first, segment.first + 1)[0]),
                int(steps.slice(segment.end - 1, segment.end)[0]),
            )
            for segment in self._segments
        ]

    def append(
        self,
        attempt: int,
        step: I64,
        epoch: F64,
        time: F64,
        columns: Mapping[str, Column],
    ) -> None:
        """Add rows of one attempt."""
        count = len(step)
        if not count:
            return
        first = self.rows
        epoch, time = _known(epoch), _known(time)
        self._extend_segments(attempt, first, np.asarray(step), epoch, time)
        self._axes["step"].append(step)
        self._axes["epoch"].append(epoch)
        self._axes["time"].append(time)
        for name, column in columns.items():
            known = self.columns.get(name)
            if known is None:
                known = self.columns[name] = MetricColumn()
            known.append(first, column.values, column.present)
        self._places.clear()

    def extend(self, other: RowTable) -> None:
        """Add a copy of another table's rows."""
        begin = self.rows
        for segment in other._segments:
            for first in range(segment.first, segment.end, CHUNK):
                end = min(first + CHUNK, segment.end)
                step, epoch, time = (axis.slice(first, end) for axis in other._axes.values())
                columns = {
                    name: Column(cells.astype(np.float64), ~is_missing(cells))
                    for name, column in other.columns.items()
                    for cells in [np.ascontiguousarray(column.cells(first, end))]
                }
                self.append(segment.number, step, epoch, time, columns)
        for name, column in other.columns.items():
            if name in self.columns:
                self.columns[name].exact &= column.exact
                self.columns[name].latest = column.latest
        assert self.rows == begin + other.rows

    def axis(self, name: Axis, first: int, end: int) -> NDArray[np.generic]:
        """Steps, epochs or times of a row range: a view where that is possible."""
        return self._axes[name].slice(first, min(end, self.rows))

    def steps_at(self, rows: I64) -> I64:
        """Step of each of these ascending rows; past the last row, the step after its own."""
        steps = self._axes["step"]
        found: I64 = steps.take(np.minimum(rows, self.rows - 1))
        return found + (rows >= self.rows)

    def row_of_step(self, step: int, attempt: int | None) -> int | None:
        """Row of a step, in the newest stretch that has it."""
        steps = self._axes["step"]
        for segment in reversed(self._segments):
            if attempt is not None and segment.number != attempt:
                continue
            row = int(steps.search(segment.first, segment.end, np.array([step], np.int64))[0])
            if row < segment.end and steps.slice(row, row + 1)[0] == step:
                return row
        return None

    def envelope(self, metric: str, edges: F64, axis: Axis, attempt: int | None) -> Envelope:
        """Summary of a metric in the bins between ascending edges."""
        places = self.rows_of_edges(edges, axis, attempt)
        return self.envelope_at(metric, places, len(edges) - 1)

    def envelope_at(self, metric: str, places: list[I64], bins: int) -> Envelope:
        """Summary of a metric, given the rows at which the bins begin in each stretch."""
        bins = max(bins, 0)
        low, high = np.full(bins, np.inf, np.float32), np.full(bins, -np.inf, np.float32)
        last, flags = np.full(bins, np.nan, np.float32), np.zeros(bins, np.uint8)
        count, finite = np.zeros(bins, np.int64), np.zeros(bins, np.int64)
        total = np.zeros(bins, np.float64)
        column = self.columns.get(metric)
        for rows in places:
            count += np.diff(rows)
            if column is not None:
                part: Summary = column.summarise(rows[:-1], rows[1:])
                low, high = np.minimum(low, part.low), np.maximum(high, part.high)
                last = np.where(np.isnan(part.last), last, part.last)
                total += part.total
                finite += part.finite
                flags |= part.flags
        none = (flags & 1) == 0
        low[none] = high[none] = np.nan
        return Envelope(low, high, last, total, finite, count, flags)

    def rows_of_edges(self, edges: F64, axis: Axis, attempt: int | None) -> list[I64]:
        """Rows at which the bins begin, for each stretch; charts of one frame share the answer."""
        key = (axis, -1 if attempt is None else attempt, edges.tobytes())
        found = self._places.get(key)
        if found is None:
            found = [
                self._edge_rows(segment, edges, axis)
                for segment in self._segments
                if attempt is None or segment.number == attempt
            ]
            if len(self._places) > 64:
                self._places.clear()
            self._places[key] = found
        return found

    def _edge_rows(self, segment: _Segment, edges: F64, axis: Axis) -> I64:
        if axis == "row":
            rows = np.ceil(np.clip(edges, segment.first, segment.end))
            return rows.astype(np.int64)
        chunked = self._axes[axis]
        if axis == "step" and segment.stride:
            rows = np.ceil((edges - segment.first_step) / segment.stride)
            return segment.first + np.clip(rows, 0, segment.end - segment.first).astype(np.int64)
        if axis in segment.rough:
            smooth = segment.smoothed(axis, chunked)
            return segment.first + smooth.search(0, smooth.rows, edges)
        return chunked.search(segment.first, segment.end, _as_typed(edges, axis))

    def _extend_segments(self, attempt: int, first: int, step: I64, epoch: F64, time: F64) -> None:
        falls = (np.flatnonzero(step[1:] < step[:-1]) + 1).tolist()
        bounds = [0, *falls, len(step)]
        for index, (low, high) in enumerate(pairwise(bounds)):
            current = self._segments[-1] if self._segments else None
            if (
                index
                or current is None
                or current.number != attempt
                or int(step[0]) < current.last_step
            ):
                current = _Segment(attempt, first + low)
                self._segments.append(current)
            current.extend(first + high, step[low:high], epoch[low:high], time[low:high])


class _Segment:
    """A stretch of rows in which steps rise; remembers where epochs or times do not."""

    def __init__(self, number: int, first: int) -> None:
        self.number = number
        self.first = first
        self.end = first
        self.first_step = 0
        self.last_step = -(1 << 63)
        self.stride: int | None = None
        """Steps from row to row where they are always the same, 0 where they are not."""
        self.rough: set[str] = set()
        self._last = {"epoch": -np.inf, "time": -np.inf}
        self._smooth: dict[str, Chunked] = {}

    def extend(self, end: int, step: I64, epoch: F64, time: F64) -> None:
        """Take rows up to `end` in."""
        if self.end == self.first:
            self.first_step = int(step[0])
            gaps = np.diff(step)
        else:
            gaps = np.diff(step, prepend=self.last_step)
        if len(gaps):
            stride = int(gaps[0]) if self.stride is None else self.stride
            self.stride = stride if bool((gaps == stride).all()) else 0
        self.end = end
        self.last_step = int(step[-1])
        for name, values in (("epoch", epoch), ("time", time)):
            if not (values[0] >= self._last[name] and (values[1:] >= values[:-1]).all()):
                self.rough.add(name)
            self._last[name] = float(values[-1])

    def smoothed(self, axis: str, raw: Chunked) -> Chunked:
        """The axis made rising: where a clock was set back or says nothing, it stands still."""
        smooth = self._smooth.setdefault(axis, Chunked(np.float64, np.nan))
        done = smooth.rows
        if done < self.end - self.first:
            values = raw.slice(self.first + done, self.end).astype(np.float64)
            values[np.isnan(values)] = -np.inf
            if done:
                values[0] = max(values[0], smooth.slice(done - 1, done)[0])
            smooth.append(np.maximum.accumulate(values))
        return smooth


def _known(places: F64) -> F64:
    """Epochs or times with NaN for what is none: an axis that reaches to infinity has no bins."""
    with np.errstate(invalid="ignore"):
        sane = np.abs(places) <= FARTHEST
    return places if bool(sane.all()) else np.where(sane, places, np.nan)


def _as_typed(edges: F64, axis: Axis) -> NDArray[np.generic]:
    """Edges in the type of the axis, rounded up: a search must not convert a million rows."""
    if axis == "step":
        return np.ceil(np.clip(edges, -(2.0**62), 2.0**62)).astype(np.int64)
    if axis == "epoch":
        narrow = edges.astype(np.float32)
        short = narrow < edges
        narrow[short] = np.nextafter(narrow[short], np.float32(np.inf))
        return narrow
    return edges
