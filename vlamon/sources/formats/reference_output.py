"""`output.log`: what a MetricLogger prints every few iterations, mixed with anything else.

    [rank0:INFO|misc.py:146] 2025-11-24 12:40:31,077 >> Epoch: [0]  [10/1312]  lr: 0.000004
      closs: 13.1817 (13.1817)  …  time: 2.9370  data: 0.1802  samples/sec: 21.79  max mem: 61873

(one line in the file). Numbers in parentheses are averages since the epoch began; what the batches
between two lines really had is recovered by `vlamon.analysis.desmear`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vlamon.analysis.desmear import Desmearer, Recovered
from vlamon.records import Column, EpochRow, IntervalBlock, Record, RunInfo
from vlamon.sources.formats import Format, UnknownLines
from vlamon.sources.formats.epoch_ends import EpochEnds
from vlamon.sources.formats.process_clock import ProcessClock
from vlamon.sources.formats.rows import MOST_NAMES
from vlamon.sources.formats.shapes import Layout, ShapeReader, Sheet, Span, merge, pieces_of

MARK = b"Epoch: ["
_NUMBER = rb"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|nan|inf)"
# Nine digits a count: more are damage, and an epoch times its length has to stay a step.
_HEAD = re.compile(rb"Epoch: \[(\d{1,9})(?:/\d{1,9})?\]  \[ *(\d{1,9})/(\d{1,9}|unknown)\](?=\s)")
_STAMP = re.compile(rb"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d),(\d{3})")
_METER = re.compile(
    rb"([A-Za-z_][\w./-]*): (" + _NUMBER + rb")(?: \((" + _NUMBER + rb")\))?(?=\s|$)", re.ASCII
)
_RANK = re.compile(rb"\[rank(\d+):")
_STAMP_NAMES = ("@year", "@month", "@day", "@hour", "@minute", "@second", "@millisecond")
_AVERAGE = "()"
"""Behind a column's name: the number in parentheses."""

_OCCASIONAL = ("acc_", "l1_", "accuracy")
"""Meters updated only by batches that have such a target: their counts are not on the line."""

_NEVER_NEGATIVE = frozenset({"closs", "loss_ct", "z_loss", "grad_norm"})
"""Cross-entropy, absolute error, a square and a norm."""

_MOSTLY = 0.5
"""Share of a block's lines on which a recovered mean has to say something."""
_PIECE = 1 << 20
"""Bytes read at once: more need more memory for the work and are no faster."""


def layout_of(line: bytes) -> Layout | None:
    """Where one line of a MetricLogger holds its numbers; None if it is no such line."""
    head = _HEAD.search(line)
    if head is None:
        return None
    rank = _RANK.search(line, 0, head.start())
    if rank is not None and rank.group(1).strip(b"0"):
        return None
    names: list[str] = []
    spans: list[Span] = []
    fixed: list[Span] = [] if rank is None else [rank.span(1)]
    stamps = list(_STAMP.finditer(line, 0, head.start()))
    if stamps:
        names += _STAMP_NAMES
        spans += [stamps[-1].span(part) for part in range(1, 8)]
    names += ["@epoch", "@iteration"]
    spans += [head.span(1), head.span(2)]
    if head.group(3) != b"unknown":
        names.append("@total")
        spans.append(head.span(3))
    meters = 0
    for meter in _METER.finditer(line, head.end()):
        name = meter.group(1).decode()
        if name == "mem" or name in names:
            continue
        meters += meter.group(3) is not None
        names.append(name)
        spans.append(meter.span(2))
        fixed.append(meter.span(1))
        if meter.group(3) is not None:
            names.append(name + _AVERAGE)
            spans.append(meter.span(3))
    return Layout(tuple(names), tuple(spans), tuple(fixed)) if meters else None


