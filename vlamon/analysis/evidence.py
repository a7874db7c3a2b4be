"""A finished (or running) training as columns of evidence: what every diagnosis looks at.

Pure: records go in, arrays come out. Three views of a metric exist side by side, because logs give
them so: its fine series (batches, or means over the batches between two lines), the averages that a
running-average log printed at each epoch's end, and the epoch lines of `log_train.txt`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vlamon.analysis.interleaved import jobs_of
from vlamon.analysis.log_end import LogEnd
from vlamon.analysis.main_loss import is_trained_loss, main_loss
from vlamon.analysis.printed_settings import PrintedSetting
from vlamon.analysis.series import Bools, Floats, Grain, Ints, Series
from vlamon.analysis.settings import REFERENCE_VOCAB, RunSettings, Settings, choose
from vlamon.records import (
    BatchBlock,
    Column,
    EpochBlock,
    EpochRow,
    Event,
    IntervalBlock,
    Record,
    RunInfo,
)


@dataclass(frozen=True, slots=True)
class KeyOrder:
    """The order in which an epoch wrote its meters."""

    where: str
    """Epoch and file, for a person."""
    names: tuple[str, ...]
    """Meters in the order of the line."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the rules look at."""

    fine: Mapping[str, Series]
    """Per batch or per interval, by metric; empty where the logs hold epoch lines alone."""
    lines: Mapping[str, Series]
    """Epoch lines of the training split."""
    reduced: Mapping[str, Series]
    """Averages over each epoch as the batch log saw them: one rank, not all."""
    evaluations: Mapping[str, Mapping[str, Series]]
    """Validation averages by split and metric."""
    weights: Mapping[str, float]
    """Weights of the total."""
    assumed: bool
    """Whether these weights are the reference's and not the run's own."""
    settings: Settings
    """Settings that the user gave."""
    clip: float | None
    """Gradient clipping, None where unknown."""
    vocab: int = REFERENCE_VOCAB
    """Vocabulary that closs is measured against."""
    events: tuple[Event, ...] = ()
    """Events that the run reported: explosions, rollbacks, verdicts."""
    orders: tuple[KeyOrder, ...] = ()
    """Order of the meters, line by line, where a log shows it."""
    restarts: tuple[str, ...] = ()
    """Where attempts after the first one begin, those of rollbacks aside."""
    not_inverted: tuple[str, ...] = ()
    """Meters whose interval means cannot be recovered."""
    end: LogEnd | None = None
    """The crash that the logs end in."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where each weight and other setting comes from: `clip 25` → `output.log:3, clip_grad=25`."""
    other_jobs: tuple[int, ...] = ()
    """Rows of each further job that writes to the same log; they are left out."""
    names: tuple[str, ...] = ()
    """All metrics, in order of first appearance."""

    @property
    def main(self) -> str | None:
        """The loss that matters most."""
        return main_loss([*self.fine, *self.lines])

    @property
    def mains(self) -> tuple[str, ...]:
        """The main loss, then that of the batches or of the epoch lines where it is another."""
        found = (self.main, main_loss(self.fine), main_loss(self.lines))
        return tuple(dict.fromkeys(name for name in found if name is not None))

    def is_trained(self, name: str) -> bool:
        """Whether the training minimizes this metric: it has a weight, or the name of a loss."""
        return name in self.weights or name in self.mains or is_trained_loss(name)

    @property
    def scales_loss(self) -> bool:
        """Whether a dynamic loss scale is logged, which skips steps of infinite gradients."""
        return any("loss_scale" in name.replace("-", "_").lower() for name in self.names)

    def best(self, name: str) -> Series | None:
        """The finest series of a metric."""
        return self.fine.get(name) or self.reduced.get(name) or self.lines.get(name)

    def by_epoch(self, name: str) -> Series | None:
        """One value an epoch; the batch log's where there is one, for epoch lines can be mixed."""
        reduced = self.reduced.get(name)
        return reduced if reduced is not None and len(reduced) > 1 else self.lines.get(name)

    def latest(self, name: str) -> float | None:
        """What the metric amounts to now: the median of its last few values."""
        series = self.best(name)
        if series is None or not len(series.finite):
            return None
        count = 1 if series.grain == "epoch" else 10
        return float(np.median(series.finite[-count:]))


