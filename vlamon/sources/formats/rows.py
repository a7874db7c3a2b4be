"""Rows of a log that prints values step by step, gathered into blocks."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Protocol

import numpy as np

from vlamon.records import BatchBlock, Column, EpochRow, Record
from vlamon.sources.formats import UnknownLines

NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|NaN|inf|Inf|Infinity)"
MOST_STEPS = float(1 << 53)
"""Steps from here on are damage: a float no longer tells one from the next."""
MOST_EPOCHS = float(1 << 31)
"""Epochs from here on are damage: times its length, such an epoch would be no step any more."""
MOST_NAMES = 1024
"""Metrics of one log; further names are dropped: text that looks like metrics has a new one a line,
and every name costs a column."""
_MOST_CELLS = 1 << 22
"""Rows times names of one block, for the same reason."""
_MOST_SECONDS = 253_402_300_800.0
"""Times from here on, the year 10000, are no dates."""
_LEVEL = r"(?:DEBUG|INFO|WARNING|WARN|ERROR)\b"
_APART = r"(?:\s{0,12}(?:[-|>:]|>>)?[ \t])?"
_TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_PLACE = r"\[[^\]]{1,60}\]|[\w.]{1,60}(?::[\w<>.]{1,60}){0,2}(?= {1,3}[-|>])"
_FRONT = re.compile(
    rf"\[?(?:{_TIME}|{_LEVEL}(?::[\w.]{{1,60}}:)?)\]?(?:{_APART}(?:{_LEVEL}|{_PLACE})){{0,6}}{_APART}"
)
"""What a logger puts in front of a message: time, level, its name, a place in the code."""
_STAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,6}))?")


@dataclass(frozen=True, slots=True)
class LogRow:
    """One line's worth of values."""

    metrics: Mapping[str, float]
    """Values by name."""
    step: int | None = None
    """Step as logged; None where the log does not count."""
    epoch: float | None = None
    """Epoch, possibly fractional."""
    time: float | None = None
    """Seconds since the epoch."""
    split: str = ""
    """Empty for a training step; else the values are averages over this split."""
    of: int | None = None
    """Where the step is counted up to: the `1312` of `10/1312`."""
    averaged: bool = False
    """Whether the values are means over the steps since the row before."""


def counted(
    metrics: Mapping[str, float],
    step: float | str | None = None,
    epoch: float | None = None,
    time: float | None = None,
    split: str = "",
    of: int | None = None,
    averaged: bool = False,
) -> tuple[LogRow, ...]:
    """The row of these values; none where its step or epoch, as printed, cannot be a count.

    Every format's rows come from here, so that no absurd count of a damaged line goes further.
    """
    place = None if step is None else number(step)
    if step is not None and (place is None or not 0 <= place < MOST_STEPS):
        return ()
    if epoch is not None and not 0 <= epoch < MOST_EPOCHS:
        return ()
    if time is not None and not 0 <= time < _MOST_SECONDS:
        time = None
    step = None if place is None else int(place)
    return (LogRow(metrics, step, epoch, time, split, of, averaged),)


