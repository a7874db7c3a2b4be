"""Explosions of a run that does not judge itself, reported as events by the monitor.

A script that only emits knows nothing of its spikes; a trainer with a guard reports its own, and
then nothing is added. Live batches are judged one by one. A history of a million batches is
searched at array speed: only what lies well above the level before it, and the batches that lead up
to it, are given to the detectors. Pure: records in, events out.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlamon.detect.components import GRAD_NORM, ComponentDetectors, Judgement
from vlamon.detect.judging import Floats, medians
from vlamon.detect.rules import SpikeRules
from vlamon.guard_modes import mode_detects
from vlamon.records import BatchBlock, Event, Link, MetricSpec, Record, RunInfo, Status
from vlamon.records import MetricsAnnounced as Announced

BY = "monitor"
"""`by` in the data of these events: a command because of one is the monitor's own affair."""
LIVE_ROWS = 64
"""Rows up to which a block is judged whole, and reported when it warns, too."""
ABOVE = 2.0
"""Ratio to the level before it from which a batch of a history is given to the detectors."""
CHUNK = 256
"""Batches of a history that share one level: the median of the chunk before them."""
FIRST = 64
"""Batches whose median is the level of a history's first chunk."""
SETTLED = 2
"""Chunks in a row off the level that make a new one; the detectors adopt it by then, too."""
AFTER = 64
"""Batches behind it that are looked at as well."""
BEFORE = 256
"""Batches before it that teach the detectors what is usual."""
STRETCH = 50
"""Batches without a finding after which the next one is another event."""
_RANK = {"warn": 1, "explode": 2}