class OutputLogParser:
    """Parses blocks of lines into intervals; remembers the running epoch only."""

    def __init__(self, path: str = "", *, middle: bool = False) -> None:
        self.unknown = UnknownLines()
        self.path = path
        self.attempt = 0
        self._shapes = ShapeReader(layout_of, MARK)
        self._desmearer = Desmearer(head_missing=middle or path == "-")
        self._lines = 0
        self._ends = EpochEnds(_METER)
        self._meters: list[str] = []
        self._total = 0
        self._clock = ProcessClock()
        self._latest: dict[str, float] = {}
        self._reached: tuple[int, int] = (-1, -1)
        self.orders: list[tuple[int, tuple[str, ...]]] = []
        """Epoch, and the order of its meters on its first line, wherever that order changed."""

    @property
    def averaged(self) -> list[EpochRow]:
        """Each epoch's averages over all ranks, for a reader that has no log_train.txt."""
        return self._ends.averaged

    def feed(self, data: bytes) -> list[Record]:
        """Records of these whole lines."""
        sheets: list[Sheet] = []
        read = 0
        for piece in pieces_of(data, _PIECE):
            block = self._shapes.read(piece)
            sheets += [replace(sheet, rows=sheet.rows + read) for sheet in block.sheets]
            for row, line in block.rest:
                number = self._lines + read + row + 1
                if line.strip() and not self._ends.know(number, line, self.attempt):
                    self.unknown.add(number, line)
            read += block.lines
        self._lines += read
        records = self._intervals(tuple(sheets)) if sheets else []
        return [*records, *self._ends.take()]

    def finish(self) -> list[Record]:
        """Nothing waits for a further line."""
        return []

    def _intervals(self, sheets: tuple[Sheet, ...]) -> list[Record]:
        for sheet in sheets:
            known = self._meters
            known += [name for name in self._meter_names(sheet.names) if name not in known]
        del self._meters[MOST_NAMES:]
        lines = _Printed.of(sheets, tuple(self._meters))
        self._note_orders(sheets, lines.epoch)
        lines = lines.without_repeats(self._latest)
        if not len(lines.epoch):
            return []
        self._latest = lines.numbers(-1)
        epoch, iteration = lines.epoch, lines.iteration
        resumed = self._clock.restarts(epoch, iteration, lines.time, lines.row("time"))
        invertible = [n for n in lines.meters if not n.startswith(_OCCASIONAL)]
        averages = [name + _AVERAGE for name in invertible]
        recovered = self._desmearer.feed(
            epoch,
            iteration,
            lines.table(averages),
            lines.table(invertible),
            lines.presence(averages),
            resumed,
            np.array([name in _NEVER_NEGATIVE for name in invertible], bool),
        )
        records: list[Record] = []
        total = lines.total
        if total and total != self._total:
            self._total = total
            records.append(RunInfo(self.path, "", steps_per_epoch=total, source=self.path))
        step = epoch * self._total + iteration if self._total else None
        for begin, end in self._attempts(epoch, iteration, recovered.restarted):
            cut = slice(begin, end)
            window = lines.table(invertible)[cut]
            metrics, bound = _recovered_columns(recovered, invertible, cut, window)
            printed = lines.columns(cut)
            updated = {
                name
                for name, always in zip(invertible, recovered.invertible[cut].T, strict=True)
                if always.any()
            }
            records.append(
                IntervalBlock(
                    epoch=epoch[cut],
                    first=recovered.first[cut],
                    last=iteration[cut],
                    metrics=metrics,
                    bound=bound,
                    printed=printed,
                    step=None if step is None else step[cut],
                    time=lines.time[cut],
                    attempt=self.attempt,
                    not_inverted=tuple(
                        name for name in lines.meters if name in printed and name not in updated
                    ),
                )
            )
            self.attempt += end < len(epoch)
        return records

    def _note_orders(self, sheets: tuple[Sheet, ...], epoch: NDArray[np.int64]) -> None:
        before = np.concatenate([[self._reached[0]], epoch[:-1]])
        changed = np.flatnonzero(epoch != before)
        if not len(changed):
            return
        rows = np.concatenate([sheet.rows for sheet in sheets])
        owner = np.repeat(np.arange(len(sheets)), [len(sheet.rows) for sheet in sheets])
        if np.any(rows[1:] < rows[:-1]):
            owner = owner[np.argsort(rows, kind="stable")]
        for row in changed.tolist():
            sheet = sheets[int(owner[row])]
            names = self._meter_names(sheet.names)
            if not self.orders or self.orders[-1][1] != names:
                self.orders.append((int(epoch[row]), names))

    @staticmethod
    @cache
    def _meter_names(columns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(n[: -len(_AVERAGE)] for n in columns if n.endswith(_AVERAGE))

    def _attempts(
        self,
        epoch: NDArray[np.int64],
        iteration: NDArray[np.int64],
        restarted: NDArray[np.bool_],
    ) -> list[tuple[int, int]]:
        """Cut where a later line is no later in training: the run was restarted there."""
        epochs = np.concatenate([[self._reached[0]], epoch])
        iterations = np.concatenate([[self._reached[1]], iteration])
        back = (epochs[1:] < epochs[:-1]) | (
            (epochs[1:] == epochs[:-1]) & (iterations[1:] <= iterations[:-1])
        )
        cuts = np.flatnonzero(back | restarted).tolist()
        self._reached = (int(epoch[-1]), int(iteration[-1]))
        if cuts and cuts[0] == 0:
            self.attempt += 1
            cuts = cuts[1:]
        return list(pairwise([0, *cuts, len(epoch)]))


@dataclass(frozen=True, slots=True)
class _Printed:
    """The numbers of a block of lines: one row a column of the log, one column a line."""

    meters: tuple[str, ...]
    """Meters printed as two averages."""
    singles: tuple[str, ...]
    """What is printed as one number."""
    epoch: NDArray[np.int64]
    iteration: NDArray[np.int64]
    total: int
    """Iterations in an epoch, 0 where no line says so."""
    time: NDArray[np.float64]
    place: Mapping[str, int]
    """Row of each name; averages since the epoch's begin end with `()`."""
    cells: NDArray[np.float64]
    there: NDArray[np.bool_]

    @classmethod
    def of(cls, sheets: tuple[Sheet, ...], meters: tuple[str, ...]) -> _Printed:
        """Lay the sheets of a block into one table, in the log's order."""
        averages = tuple(name + _AVERAGE for name in meters)
        others = dict.fromkeys(name for sheet in sheets for name in sheet.names)
        taken = {*meters, *averages}
        singles = tuple(n for n in others if n[0] != "@" and n not in taken)[:MOST_NAMES]
        heads = ("@epoch", "@iteration", "@total", *_STAMP_NAMES)
        names = (*meters, *averages, *singles)
        _, table, present = merge(sheets, [*heads, *names])
        totals = table[present[:, 2], 2]
        return cls(
            meters=meters,
            singles=singles,
            epoch=table[:, 0].astype(np.int64),
            iteration=table[:, 1].astype(np.int64),
            total=int(totals[-1]) if len(totals) else 0,
            time=_seconds(table[:, 3 : len(heads)]),
            place={name: row for row, name in enumerate(names)},
            # Rows of their own, so that a block keeps what it shows and not the whole table.
            cells=np.ascontiguousarray(table[:, len(heads) :].T),
            there=np.ascontiguousarray(present[:, len(heads) :].T),
        )

    def without_repeats(self, latest: Mapping[str, float]) -> _Printed:
        """Leave out lines that only repeat the one before: two handlers print each line twice.

        `latest` are the numbers of the last line before these.
        """
        keep = np.ones(len(self.epoch), bool)
        again = (self.epoch[1:] == self.epoch[:-1]) & (self.iteration[1:] == self.iteration[:-1])
        for row in (np.flatnonzero(again) + 1).tolist():
            before, now = self.cells[:, row - 1], self.cells[:, row]
            same = (self.there[:, row - 1] == self.there[:, row]) & (
                (before == now) | ~self.there[:, row] | (np.isnan(before) & np.isnan(now))
            )
            keep[row] = not same.all()
        keep[0] = not _same(latest, self.numbers(0))
        if keep.all():
            return self
        return replace(
            self,
            epoch=self.epoch[keep],
            iteration=self.iteration[keep],
            time=self.time[keep],
            cells=np.ascontiguousarray(self.cells[:, keep]),
            there=np.ascontiguousarray(self.there[:, keep]),
        )

    def numbers(self, row: int) -> dict[str, float]:
        """What one line prints, by name; with the place that it has in training."""
        found = {"@epoch": float(self.epoch[row]), "@iteration": float(self.iteration[row])}
        for name, at in self.place.items():
            if self.there[at, row]:
                found[name] = float(self.cells[at, row])
        return found

    def row(self, name: str) -> NDArray[np.float64]:
        """One column of the log, NaN where it was not printed."""
        at = self.place.get(name)
        return np.full(len(self.epoch), np.nan) if at is None else self.cells[at]

    def table(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Lines × names."""
        return self.cells[[self.place[name] for name in names]].T

    def presence(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """Lines × names: whether a cell was printed."""
        return self.there[[self.place[name] for name in names]].T

    def columns(self, cut: slice) -> dict[str, tuple[Column, ...]]:
        """What these lines print, two numbers a meter."""
        printed: dict[str, tuple[Column, ...]] = {}
        for name in (*self.meters, *self.singles):
            rows = [self.place[name]]
            if name + _AVERAGE in self.place:
                rows.append(self.place[name + _AVERAGE])
            if self.there[rows[0], cut].any():
                printed[name] = tuple(_column(self.cells[r, cut], self.there[r, cut]) for r in rows)
        return printed


def _recovered_columns(
    recovered: Recovered, names: Sequence[str], cut: slice, window: NDArray[np.float64]
) -> tuple[dict[str, Column], dict[str, Column]]:
    """Recovered means and their bounds by name, for the meters that have any.

    `window` are the first numbers of the lines. Where rounding alone may be as large as they are,
    as with a learning rate of `0.000002 (0.000001)`, the recovered mean is noise, and the first
    number says more.
    """
    means: dict[str, Column] = {}
    bounds: dict[str, Column] = {}
    says = ~(recovered.bound[cut] >= np.abs(window))
    for column, name in enumerate(names):
        known = recovered.known[cut, column]
        if known.any() and np.mean(says[known, column]) >= _MOSTLY:
            # Copies: a view would keep the means of all other meters alive.
            means[name] = _column(recovered.mean[cut, column].copy(), known)
            bounds[name] = _column(recovered.bound[cut, column].copy(), known)
    return means, bounds


def _same(before: Mapping[str, float], now: Mapping[str, float]) -> bool:
    return before.keys() == now.keys() and all(
        now[name] == value or (now[name] != now[name] and value != value)
        for name, value in before.items()
    )


def _seconds(stamps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds since the epoch of local time stamps; NaN where a line has none."""
    out = np.full(len(stamps), np.nan)
    there = ~np.isnan(stamps[:, 0])
    hours, which = np.unique(stamps[there, :4].astype(np.int64), axis=0, return_inverse=True)
    try:
        begins = np.array([datetime(*hour.tolist()).timestamp() for hour in hours])
    except (ValueError, OverflowError):
        return out
    if len(begins):
        rest = stamps[there, 4] * 60 + stamps[there, 5] + stamps[there, 6] / 1000
        out[there] = begins[which.reshape(-1)] + rest
    return out


def _column(values: NDArray[np.float64], present: NDArray[np.bool_]) -> Column:
    return Column(values, None if present.all() else present)


def recognises(head: bytes, path: str) -> int:
    """A line with an epoch, an iteration and meters is no chance."""
    return 95 if any(layout_of(line) for line in head.splitlines() if MARK in line) else 0


FORMAT = Format(
    name="reference-output",
    title="output.log of a MetricLogger: running averages every few iterations",
    example="Epoch: [0]  [10/1312]  lr: 0.000005  closs: 13.1817 (13.1817)  time: 2.9370",
    recognises=recognises,
    open=OutputLogParser,
    open_middle=lambda path: OutputLogParser(path, middle=True),
)
