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
from vlamon.charts.cells import JudgedDot
from vlamon.charts.marks import rank_of
from vlamon.charts.ticks import Axis
from vlamon.charts.viewport import Extent, Window

if TYPE_CHECKING:
    from vlamon.records import Event
    from vlamon.store import Attempt, RunStore


_FEW_ROWS = 32
"""New rows up to which they are added one by one."""
_WAITING = 64
"""Most verdicts that wait for their batch."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of the axis on which one attempt is the run, or was until it was abandoned."""

    attempt: int
    low: float
    high: float
    live: bool


def store_axis(axis: Axis) -> Literal["step", "epoch", "time"]:
    """Return the store's name of an axis."""
    return "time" if axis == "since" else axis


def positions(
    store: RunStore, axis: Axis, first: int, end: int
) -> NDArray[np.float64] | NDArray[np.float32] | NDArray[np.int64]:
    """Return where a range of rows stands on an axis; asking for few rows copies nothing."""
    if axis == "step":
        return store.steps(first, end)
    return store.epochs_of_rows(first, end) if axis == "epoch" else store.times(first, end)


def position(store: RunStore, axis: Axis, row: int) -> float:
    """Return where one row stands, NaN where that is not known."""
    return float(positions(store, axis, row, row + 1)[0])


def origin(store: RunStore, axis: Axis) -> float:
    """Return what the store's axis says where the chart's says zero."""
    if axis != "since" or not store.rows:
        return 0.0
    first = position(store, axis, 0)
    return first if math.isfinite(first) else 0.0


def extent(store: RunStore, axis: Axis) -> Extent:
    """Return the part of the axis that has rows; of steps and epochs, since the last restart from
    the beginning: the run that was given up must not squeeze the new one into a corner."""
    if not store.rows:
        return Extent(0.0, 0.0)
    ends = set()
    for attempt in _since_restart(store) if axis in ("step", "epoch") else store.attempts:
        ends |= {attempt.first_row, attempt.end_row - 1}
    found = [position(store, axis, row) for row in ends]
    finite = [value for value in found if math.isfinite(value)] or [0.0]
    shift = origin(store, axis)
    return Extent(min(finite) - shift, max(finite) - shift)


def _since_restart(store: RunStore) -> Sequence[Attempt]:
    """Return the attempts from the last one on that keeps nothing of those before it."""
    attempts = store.attempts
    earliest, first = math.inf, 0
    for index, attempt in enumerate(attempts):
        if attempt.first_step <= earliest:
            earliest, first = attempt.first_step, index
    return attempts[first:]


def stretches(store: RunStore, axis: Axis) -> list[Stretch]:
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
            found.append(Stretch(one.number, first, at, live=True))
        if row < one.end_row:
            found.append(Stretch(one.number, max(first, at), math.inf, live=False))
        cut = min(cut, float(one.first_step))
    return found[::-1]