@dataclass(slots=True)
class RowBlocks:
    """Makes blocks of rows; a step that falls back begins a new attempt.

    Many scripts count steps within an epoch. Where the epoch has gone on, or the count had come to
    its end, a step that falls goes on from there; an epoch that falls is a new attempt.
    """

    attempt: int = 0
    """Attempt of the rows to come."""
    rows: int = 0
    """Training rows so far."""
    step: int | None = None
    """Last step, counted through all epochs."""
    epoch: float | None = None
    """Last epoch."""
    _held: list[LogRow] = field(default_factory=list)
    _names: dict[str, None] = field(default_factory=dict)
    _printed: int | None = None
    """Last step as it was printed."""
    _of: int | None = None
    _stride: int = 1
    """Steps between the last two rows of one epoch."""
    _before: int = 0
    """Steps of the epochs before this one, where steps are counted within their epoch."""

    def records(self, rows: Iterable[LogRow]) -> list[Record]:
        """Records of these rows, in their order."""
        out: list[Record] = []
        for row in map(self._bounded, rows):
            if row.split:
                out += self._block()
                epoch = row.epoch if row.epoch is not None else self.epoch
                step = row.step if row.step is not None else self.step
                out.append(
                    EpochRow(
                        epoch=math.nan if epoch is None else epoch,
                        split=row.split,
                        metrics=row.metrics,
                        attempt=self.attempt,
                        step=step,
                        time=row.time,
                    )
                )
                continue
            step = self._place(row)
            if self._starts_over(row, step):
                out += self._block()
                self.attempt += 1
                self._before = 0
                step = step if row.step is None else row.step
            self._printed, self._of, self.step = row.step, row.of, step
            if row.epoch is not None:
                self.epoch = row.epoch
            if self._held and self._held[0].averaged != row.averaged:
                out += self._block()
            self._held.append(row if row.step == step else _placed(row, step))
            if len(self._held) * len(self._names) > _MOST_CELLS:
                out += self._block()
        out += self._block()
        return out

    def _bounded(self, row: LogRow) -> LogRow:
        """The row without names beyond what one log may have."""
        if row.metrics.keys() <= self._names.keys():
            return row
        for name in row.metrics:
            if len(self._names) < MOST_NAMES:
                self._names[name] = None
        if row.metrics.keys() <= self._names.keys():
            return row
        return replace(row, metrics={n: v for n, v in row.metrics.items() if n in self._names})

    def _place(self, row: LogRow) -> int:
        """The row's step, counted through all epochs."""
        if row.step is None:
            return 0 if self.step is None else self.step + 1
        last = self._printed
        if last is not None and row.step <= last and self._epoch_ended(row, last):
            self._before += max(last, self._of or 0)
        elif last is not None and row.step > last:
            self._stride = row.step - last
        return self._before + row.step

    def _epoch_ended(self, row: LogRow, last: int) -> bool:
        """Whether a printed step fell because an epoch ended, and not as a run started over."""
        if row.step == last and row.of is None:
            return False
        if row.epoch is not None and self.epoch is not None and row.epoch != self.epoch:
            return int(row.epoch) > int(self.epoch)
        if row.step == last:
            return False
        complete = self._of is not None and last + self._stride > self._of
        return complete and row.of == self._of

    def _starts_over(self, row: LogRow, step: int) -> bool:
        if self.step is None:
            return False
        if step < self.step:
            return True
        falls = row.epoch is not None and self.epoch is not None and row.epoch < self.epoch
        return falls and (row.step is None or self._before > 0)

    def _block(self) -> list[Record]:
        held, self._held = self._held, []
        if not held:
            return []
        names = dict.fromkeys(name for row in held for name in row.metrics)
        columns: dict[str, Column] = {}
        for name in names:
            present = np.array([name in row.metrics for row in held])
            values = np.array([row.metrics.get(name, math.nan) for row in held], np.float64)
            columns[name] = Column(values, None if present.all() else present)
        block = BatchBlock(
            seq=self.rows,
            attempt=self.attempt,
            step=np.array([row.step for row in held], np.int64),
            epoch=np.array([math.nan if r.epoch is None else r.epoch for r in held], np.float64),
            time=np.array([math.nan if r.time is None else r.time for r in held], np.float64),
            columns=columns,
            averaged=held[0].averaged,
        )
        self.rows += len(held)
        return [block]


def _placed(row: LogRow, step: int) -> LogRow:
    """The row at this step; `replace` takes four times as long, on every row of many logs."""
    return LogRow(row.metrics, step, row.epoch, row.time, row.split, row.of, row.averaged)


class LineParser:
    """A parser for logs whose lines hold whole rows: most of them one, or none."""

    def __init__(self, read: Callable[[str], Sequence[LogRow]]) -> None:
        self.unknown = UnknownLines()
        self._read = read
        self._rows = RowBlocks()
        self._lines = 0

    def feed(self, data: bytes) -> list[Record]:
        """Records of these whole lines."""
        return self._rows.records(self._known(data))

    def finish(self) -> list[Record]:
        """Nothing waits for a further line."""
        return []

    def _known(self, data: bytes) -> Iterable[LogRow]:
        for line in data.splitlines() if b"\r" not in data else data.split(b"\n"):
            self._lines += 1
            text = line.decode("utf-8", "replace")
            rows = rows_drawn(text, self._read)
            if not rows and (message := behind_logger(text)):
                rows = rows_drawn(message, self._read)
            if rows:
                yield from rows
            elif line.strip():
                self.unknown.add(self._lines, line)


