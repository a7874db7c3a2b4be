"""Explosions of a run that is known from its logs alone, as events.

A trainer with a guard reports its explosions itself; a log says nothing. So the main loss of what
comes in is judged here, by what came before it (`analyze`, which sees both sides, is the better
judge of a finished run). A stretch of high values is one event.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vlamon.analysis.main_loss import has_moving_target, main_loss
from vlamon.detect.judging import Floats, Ints, Judge
from vlamon.detect.rules import SpikeRules
from vlamon.protocol.commands import Command
from vlamon.records import (
    Backfill,
    BatchBlock,
    Column,
    EpochBlock,
    EpochRow,
    Event,
    IntervalBlock,
    Record,
    RunInfo,
)
from vlamon.sources import Source
from vlamon.store.lines import epoch_block


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of any grain, as far as they are judged."""

    grain: str
    """`batch`, `interval` or `epoch`."""
    columns: Mapping[str, Column]
    """Their metrics."""
    step: Ints
    """Where each stands; see `counted`."""
    attempt: int
    """Attempt that they belong to."""
    time: Floats | None = None
    """When each was written, where known."""
    epoch: Floats | None = None
    """Epoch of each, where that is what it is."""
    counted: bool = True
    """Whether `step` counts batches; else it only orders the rows."""
    averaged: bool = True
    """Whether they are means."""


@dataclass(slots=True)
class _Level:
    """What the values before the next ones were."""

    metric: str | None
    """Which metric's they are."""
    attempt: int
    """Attempt that they belong to."""
    judge: Judge
    """Knows them."""
    high: bool = False
    """Whether the last one exploded: what follows belongs to the same event."""


class JudgedLog:
    """A log's source with the explosions that its numbers show."""

    def __init__(self, source: Source, rules: SpikeRules | None = None) -> None:
        self._source = source
        self._rules = rules
        self._levels: dict[tuple[str, bool], _Level] = {}
        self._names: dict[tuple[str, bool], dict[str, None]] = {}
        """Metrics seen so far: not every row has every one."""
        self._reported: set[str] = set()
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
        """Pass a command to the log, which refuses it."""
        self._source.send(command)

    def close(self) -> None:
        """Close the log."""
        self._source.close()

    def _events(self, record: Record, behind: bool) -> Iterator[Event]:
        if isinstance(record, RunInfo):
            self._per_epoch = record.steps_per_epoch or self._per_epoch
        rows = self._rows(record)
        if rows is not None and len(rows.step):
            yield from self._judge(rows, behind)

    def _rows(self, record: Record) -> _Rows | None:
        if isinstance(record, IntervalBlock):
            known = record.step is not None
            step = record.step if record.step is not None else record.last
            return _Rows(
                "interval", record.metrics, step, record.attempt, record.time, counted=known
            )
        if isinstance(record, EpochRow):
            record = epoch_block(record)
        if isinstance(record, EpochBlock) and record.split == "train":
            step, known = self._ends_of(record)
            return _Rows(
                "epoch", record.columns, step, record.attempt, record.time, record.epoch, known
            )
        if isinstance(record, BatchBlock):
            return _Rows(
                "batch",
                record.columns,
                record.step,
                record.attempt,
                record.time,
                averaged=record.averaged,
            )
        return None

    def _ends_of(self, record: EpochBlock) -> tuple[Ints, bool]:
        """Step at each epoch's end; its number where the run's steps are not known."""
        if record.step is not None:
            return record.step, True
        epoch = np.nan_to_num(record.epoch, nan=0.0).astype(np.int64)
        if not self._per_epoch:
            return epoch, False
        return (epoch + 1) * self._per_epoch - 1, True

    def _level(self, metric: str | None = None, attempt: int = -1) -> _Level:
        return _Level(metric, attempt, Judge(self._rules))

    def _judge(self, rows: _Rows, behind: bool) -> Iterator[Event]:
        key = (rows.grain, behind)
        names = self._names.setdefault(key, {})
        names.update(dict.fromkeys(rows.columns))
        metric = main_loss(names)
        level = self._levels.setdefault(key, self._level())
        if (metric, rows.attempt) != (level.metric, level.attempt):
            level = self._levels[key] = self._level(metric, rows.attempt)
        column = rows.columns.get(metric or "")
        if metric is None or column is None:
            return
        there = column.present
        kept = np.arange(len(rows.step)) if there is None else np.flatnonzero(there)
        if not len(kept):
            return
        values = np.asarray(column.values, np.float64)[kept]
        steps = rows.step[kept] if rows.grain == "batch" else None
        judged = level.judge.observe(values, steps, np.full(len(kept), rows.averaged))
        if has_moving_target(names):
            judged = replace(judged, high=~np.isfinite(values))
        begins = judged.high & ~np.concatenate([[level.high], judged.high[:-1]])
        level.high = bool(judged.high[-1])
        for at in np.flatnonzero(begins).tolist():
            value, usual = float(values[at]), float(judged.before.level[at])
            verdict = judged.verdicts.get(at)
            ratio = value / usual if usual > 0 else math.nan
            if verdict is not None:
                ratio, said = float(verdict.ratio), f"{metric} {value:.4g}: {verdict.reason}"
            elif usual > 0:
                said = f"{metric} {value:.4g}, {ratio:.1f}× its level"
            else:
                said = f"{metric} {value:.4g}, far above its level of {usual:.4g}"
            if not math.isfinite(value):
                said = f"{metric} is {value}"
            event = _explosion(rows, int(kept[at]), metric, value, ratio, said)
            if event.id not in self._reported:
                self._reported.add(event.id)
                yield event


def _explosion(rows: _Rows, row: int, metric: str, value: float, ratio: float, said: str) -> Event:
    step, time = int(rows.step[row]), math.nan if rows.time is None else float(rows.time[row])
    data: dict[str, object] = {
        "metric": metric,
        "value": value,
        "ratio": ratio,
        "grain": rows.grain,
    }
    if rows.grain == "interval":
        said += " (mean of an interval)"
    elif rows.epoch is not None:
        epoch = float(rows.epoch[row])
        said += f" (mean of epoch {epoch:g})"
        data["epoch"] = epoch
    return Event(
        id=f"{metric}-{rows.grain}-{step}-{value:.6g}",
        kind="explode",
        step=step,
        attempt=rows.attempt,
        time=0.0 if math.isnan(time) else time,
        severity="error",
        text=said,
        data=data,
        counted=rows.counted,
    )