class AxisData:
    """Extent and stretches of a run, worked out once a change for all the charts that share it."""

    def __init__(self) -> None:
        self._key: tuple[int, Axis] | None = None
        self._found: tuple[Extent, list[Stretch]] = (Extent(0.0, 0.0), [])

    def of(self, store: RunStore, axis: Axis) -> tuple[Extent, list[Stretch]]:
        """Return the part of the axis that has data, and how attempts cut it."""
        if self._key != (store.version, axis):
            self._key = (store.version, axis)
            self._found = extent(store, axis), stretches(store, axis)
        return self._found


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
        self, store: RunStore, axis: Axis, shown: Window, parts: Sequence[Stretch]
    ) -> int | None:
        """Bring the bins up to date; returns the first column that may have changed, None for
        none."""
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
            self._append(store, axis, shown)
        elif fresh and first < shown.columns:
            self.live.clear(first, shown.columns)
            self._query(store, axis, shown, first, parts)
        self._window, self._key, self._newest, self._rows = shown, key, newest, store.rows
        return first if (whole or fresh) and first < shown.columns else None

    def _first_column(self, shown: Window) -> int:
        """Return the column from which on rows that came since the last update can lie."""
        column = shown.column(self._newest)
        if column is not None:
            return column
        return 0 if self._newest < shown.start else shown.columns

    def _append(self, store: RunStore, axis: Axis, shown: Window) -> None:
        """Add a few rows one by one: cheaper than a range query for the columns they lie in."""
        values = store.values(self.metric, self._rows, store.rows).tolist()
        logged = [True] * len(values)
        if any(value != value for value in values):  # NaN, or not logged
            logged = store.present(self.metric, self._rows, store.rows).tolist()
        shift = origin(store, axis)
        at = positions(store, axis, self._rows, store.rows).tolist()
        for x, value, present in zip(at, values, logged, strict=True):
            column = shown.column(x - shift)
            if present and column is not None:
                self.live.add(column, value)

    def _position(self, store: RunStore, axis: Axis) -> float:
        if not store.rows:
            return -math.inf
        value = position(store, axis, store.rows - 1) - origin(store, axis)
        return value if math.isfinite(value) else -math.inf

    def _query(
        self, store: RunStore, axis: Axis, shown: Window, first: int, parts: Sequence[Stretch]
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


@dataclass(frozen=True, slots=True)
class JudgedBatch:
    """A batch that the detector judged."""

    row: int
    metric: str
    role: str
    """`warn` or `explode`."""
    place: float
    """Where it stands on the axis."""
    ratio: float
    """Its value over the median, NaN where the event does not say."""


class EventTrack:
    """Where the events of a run stand on the axis; grows with the run."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._seen = 0
        self._at: list[float] = []
        self._ranks: list[int] = []
        self._unplaced: list[Event] = []
        """Verdicts on batches that have not arrived yet."""
        self.judged: dict[tuple[int, str], JudgedBatch] = {}
        """Judged batches by row and metric."""
        self._changes = 0
        """Grows with every change of `judged`."""
        self._spots: tuple[tuple[object, ...], list[JudgedDot]] = ((), [])

    def update(self, store: RunStore, axis: Axis) -> None:
        """Take new events in."""
        key = (axis, len(store.attempts), store.rows and int(store.steps(0, 1)[0]))
        if key != self._key or len(store.events) < self._seen:
            self._key, self._seen = key, 0
            self._at, self._ranks, self._unplaced, self.judged = [], [], [], {}
            self._changes += 1
        fresh = store.events[self._seen :]
        self._seen = len(store.events)
        for event in fresh:
            rank = rank_of(event)
            if rank is not None:
                self._at.append(event_position(store, axis, event.step, event.attempt, event.time))
                self._ranks.append(rank)
        verdicts = [event for event in fresh if event.kind in ("warn", "explode")]
        waiting = [*self._unplaced, *verdicts][-_WAITING:]
        self._unplaced = [event for event in waiting if not self._place(store, axis, event)]

    def _place(self, store: RunStore, axis: Axis, event: Event) -> bool:
        """Find the batch that an event judges, of two verdicts on one the worse; tells whether that
        is settled."""
        metric, row = event.data.get("metric"), store.row_of_step(event.step, event.attempt)
        if not isinstance(metric, str):
            return True
        if row is None:  # it is on its way, or was lost; older ones come with a table of their own
            return bool(store.rows) and event.step <= int(store.steps(store.rows - 1)[0])
        known = self.judged.get((row, metric))
        if known is None or known.role != "explode":
            ratio = event.data.get("ratio")
            self._changes += 1
            self.judged[row, metric] = JudgedBatch(
                row,
                metric,
                event.kind,
                position(store, axis, row) - origin(store, axis),
                float(ratio) if isinstance(ratio, int | float) else math.nan,
            )
        return True

    def cells(self, shown: Window) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
        """Return the cell and the rank of each event that has a mark."""
        at = np.array(self._at, dtype=np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            columns = np.floor(np.nan_to_num(at, nan=-np.inf) / shown.bin) - shown.first
        columns = np.clip(columns, -2, shown.columns).astype(np.intp)
        return columns // 2, np.array(self._ranks, dtype=np.uint8)

    def spots(self, store: RunStore, metrics: Sequence[str], shown: Window) -> list[JudgedDot]:
        """Return the judged batches of some metrics that are in a window, warnings first."""
        key = (self._changes, metrics, shown)
        if key != self._spots[0]:
            self._spots = (key, self._find_spots(store, metrics, shown))
        return self._spots[1]

    def _find_spots(
        self, store: RunStore, metrics: Sequence[str], shown: Window
    ) -> list[JudgedDot]:
        found = []
        for one in self.judged.values():
            column = shown.column(one.place) if one.metric in metrics else None
            if column is not None:
                value = store.value(one.metric, one.row)
                if value is not None and math.isfinite(value):
                    found.append(JudgedDot(column, value, one.role))
        return sorted(found, key=lambda spot: spot.role == "explode")


def event_position(store: RunStore, axis: Axis, step: int, attempt: int, moment: float) -> float:
    """Return where an event stands on the axis, NaN where that is not known."""
    if axis == "step":
        return float(step)
    if axis == "epoch":
        row = store.row_of_step(step, attempt)
        return position(store, axis, row) if row is not None else math.nan
    return moment - origin(store, axis)