def gather(
    records: Iterable[Record],
    settings: Settings | None = None,
    orders: Sequence[KeyOrder] = (),
    end: LogEnd | None = None,
    printed: Sequence[PrintedSetting] = (),
) -> Evidence:
    """Arrange a run's records as evidence."""
    settings = settings or Settings()
    taken = _Taken()
    for record in records:
        taken.take(record)
    fine, other_jobs = _longest_job(taken.batches.series() or taken.bounded_intervals())
    lines = taken.splits.pop("train", _Rows("epoch")).series()
    reduced = taken.printed.ends() or (_means(fine) if taken.batches.blocks else {})
    names = tuple(dict.fromkeys([*fine, *reduced, *lines]))
    reference = "loss_ct" in names or "closs" in names
    chosen = choose(
        names, settings, RunSettings(taken.weights, taken.vocab), printed if reference else ()
    )
    return Evidence(
        fine=fine,
        lines=lines,
        reduced=reduced,
        evaluations={split: rows.series() for split, rows in taken.splits.items()},
        weights=chosen.weights,
        assumed=chosen.assumed,
        settings=settings,
        clip=chosen.clip,
        vocab=chosen.vocab,
        origins=chosen.origins,
        events=tuple(taken.events),
        orders=tuple(orders),
        restarts=tuple(_restarts(fine or lines, taken.events)),
        not_inverted=tuple(taken.not_inverted),
        end=end,
        other_jobs=other_jobs,
        names=names,
    )


def _longest_job(fine: Mapping[str, Series]) -> tuple[Mapping[str, Series], tuple[int, ...]]:
    """The series of one job where several write to one log, and how many rows the others have."""
    main = main_loss(fine)
    if main is None:
        return fine, ()
    jobs = jobs_of(fine[main])
    if len(jobs) < 2:
        return fine, ()
    own = {name: series.take(jobs_of(series)[0]) for name, series in fine.items()}
    one_run = {n: replace(s, attempt=np.zeros(len(s), np.int64)) for n, s in own.items()}
    return one_run, tuple(len(job) for job in jobs[1:])


class _Rows:
    """Blocks of one grain, joined into series at the end."""

    def __init__(self, grain: Grain) -> None:
        self.grain: Grain = grain
        self.blocks: list[tuple[Mapping[str, Column], Ints, Floats, Ints, Ints, int, bool]] = []

    def add(
        self,
        columns: Mapping[str, Column],
        step: Ints,
        epoch: Floats,
        attempt: int,
        first: Ints | None = None,
        last: Ints | None = None,
        averaged: bool = True,
    ) -> None:
        nowhere = np.full(len(epoch), -1, np.int64)
        self.blocks.append(
            (
                columns,
                step,
                epoch,
                nowhere if first is None else first,
                nowhere if last is None else last,
                attempt,
                averaged,
            )
        )

    def series(self) -> dict[str, Series]:
        """Each metric of these blocks."""
        names = dict.fromkeys(name for block in self.blocks for name in block[0])
        return {name: self._series(name) for name in names}

    def _series(self, name: str) -> Series:
        parts: list[tuple[Floats, Ints, Floats, Ints, Ints, Ints, Bools]] = []
        for columns, step, epoch, first, last, attempt, averaged in self.blocks:
            column = columns.get(name)
            if column is None:
                continue
            keep = slice(None) if column.present is None else np.flatnonzero(column.present)
            values = np.asarray(column.values, np.float64)[keep]
            attempts = np.full(len(values), attempt, np.int64)
            of_means = np.full(len(values), averaged)
            where = (step[keep], epoch[keep], first[keep], last[keep])
            parts.append((values, *where, attempts, of_means))
        values, step, epoch, first, last, attempts, of_means = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        bound = np.zeros(len(values))
        return Series(name, self.grain, values, step, epoch, first, last, attempts, bound, of_means)

    def ends(self) -> dict[str, Series]:
        """Each metric's last value of each epoch (of its last attempt)."""
        out = {}
        for name, series in self.series().items():
            turns = np.flatnonzero(np.diff(series.epoch) != 0)
            rows = np.append(turns, len(series) - 1)
            newest = {float(series.epoch[row]): int(row) for row in rows}
            out[name] = series.take(np.array(sorted(newest.values())), "epoch")
        return out