@dataclass(slots=True)
class _Level:
    """What a metric of a history usually is, by what came before: an explosion may last."""

    usual: float | None = None
    """Median of the last chunk that was near the one before it."""
    strange: int = 0
    """Chunks in a row that were not."""

    def of_rows(self, values: Floats) -> Floats:
        """The level before each row; NaN values are none."""
        if not len(values):
            return values
        if self.usual is None:
            known = values[np.isfinite(values)][:FIRST]
            if not len(known):
                return np.zeros(len(values))
            # np.median would import numpy.ma: 12 ms that the first curve waits for.
            self.usual = statistics.median(known.tolist())
        chunks = np.full(-(-len(values) // CHUNK) * CHUNK, np.nan)
        chunks[: len(values)] = values
        levels = []
        for middle in medians(np.sort(chunks.reshape(-1, CHUNK), axis=1)).tolist():
            levels.append(self.usual)
            self._follow(middle)
        rows: Floats = np.repeat(np.array(levels), CHUNK)[: len(values)]
        return rows

    def _follow(self, middle: float) -> None:
        assert self.usual is not None
        if middle != middle:
            return
        near = abs(middle - self.usual) <= (ABOVE - 1) * abs(self.usual)
        self.strange = 0 if near else self.strange + 1
        if near or self.strange > SETTLED:
            self.usual, self.strange = middle, 0


class ExplosionMonitor:
    """Takes a run's records and reports what its batches show.

    Whether a run judges itself is known from its first status, and a history may bring its batches
    before that: what they show is held until then.
    """

    def __init__(
        self,
        rules: SpikeRules | None = None,
        boot: str = "",
        held: tuple[Event, ...] = (),
    ) -> None:
        self._rules = rules
        self._above = ABOVE if rules is None else min(ABOVE, rules.least_ratio)
        self._boot = boot
        self._run_reports: bool | None = None
        """Whether the run has a guard that judges it, or reported an explosion itself."""
        self._held = list(held)
        """What was found while that was not known, of earlier boots as well."""
        self._rows = 0
        self._detectors = ComponentDetectors(rules=rules)
        self._weights: dict[str, float] = {}
        self._unjudged: deque[tuple[BatchBlock, int, int]] = deque()
        """Stretches of rows that were looked through but not judged, the newest last."""
        self._since = STRETCH
        """Batches since the last finding."""
        self._rank = 0
        """How loud the event of this stretch was."""
        self._levels: dict[str, _Level] = {}
        """Where each metric of a history was last."""
        self._attempt = 0

    def observe(self, record: Record) -> Iterator[Event]:
        """Take one more record; returns the events that belong behind it."""
        if isinstance(record, RunInfo):
            self._begin(record)
        elif isinstance(record, Announced):
            self._learn(record.metrics)
        elif isinstance(record, Status):
            if mode_detects(record.guard):
                self._stop_reporting()
            elif record.guard or self._rows:  # one before the first batch may precede a guard
                self._run_reports = bool(self._run_reports)
                yield from self._release_held()
        elif isinstance(record, Event) and record.kind == "explode":
            self._stop_reporting()
        elif isinstance(record, Link) and record.state == "ended":
            yield from self._release_held()
        elif isinstance(record, BatchBlock) and record.rows:
            yield from self._observe_batches(record)

    def _observe_batches(self, block: BatchBlock) -> Iterator[Event]:
        self._rows += block.rows
        if block.weights:
            self._weights = dict(block.weights)
        if block.attempt != self._attempt:
            self._attempt, self._since = block.attempt, STRETCH
        if self._run_reports is None:
            self._held += self._search(block)
        elif not self._run_reports:
            yield from self._search(block)

    def _stop_reporting(self) -> None:
        self._run_reports = True
        self._held.clear()

    def _release_held(self) -> Iterator[Event]:
        held, self._held = self._held, []
        yield from held

    def _begin(self, info: RunInfo) -> None:
        if info.boot != self._boot:
            ExplosionMonitor.__init__(self, self._rules, info.boot, tuple(self._held))
        self._learn(info.metrics)

    def _learn(self, specs: tuple[MetricSpec, ...]) -> None:
        self._weights |= {spec.name: spec.weight for spec in specs if spec.weight}

    def _search(self, block: BatchBlock) -> Iterator[Event]:
        if block.rows <= LIVE_ROWS:
            yield from self._judge(block, 0, block.rows, least="warn")
            return
        at = 0
        for first, end in _stretches(self._high(block)):
            self._skip(block, at, first)
            yield from self._judge(block, first, end, least="explode")
            at = end
        self._skip(block, at, block.rows)

    def _high(self, block: BatchBlock) -> NDArray[np.bool_]:
        """Which batches of a history may be part of an explosion."""
        high = np.zeros(block.rows, np.bool_)
        for name, column in block.columns.items():
            if name == GRAD_NORM or not self._detectors.watches(name, self._weights):
                continue
            values = np.asarray(column.values, np.float64)
            logged = np.ones(len(values), np.bool_) if column.present is None else column.present
            usual = self._levels.setdefault(name, _Level()).of_rows(
                np.where(logged & np.isfinite(values), values, np.nan)
            )
            high |= logged & ~(np.abs(values - usual) <= (self._above - 1) * np.abs(usual))
        return high

    def _skip(self, block: BatchBlock, first: int, end: int) -> None:
        if first >= end:
            return
        self._since += end - first
        self._unjudged.append((block, first, end))
        while len(self._unjudged) > 1 and (
            sum(stop - start for _, start, stop in self._unjudged)
            - (self._unjudged[0][2] - self._unjudged[0][1])
            >= BEFORE
        ):
            self._unjudged.popleft()

    def _judge(self, block: BatchBlock, first: int, end: int, least: str) -> Iterator[Event]:
        left = BEFORE
        before = []
        while self._unjudged:
            known, start, stop = self._unjudged.pop()
            before.append((known, max(start, stop - left), stop))
            left -= stop - start
        for known, start, stop in reversed(before):
            for _ in self._detectors.observe_rows(known, self._weights, start, stop):
                pass  # teaches what is usual; nothing in it stands out
        for row, judgement in self._detectors.observe_rows(block, self._weights, first, end):
            event = self._finding(block, row, judgement, least)
            if event is not None:
                yield event

    def _finding(
        self, block: BatchBlock, row: int, judgement: Judgement, least: str
    ) -> Event | None:
        """An event where a stretch of high batches begins, or where its warning became more."""
        rank = _RANK.get(judgement.level, 0)
        if rank < _RANK[least]:
            self._since += 1
            return None
        known, self._since = self._since < STRETCH and rank <= self._rank, 0
        if known:
            return None
        self._rank = rank
        column = block.columns[judgement.metric]
        value, verdict = float(column.values[row]), judgement.verdict
        step, time = int(block.step[row]), float(block.time[row])
        return Event(
            id=f"{self._boot[:8]}-seen-{block.attempt}-{step}-{judgement.level}",
            kind=judgement.level,
            step=step,
            attempt=block.attempt,
            time=time if time == time else 0.0,
            severity="error" if judgement.level == "explode" else "warn",
            text=f"{judgement.metric} {value:.4g}: {verdict.reason}",
            data=_details(judgement, value),
        )


def _details(judgement: Judgement, value: float) -> Mapping[str, object]:
    verdict = judgement.verdict
    return {
        "metric": judgement.metric,
        "value": value,
        "z": float(verdict.z),
        "ratio": float(verdict.ratio),
        "by": BY,
    }


def _stretches(high: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """First and end of each run of rows that are high or not long behind one that is."""
    rows = np.flatnonzero(high)
    if not len(rows):
        return
    gaps = np.flatnonzero(np.diff(rows) > AFTER)
    for first, last in zip(
        rows[np.append(0, gaps + 1)].tolist(), rows[np.append(gaps, -1)].tolist(), strict=True
    ):
        yield first, min(len(high), last + 1 + AFTER)