class Reader(Protocol):
    """Reads a log whose lines need those around them: tables, headings, blocks of JSON."""

    def read(self, line: str) -> Sequence[LogRow] | None:
        """The rows that this line completes, empty where it is part of one; None if unknown."""

    def rest(self) -> Sequence[LogRow]:
        """Rows that waited for a line which will not come."""


class ReaderParser:
    """A parser for logs whose rows take several lines."""

    def __init__(self, reader: Reader) -> None:
        self.unknown = UnknownLines()
        self._reader = reader
        self._rows = RowBlocks()
        self._lines = 0

    def feed(self, data: bytes) -> list[Record]:
        """Records of these whole lines."""
        return self._rows.records(self._known(data))

    def finish(self) -> list[Record]:
        """The row that the end of the file completes."""
        return self._rows.records(self._reader.rest())

    def _known(self, data: bytes) -> Iterable[LogRow]:
        for line in data.rstrip(b"\n").split(b"\n"):
            self._lines += 1
            known = False
            for drawn in line.decode("utf-8", "replace").split("\r"):
                rows = self._reader.read(drawn)
                if rows is None and (message := behind_logger(drawn)):
                    rows = self._reader.read(message)
                known |= rows is not None
                yield from rows or ()
            if not known and line.strip():
                self.unknown.add(self._lines, line)


def behind_logger(line: str) -> str:
    """The message of a line that a logger wrote; empty where none did."""
    found = _FRONT.match(line)
    return "" if found is None else line[found.end() :]


def rows_drawn(line: str, read: Callable[[str], Sequence[LogRow]]) -> Sequence[LogRow]:
    """The rows of a line on which progress bars were redrawn: the last state of each step."""
    if "\r" not in line:
        return read(line)
    kept: list[LogRow] = []
    for drawn in line.split("\r"):
        for row in read(drawn) if drawn.strip() else ():
            if kept and (kept[-1].step, kept[-1].epoch) == (row.step, row.epoch):
                kept.pop()
            kept.append(row)
    return kept


def last_drawn(line: str) -> str:
    """What a terminal would show of a line on which progress bars were redrawn."""
    if "\r" not in line:
        return line
    return line.rstrip("\r").rpartition("\r")[2]


def number(value: object) -> float | None:
    """The number that a value or a text is, None if it is none. Knows `nan`, `inf` and `1e-05`."""
    if not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except ValueError:
        return None
    except OverflowError:  # an integer of hundreds of digits
        return math.inf if int(value) > 0 else -math.inf


def seconds(value: str, unit: str) -> float:
    """A printed value; milliseconds become seconds, so that a column has one unit."""
    return round(float(value) / 1000, 12) if unit == "ms" else float(value)


def stamp(line: str) -> float | None:
    """The first time stamp of a line, as local time."""
    found = _STAMP.search(line)
    if found is None:
        return None
    minute = _minute(*found.groups()[:5])
    second, fraction = int(found.group(6)), found.group(7)
    if minute is None or second > 59:
        return None
    return minute + second + (int(fraction.ljust(6, "0")) / 1e6 if fraction else 0.0)


@lru_cache(256)
def _minute(*parts: str) -> float | None:
    """Where a minute of local time begins; most lines are of one minute."""
    try:
        return datetime(*map(int, parts)).timestamp()  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return None


def knows(head: bytes, read: Callable[[str], Sequence[LogRow]], mark: bytes) -> bool:
    """Whether a format can read any of these lines; only those with the mark are tried."""
    lines = (line for line in (head.split(b"\n") if mark in head else ()) if mark in line)
    shown = (last_drawn(line.decode("utf-8", "replace")) for line in lines)
    return any(read(line) or read(behind_logger(line)) for line in shown)