class _Taken:
    """Records sorted by what they are."""

    def __init__(self) -> None:
        self.batches = _Rows("batch")
        self.intervals = _Rows("interval")
        self.printed = _Rows("interval")
        self.bounds = _Rows("interval")
        self.splits: dict[str, _Rows] = {}
        self.weights: dict[str, float] = {}
        self.not_inverted: dict[str, None] = {}
        self.vocab: int | None = None
        self.events: list[Event] = []
        self._rows = 0

    def take(self, record: Record) -> None:
        """Sort one record in; what is no evidence is left out."""
        if isinstance(record, BatchBlock):
            self.weights.update(record.weights)
            where = (record.step, record.epoch, record.attempt)
            self.batches.add(record.columns, *where, averaged=record.averaged)
        elif isinstance(record, IntervalBlock):
            self._take_intervals(record)
        elif isinstance(record, EpochBlock):
            self._take_epochs(record)
        elif isinstance(record, EpochRow):
            self._take_epoch(record)
        elif isinstance(record, Event):
            self.events.append(record)
        elif isinstance(record, RunInfo):
            self.vocab = record.vocab or self.vocab
            announced = {m.name: m.weight for m in record.metrics if m.weight is not None}
            self.weights.update(announced)

    def _take_intervals(self, block: IntervalBlock) -> None:
        step = block.step
        if step is None:
            step = np.arange(self._rows, self._rows + block.rows)
        self._rows += block.rows
        epoch = block.epoch.astype(np.float64)
        # A meter that is printed as one number is a current value, not an average over the epoch.
        single = {n: numbers[0] for n, numbers in block.printed.items() if len(numbers) == 1}
        averages = {n: numbers[1] for n, numbers in block.printed.items() if len(numbers) == 2}
        columns = {**block.metrics, **single}
        self.intervals.add(columns, step, epoch, block.attempt, block.first, block.last)
        self.printed.add(averages, step, epoch, block.attempt, block.first, block.last)
        self.bounds.add(block.bound, step, epoch, block.attempt, block.first, block.last)
        self.not_inverted.update(dict.fromkeys(block.not_inverted))

    def bounded_intervals(self) -> dict[str, Series]:
        """Interval means with the bounds of those that were recovered."""
        bounds = self.bounds.series()
        return {
            name: replace(series, bound=bounds[name].values) if name in bounds else series
            for name, series in self.intervals.series().items()
        }

    def _take_epochs(self, block: EpochBlock) -> None:
        rows = self.splits.setdefault(block.split, _Rows("epoch"))
        step = block.step if block.step is not None else np.arange(block.rows)
        rows.add(block.columns, step, block.epoch, block.attempt)

    def _take_epoch(self, row: EpochRow) -> None:
        rows = self.splits.setdefault(row.split, _Rows("epoch"))
        columns = {name: Column(np.array([value])) for name, value in row.metrics.items()}
        step = np.array([len(rows.blocks) if row.step is None else row.step], np.int64)
        rows.add(columns, step, np.array([row.epoch], np.float64), row.attempt)


def _means(fine: Mapping[str, Series]) -> dict[str, Series]:
    """Per-epoch means of the batches that the run kept; none where batches know no epoch."""
    out = {}
    for name, series in fine.items():
        # An epoch that was left for good in a rollback has none that were kept, and still a mean.
        whole, kept = np.floor(series.epoch), series.kept
        epochs = np.unique(whole[np.isfinite(whole)])
        if not len(epochs):
            continue
        of = [np.flatnonzero(whole == epoch) for epoch in epochs]
        counted = [rows[kept[rows]] if kept[rows].any() else rows for rows in of]
        picked = series.take(np.array([rows[-1] for rows in counted]), "epoch")
        values = np.array([np.mean(series.values[rows]) for rows in counted])
        out[name] = replace(picked, values=values, epoch=epochs, averaged=np.full(len(of), True))
    return out


def _restarts(series: Mapping[str, Series], events: Sequence[Event]) -> Iterable[str]:
    """Where the attempt rises without a rollback, read from the metric that shows most."""
    rolled_back = {event.attempt for event in events if event.kind == "rollback"}
    longest = max(series.values(), key=len, default=None)
    if longest is None:
        return
    for row in np.flatnonzero(np.diff(longest.attempt) > 0) + 1:
        if int(longest.attempt[row]) not in rolled_back:
            yield longest.place(int(row))
