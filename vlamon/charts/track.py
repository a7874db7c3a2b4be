"""From the store to dot columns: one metric's bins, kept while the run grows.

Finished bins never change, so a frame asks the store for the bins since the last one only. After a
rollback the store holds two branches: the one the run is on, and the abandoned end of the attempt
before, which stays on screen but is drawn apart.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from vlamon.charts.bins import Bins
from vlamon.charts.marks import rank_of
from vlamon.charts.ticks import Axis
from vlamon.charts.viewport import Extent, Window

if TYPE_CHECKING:
    from vlamon.store import RunStore


_FEW_ROWS = 32
"""New rows up to which they are added one by one."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the axis on which one attempt is the run, or was until it was abandoned."""

    attempt: int
    low: float
    high: float
    live: bool


def store_axis(axis: Axis) -> Literal["step", "epoch", "time"]:
    """Give the store's name of an axis."""
    return "time" if axis == "since" else axis


def positions(
    store: RunStore, axis: Axis, first: int, end: int
) -> NDArray[np.float64] | NDArray[np.float32] | NDArray[np.int64]:
    """Give where a range of rows stands on an axis; asking for few rows copies nothing."""
    if axis == "step":
        return store.steps(first, end)
    return store.epochs_of_rows(first, end) if axis == "epoch" else store.times(first, end)


def position(store: RunStore, axis: Axis, row: int) -> float:
    """Give where one row stands, NaN where that is not known."""
    return float(positions(store, axis, row, row + 1)[0])


def origin(store: RunStore, axis: Axis) -> float:
    """Give what the store's axis says where the chart's says zero."""
    if axis != "since" or not store.rows:
        return 0.0
    first = position(store, axis, 0)
    return first if math.isfinite(first) else 0.0


def extent(store: RunStore, axis: Axis) -> Extent:
    """Give the part of the axis that has rows."""
    if not store.rows:
        return Extent(0.0, 0.0)
    ends = {0, store.rows - 1}
    for attempt in store.attempts:
        ends |= {attempt.first_row, attempt.end_row - 1}
    found = [position(store, axis, row) for row in ends]
    finite = [value for value in found if math.isfinite(value)] or [0.0]
    shift = origin(store, axis)
    return Extent(min(finite) - shift, max(finite) - shift)


def pieces(store: RunStore, axis: Axis) -> list[Piece]:
    """Cut the axis into what each attempt contributed to the run, and what was abandoned.

    Nothing is cut where there is one attempt alone. Positions are the store's, not the chart's.
    """
    attempts = store.attempts
    if len(attempts) < 2:
        return []
    found = []
    cut = math.inf
    for one in reversed(attempts):
        first = position(store, axis, one.first_row)
        row = bisect_left(
            range(one.end_row),
            cut,
            lo=one.first_row,
            key=lambda row: int(store.steps(row, row + 1)[0]),
        )
        at = position(store, axis, row) if row < one.end_row else math.inf
        if row > one.first_row:
            found.append(Piece(one.number, first, at, live=True))
        if row < one.end_row:
            found.append(Piece(one.number, max(first, at), math.inf, live=False))
        cut = min(cut, float(one.first_step))
    return found[::-1]


