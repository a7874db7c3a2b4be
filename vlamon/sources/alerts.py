"""Explosions of a run that is known from its logs alone, told as events.

A trainer with a guard reports its explosions itself; a log says nothing. So the main loss of what
comes in is judged here. A mean over an interval or an epoch is an explosion at 2.5 times the median
of what came before it (`analyze`, which sees both sides, is the better judge of a finished run);
single batches go through the guard's detector. A stretch of high values is one event.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vlamon.analysis.anomalies import EXPLOSION_RATIO
from vlamon.analysis.detector import SpikeDetector
from vlamon.analysis.evidence import MAIN_LOSSES
from vlamon.records import (
    Backfill,
    BatchBlock,
    Column,
    Command,
    EpochBlock,
    Event,
    IntervalBlock,
    Record,
    RunInfo,
)
from vlamon.sources import Source

BEFORE = 16
"""Values that make the level; up to half of them may be a spike themselves."""
LEAST = 3
"""Values before which nothing is an explosion."""

Floats = NDArray[np.float64]


@dataclass(slots=True)
class _Level:
    """What the values before the next ones were."""

    attempt: int = -1
    """Attempt that they belong to."""
    values: Floats = field(default_factory=lambda: np.empty(0))
    """The last of them."""
    high: bool = False
    """Whether the last one exploded: what follows belongs to the same event."""
    detector: SpikeDetector = field(default_factory=SpikeDetector)
    """Judges single batches."""


class Alerting:
    """A log's source with the explosions that its numbers show."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._levels: dict[tuple[str, bool], _Level] = {}
        self._told: set[str] = set()
        self._per_epoch = 0

    @property
    def finished(self) -> bool:
        """True when the log is."""
        return self._source.finished

    def read(self, timeout: float) -> Sequence[Record]:
        """What the log says; each explosion behind the rows that show it."""
        records: list[Record] = []
        for record in self._source.read(timeout):
            records.append(record)
            # The whole of a long log is judged apart from its newest part, which came before it.
            behind = isinstance(record, Backfill)
            for one in record.records if isinstance(record, Backfill) else (record,):
                records += self._events(one, behind)
        return records

    def send(self, command: Command) -> None:
        """Hand an order to the log, which refuses it."""
        self._source.send(command)

    def close(self) -> None:
        """Close the log."""
        self._source.close()

    def _events(self, record: Record, behind: bool) -> Iterator[Event]:
        if isinstance(record, RunInfo):
            self._per_epoch = record.steps_per_epoch or self._per_epoch
        elif isinstance(record, IntervalBlock):
            step = record.last if record.step is None else record.step
            yield from self._judge(
                "interval", behind, record.metrics, step, record.time, record.attempt
            )
        elif isinstance(record, EpochBlock) and record.split == "train":
            step = self._ends_of(record)
            yield from self._judge(
                "epoch", behind, record.columns, step, record.time, record.attempt, record.epoch
            )
        elif isinstance(record, BatchBlock):
            yield from self._judge(
                "batch", behind, record.columns, record.step, record.time, record.attempt
            )

    def _ends_of(self, record: EpochBlock) -> NDArray[np.int64]:
        """Step at each epoch's end; its number where the run's steps are not known."""
        if record.step is not None:
            return record.step
        epoch = np.nan_to_num(record.epoch, nan=0.0).astype(np.int64)
        return (epoch + 1) * self._per_epoch - 1 if self._per_epoch else epoch

    def _judge(
        self,
        grain: str,
        behind: bool,
        columns: Mapping[str, Column],
        step: NDArray[np.int64],
        time: Floats | None,
        attempt: int,
        epochs: Floats | None = None,
    ) -> Iterator[Event]:
        metric = next((name for name in MAIN_LOSSES if name in columns), None)
        if metric is None:
            return
        level = self._levels.setdefault((grain, behind), _Level())
        if attempt != level.attempt:
            level = self._levels[grain, behind] = _Level(attempt)
        column = columns[metric]
        rows = np.arange(len(step)) if column.present is None else np.flatnonzero(column.present)
        values = np.asarray(column.values, np.float64)[rows]
        if not len(values):
            return
        usual = _usual(np.concatenate([level.values, values]))[len(level.values) :]
        with np.errstate(invalid="ignore"):
            high = (usual > 0) & (values >= EXPLOSION_RATIO * usual)
        if grain == "batch":
            verdicts = map(level.detector.observe, values.tolist())
            high = np.array([verdict.level == "explode" for verdict in verdicts])
        high |= ~np.isfinite(values)
        begins = high & ~np.concatenate([[level.high], high[:-1]])
        level.high = bool(high[-1])
        level.values = np.concatenate([level.values, values])[-BEFORE:]
        for at in np.flatnonzero(begins).tolist():
            row = int(rows[at])
            moment = 0.0 if time is None or math.isnan(time[row]) else float(time[row])
            epoch = math.nan if epochs is None else float(epochs[row])
            event = _explosion(
                metric, grain, epoch, int(step[row]), attempt, moment, values[at], usual[at]
            )
            if event.id not in self._told:
                self._told.add(event.id)
                yield event


def _usual(values: Floats) -> Floats:
    """Median of the values before each one; NaN where there are too few."""
    padded = np.concatenate(
        [np.full(BEFORE, np.nan), np.where(np.isfinite(values), values, np.nan)]
    )
    before = np.sort(np.lib.stride_tricks.sliding_window_view(padded, BEFORE)[:-1], axis=1)
    counts = np.sum(~np.isnan(before), axis=1)
    index = np.arange(len(before))
    low, high = before[index, (counts - 1).clip(0) // 2], before[index, counts // 2 % BEFORE]
    medians: Floats = np.where(counts >= LEAST, (low + high) / 2, np.nan)
    return medians


def _explosion(
    metric: str,
    grain: str,
    epoch: float,
    step: int,
    attempt: int,
    time: float,
    value: float,
    usual: float,
) -> Event:
    ratio = value / usual if usual > 0 else math.inf
    said = f"{metric} {value:.4g}, {ratio:.1f}× its level"
    if not math.isfinite(value):
        said = f"{metric} is {value}"
    mean = {"interval": " (mean of an interval)", "epoch": f" (mean of epoch {epoch:g})"}
    return Event(
        id=f"{metric}-{grain}-{step}-{value:.6g}",
        kind="explode",
        step=step,
        attempt=attempt,
        time=time,
        severity="error",
        text=said + mean.get(grain, ""),
        data={"metric": metric, "value": float(value), "ratio": float(ratio), "grain": grain},
    )
