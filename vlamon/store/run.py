"""Everything known of one run: rows, attempts, events, what the trainer does right now.

Pure memory: records go in through `apply`, views read. Code that shares a store between threads
holds the feed's lock around both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlamon.hardware import GpuSample
from vlamon.records import (
    BatchBlock,
    Column,
    EpochBlock,
    EpochRow,
    Event,
    Gap,
    Interval,
    IntervalBlock,
    Link,
    MetricsAnnounced,
    MetricSpec,
    Record,
    Reply,
    RunInfo,
    Status,
)
from vlamon.store.column import MISSING, is_missing
from vlamon.store.gpu import GpuHistory
from vlamon.store.lines import EpochLines, IntervalLines, epoch_block, interval_block
from vlamon.store.placing import place_epochs, places_of_edges
from vlamon.store.table import Attempt, Axis, Envelope, RowTable

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


class RunStore:
    """The records of one run, arranged for questions."""

    def __init__(self) -> None:
        self.version = 0
        """Grows with every change; a view repaints when it moved."""
        self.info: RunInfo | None = None
        self.link: Link | None = None
        self.status: Status | None = None
        self.specs: dict[str, MetricSpec] = {}
        self.gpu = GpuHistory()
        self.epochs = EpochLines()
        self.intervals = IntervalLines()
        self._events: list[Event] = []
        self._gaps: list[Gap] = []
        self._replies: list[Reply] = []
        self._weights: list[tuple[int, dict[str, float]]] = []
        self._newest_weights: Mapping[str, float] | None = None
        """Those in force now; None where they have to be gathered again: every frame asks."""
        self._batch_rows = RowTable()
        self._interval_rows = RowTable()
        self._epoch_rows: dict[str, RowTable] = {}
        self._epoch_steps_known: dict[str, bool] = {}
        self._series: dict[str, tuple[RowTable, str]] = {}
        self._names: tuple[str, ...] = ()
        self._series_key: tuple[int, ...] = ()
        self._placed: dict[int, tuple[tuple[int, int], I64]] = {}
        self._apply: dict[type, Any] = {
            RunInfo: self._take_info,
            MetricsAnnounced: self._take_metrics,
            BatchBlock: self._take_batches,
            EpochRow: lambda record: self._take_epochs(epoch_block(record)),
            EpochBlock: self._take_epochs,
            Interval: lambda record: self._take_intervals(interval_block(record)),
            IntervalBlock: self._take_intervals,
            GpuSample: self.gpu.append,
            Event: self._events.append,
            Status: self._take_status,
            Reply: self._replies.append,
            Gap: self._gaps.append,
            Link: self._take_link,
        }

    def apply(self, record: Record) -> None:
        """Take a record in."""
        self._apply[type(record)](record)
        self.version += 1

    def take_rows_of(self, other: RunStore) -> None:
        """Put another store's batches and intervals in the place of this one's.

        For a long log whose newest part was shown while the whole was read behind it.
        """
        self._interval_rows = other._interval_rows
        self.intervals = other.intervals
        self.take_batches_of(other)

    def append_batches_of(self, newer: RunStore) -> None:
        """Add a copy of another store's batches behind this one's."""
        first = self._batch_rows.rows
        self._weights += [(first + row, weights) for row, weights in newer._weights]
        self._newest_weights = None
        self._batch_rows.extend(newer._batch_rows)
        self.version += 1

    def take_batches_of(self, other: RunStore) -> None:
        """Put another store's batches in the place of this one's."""
        self._batch_rows = other._batch_rows
        self._weights = other._weights
        self._newest_weights = None
        self._series_key = ()
        self._placed.clear()
        self.version += 1

    # What happened

    @property
    def events(self) -> Sequence[Event]:
        """Events in order of arrival."""
        return self._events

    @property
    def gaps(self) -> Sequence[Gap]:
        """Rows that were lost on the way here."""
        return self._gaps

    @property
    def replies(self) -> Sequence[Reply]:
        """Replies to commands, in order of arrival."""
        return self._replies

    # Rows

    @property
    def rows(self) -> int:
        """Rows of the primary table: batches, else intervals, else epoch lines."""
        return self._primary.rows

    @property
    def attempts(self) -> Sequence[Attempt]:
        """Stretches of rows in which the step never falls, in order."""
        return self._primary.attempts

    @property
    def metrics(self) -> Sequence[str]:
        """Names of everything that can be charted, the primary rows' own first."""
        self._all_series()
        return self._names

    @property
    def nbytes(self) -> int:
        """Bytes held by the rows."""
        tables = (self._batch_rows, self._interval_rows, *self._epoch_rows.values())
        return sum(table.nbytes for table in tables)

    def steps(self, first_row: int = 0, end_row: int | None = None) -> I64:
        """Step of each row; a view where the range lies in one chunk, so ask for what you show."""
        steps: I64 = self._axis("step", first_row, end_row)
        return steps

    def steps_at(self, rows: ArrayLike) -> I64:
        """Step of each of these ascending rows; past the last row, the step after its own."""
        return self._primary.steps_at(np.asarray(rows, np.int64))

    def epochs_of_rows(self, first_row: int = 0, end_row: int | None = None) -> F32:
        """Epoch of each row, NaN where unknown."""
        epochs: F32 = self._axis("epoch", first_row, end_row)
        return epochs

    def times(self, first_row: int = 0, end_row: int | None = None) -> NDArray[np.float64]:
        """Time of each row in seconds since the epoch, NaN where unknown."""
        times: NDArray[np.float64] = self._axis("time", first_row, end_row)
        return times

    def row_of_step(self, step: int, attempt: int | None = None) -> int | None:
        """Row of a step, in the newest attempt that has it unless one is given."""
        return self._primary.row_of_step(step, attempt)

    def weights_at(self, row: int | None = None) -> Mapping[str, float]:
        """Weights in force at a row (the newest when None)."""
        if row is None or not self._weights or row >= self._weights[-1][0]:
            if self._newest_weights is None:
                self._newest_weights = self._weights_until(None)
            return self._newest_weights
        return self._weights_until(row)

    def _weights_until(self, row: int | None) -> Mapping[str, float]:
        weights = {n: s.weight for n, s in self.specs.items() if s.weight is not None}
        for first, changed in self._weights:
            if row is None or first <= row:
                weights.update(changed)
        return weights

    # Values

    def latest(self, metric: str) -> float | None:
        """Last value that was logged, None where there was none yet."""
        found = self._all_series().get(metric)
        return None if found is None else found[0].columns[found[1]].latest

    def value(self, metric: str, row: int) -> float | None:
        """The value at a row, None where none was logged.

        An epoch's or interval's average is the value of every row that it covers.
        """
        found = self._all_series().get(metric)
        if found is None or not 0 <= row < self.rows:
            return None
        table, name = found
        if table is not self._primary:
            step = int(self._primary.axis("step", row, row + 1)[0])
            row = int(np.searchsorted(self._steps_of(table), step, "left"))
            if row >= table.rows:
                return None
        return table.columns[name].value(row)

    def values(self, metric: str, first_row: int, end_row: int) -> F32:
        """Values of a row range, cells that were not logged as NaN (`present` tells which)."""
        end_row = min(end_row, self.rows)
        found = self._all_series().get(metric)
        if found is None:
            return np.full(max(end_row - first_row, 0), MISSING, np.float32)
        table, name = found
        if table is self._primary:
            return table.columns[name].cells(first_row, end_row)
        cells = np.full(max(end_row - first_row, 0), MISSING, np.float32)
        steps = self.steps(first_row, end_row)
        ends = self._steps_of(table)
        at = np.searchsorted(steps, ends, "right") - 1
        here = (at >= 0) & (at < len(steps)) & (steps[at.clip(0)] == ends) if len(steps) else []
        rows = np.flatnonzero(here)
        cells[at[rows]] = table.columns[name].cells(0, table.rows)[rows]
        return cells

    def exact(self, metric: str) -> bool:
        """Whether every value of a metric is held as it was logged, in double precision too."""
        found = self._all_series().get(metric)
        return found is None or found[0].columns[found[1]].exact

    def present(self, metric: str, first_row: int, end_row: int) -> NDArray[np.bool_]:
        """Which cells of a row range were logged."""
        return ~is_missing(np.ascontiguousarray(self.values(metric, first_row, end_row)))

    def envelope(
        self, metric: str, edges: ArrayLike, axis: Axis = "step", attempt: int | None = None
    ) -> Envelope:
        """Least, greatest, last and mean value between ascending edges; half-open bins.

        The time depends on the number of edges, not on the number of rows.
        """
        bounds = np.asarray(edges, np.float64)
        primary = self._primary
        table, name = self._all_series().get(metric, (primary, metric))
        if table is primary or axis != "step":
            return table.envelope(name, bounds, axis, attempt)
        places = places_of_edges(self._steps_of(table), table.attempts, bounds, attempt)
        return table.envelope_at(name, places, len(bounds) - 1)

    def envelope_of_rows(self, metric: str, rows: ArrayLike) -> Envelope:
        """The same between ascending rows of the primary table."""
        bounds = np.asarray(rows, np.int64)
        table, name = self._all_series().get(metric, (self._primary, metric))
        if table is not self._primary:
            edges = self.steps_at(bounds)
            bounds = np.searchsorted(self._steps_of(table), edges, "left")
        return table.envelope_at(name, [bounds], len(bounds) - 1)

    # Records of each kind

    def _take_info(self, info: RunInfo) -> None:
        self.info = info
        self._newest_weights = None
        self.specs.update({spec.name: spec for spec in info.metrics})

    def _take_metrics(self, announced: MetricsAnnounced) -> None:
        self._newest_weights = None
        self.specs.update({spec.name: spec for spec in announced.metrics})
        if self.info is not None:
            self.info = replace(self.info, metrics=tuple(self.specs.values()))

    def _take_batches(self, block: BatchBlock) -> None:
        if block.weights:
            self._newest_weights = None
            self._weights.append((self._batch_rows.rows, dict(block.weights)))
        self._batch_rows.append(block.attempt, block.step, block.epoch, block.time, block.columns)

    def _take_epochs(self, block: EpochBlock) -> None:
        self.epochs.append(block)
        table = self._epoch_rows.setdefault(block.split, RowTable())
        known = block.step is not None
        self._epoch_steps_known[block.split] = known and self._epoch_steps_known.get(
            block.split, True
        )
        step = block.step if block.step is not None else np.floor(block.epoch).astype(np.int64)
        time = block.time if block.time is not None else np.full(block.rows, np.nan)
        table.append(block.attempt, step, block.epoch, time, block.columns)

    def _take_intervals(self, block: IntervalBlock) -> None:
        self.intervals.append(block)
        per_epoch = self.info.steps_per_epoch if self.info is not None else None
        epoch = block.epoch.astype(np.float64)
        if per_epoch:
            epoch += (block.last + 1) / (per_epoch + 1)
        step = block.step
        if step is None:
            before = self._interval_rows.rows
            rows = np.arange(before, before + block.rows)
            step = block.epoch * per_epoch + block.last if per_epoch else rows
        time = block.time if block.time is not None else np.full(block.rows, np.nan)
        columns: dict[str, Column] = {
            name: numbers[0] for name, numbers in block.printed.items() if numbers
        }
        columns.update(block.metrics)
        self._interval_rows.append(block.attempt, step, epoch, time, columns)

    def _take_status(self, status: Status) -> None:
        self.status = status

    def _take_link(self, link: Link) -> None:
        self.link = link

    # Which table answers for which name

    @property
    def _primary(self) -> RowTable:
        if self._batch_rows.rows or not (self._interval_rows.rows or self._epoch_rows):
            return self._batch_rows
        if self._interval_rows.rows:
            return self._interval_rows
        return self._epoch_rows.get("train") or next(iter(self._epoch_rows.values()))

    def _all_series(self) -> Mapping[str, tuple[RowTable, str]]:
        """Every chartable name with the table and column behind it."""
        tables = (self._batch_rows, self._interval_rows, *self._epoch_rows.values())
        key = (*(len(table.columns) for table in tables), self._batch_rows.rows > 0)
        if key != self._series_key:
            primary = self._primary
            series = {name: (primary, name) for name in primary.columns}
            for name in self._interval_rows.columns:
                series.setdefault(name, (self._interval_rows, name))
            for split, table in self._epoch_rows.items():
                if table is not primary:
                    for name in table.columns:
                        series.setdefault(f"{split}_{name}", (table, name))
            self._series, self._series_key = series, key
            self._names = tuple(series)
        return self._series

    def _steps_of(self, table: RowTable) -> I64:
        """Steps of a secondary table's rows on the primary's axis, made rising."""
        primary = self._primary
        key = (primary.rows, table.rows)
        known = self._placed.get(id(table))
        if known is None or known[0] != key:
            split = next((s for s, t in self._epoch_rows.items() if t is table), None)
            steps = np.asarray(table.axis("step", 0, table.rows), np.int64)
            if split is not None and not self._epoch_steps_known[split]:
                steps = place_epochs(table.axis("epoch", 0, table.rows), primary, steps)
            known = (key, np.maximum.accumulate(steps) if len(steps) else steps)
            self._placed[id(table)] = known
        return known[1]

    def _axis(self, name: Axis, first: int, end: int | None) -> Any:
        return self._primary.axis(name, first, self.rows if end is None else end)