class Track:
    """One metric's bins in a window: `live` for the run, `abandoned` for what was rolled back."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.live = Bins.empty(0)
        self.abandoned: Bins | None = None
        self.queried = 0
        """Bins asked of the store so far; tests hold it against the columns drawn."""
        self._window: Window | None = None
        self._key: tuple[object, ...] = ()
        self._newest = -math.inf
        self._rows = 0

    def update(
        self, store: RunStore, axis: Axis, shown: Window, parts: Sequence[Piece], lasts: bool = True
    ) -> int | None:
        """Bring the bins up to date; gives the first column that may look different, None for none.

        Without `lasts` no line goes through the bins' last values, and one that alone is new
        changes nothing to look at.
        """
        # Lines of another table than the batches' may land anywhere on the axis.
        lines = (len(store.epochs), len(store.intervals), len(store.metrics))
        # Older rows may come after newer ones, in front of them, when a long log is opened.
        oldest = int(store.steps(0, 1)[0]) if store.rows else None
        key = (axis, len(store.attempts), origin(store, axis), oldest, *lines)
        newest = self._position(store, axis)
        fresh = store.rows - self._rows
        whole = shown != self._window or key != self._key or newest < self._newest or fresh < 0
        first = 0 if whole else self._first_column(shown)
        if whole:
            self.live, self.abandoned = Bins.empty(shown.columns), None
            self._query(store, axis, shown, 0, parts)
        elif 0 < fresh <= _FEW_ROWS:
            if not self._append(store, axis, shown) and not lasts:
                first = shown.columns
        elif fresh and first < shown.columns:
            self.live.clear(first, shown.columns)
            self._query(store, axis, shown, first, parts)
        self._window, self._key, self._newest, self._rows = shown, key, newest, store.rows
        return first if (whole or fresh) and first < shown.columns else None

    def _first_column(self, shown: Window) -> int:
        """Give the column from which on rows that came since the last update can lie."""
        column = shown.column(self._newest)
        if column is not None:
            return column
        return 0 if self._newest < shown.start else shown.columns

    def _append(self, store: RunStore, axis: Axis, shown: Window) -> bool:
        """Add a few rows one by one: cheaper than a range query for the columns they lie in.

        Tells whether the range of a bin changed: the longer a run, the more rows lie within it.
        """
        values = store.values(self.metric, self._rows, store.rows)
        if np.isnan(values).any():
            present = store.present(self.metric, self._rows, store.rows)
        else:
            present = np.ones(len(values), dtype=np.bool_)
        shift = origin(store, axis)
        at = positions(store, axis, self._rows, store.rows).tolist()
        changed = False
        for x, value, logged in zip(at, values.tolist(), present.tolist(), strict=True):
            column = shown.column(x - shift)
            if logged and column is not None:
                changed |= self.live.add(column, value)
        return changed

    def _position(self, store: RunStore, axis: Axis) -> float:
        if not store.rows:
            return -math.inf
        value = position(store, axis, store.rows - 1) - origin(store, axis)
        return value if math.isfinite(value) else -math.inf

    def _query(
        self, store: RunStore, axis: Axis, shown: Window, first: int, parts: Sequence[Piece]
    ) -> None:
        if self.metric not in store.metrics or not store.rows:
            return
        edges = shown.edges()[first:] + origin(store, axis)
        name = store_axis(axis)
        if not parts:
            self.queried += len(edges) - 1
            self.live.merge(first, store.envelope(self.metric, edges, name))
            return
        for part in parts:
            begin = max(0, int(np.searchsorted(edges, part.low, side="right")) - 1)
            end = min(len(edges) - 1, int(np.searchsorted(edges, part.high, side="left")))
            if begin >= end:
                continue
            own = edges[begin : end + 1].copy()
            own[0], own[-1] = max(own[0], part.low), min(own[-1], part.high)
            self.queried += len(own) - 1
            found = store.envelope(self.metric, own, name, part.attempt)
            if part.live:
                self.live.merge(first + begin, found)
            elif first == 0 or self.abandoned is not None:
                abandoned = self._abandoned(shown)
                abandoned.break_before(first + begin)
                abandoned.merge(first + begin, found)

    def _abandoned(self, shown: Window) -> Bins:
        if self.abandoned is None:
            self.abandoned = Bins.empty(shown.columns)
        return self.abandoned


class EventTrack:
    """Where the events of a run stand on the axis; grows with the run."""

    def __init__(self) -> None:
        self._axis: Axis | None = None
        self._seen = 0
        self._at: list[float] = []
        self._ranks: list[int] = []

    def cells(
        self, store: RunStore, axis: Axis, shown: Window
    ) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
        """Give the cell and the rank of each event that has a mark."""
        if axis != self._axis or len(store.events) < self._seen:
            self._axis, self._seen, self._at, self._ranks = axis, 0, [], []
        for event in store.events[self._seen :]:
            rank = rank_of(event)
            if rank is not None:
                self._at.append(event_position(store, axis, event.step, event.attempt, event.time))
                self._ranks.append(rank)
        self._seen = len(store.events)
        at = np.array(self._at, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            columns = np.floor(np.nan_to_num(at, nan=-np.inf) / shown.bin) - shown.first
        columns = np.clip(columns, -2, shown.columns).astype(np.intp)
        return columns // 2, np.array(self._ranks, dtype=np.uint8)


def event_position(store: RunStore, axis: Axis, step: int, attempt: int, moment: float) -> float:
    """Give where an event stands on the axis, NaN where that is not known."""
    if axis == "step":
        return float(step)
    if axis == "epoch":
        row = store.row_of_step(step, attempt)
        return position(store, axis, row) if row is not None else math.nan
    return moment - origin(store, axis)
