"""Rows of a log that prints values step by step, gathered into blocks."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from vlamon.records import BatchBlock, Column, EpochRow, Record
from vlamon.sources.formats import UnknownLines

NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|NaN|inf|Inf|Infinity)"
MOST_STEPS = float(1 << 53)
"""Steps from here on are damage: a float no longer tells one from the next."""
MOST_EPOCHS = float(1 << 31)
"""Epochs from here on are damage: times its length, such an epoch would be no step any more."""
_MOST_SECONDS = 253_402_300_800.0
"""Times from here on, the year 10000, are no dates."""
_STAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,6}))?")


@dataclass(frozen=True, slots=True)
class Row:
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


def counted(
    metrics: Mapping[str, float],
    step: float | str | None = None,
    epoch: float | None = None,
    time: float | None = None,
    split: str = "",
) -> tuple[Row, ...]:
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
    return (Row(metrics, None if place is None else int(place), epoch, time, split),)


@dataclass(slots=True)
class RowBlocks:
    """Makes blocks of rows; a step that falls back begins a new attempt."""

    attempt: int = 0
    """Attempt of the rows to come."""
    rows: int = 0
    """Training rows so far."""
    step: int | None = None
    """Last step."""
    epoch: float | None = None
    """Last epoch."""
    _held: list[Row] = field(default_factory=list)

    def records(self, rows: Iterable[Row]) -> list[Record]:
        """Records of these rows, in their order."""
        out: list[Record] = []
        for row in rows:
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
            step = row.step if row.step is not None else (0 if self.step is None else self.step + 1)
            if self.step is not None and step < self.step:
                out += self._block()
                self.attempt += 1
            self.step = step
            if row.epoch is not None:
                self.epoch = row.epoch
            self._held.append(Row(row.metrics, step, row.epoch, row.time))
        out += self._block()
        return out

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
        )
        self.rows += len(held)
        return [block]


class LineParser:
    """A parser for logs whose lines hold whole rows: most of them one, or none."""

    def __init__(self, read: Callable[[str], Sequence[Row]]) -> None:
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

    def _known(self, data: bytes) -> Iterable[Row]:
        for line in data.splitlines() if b"\r" not in data else data.split(b"\n"):
            self._lines += 1
            rows = self._read(last_drawn(line.decode("utf-8", "replace")))
            if rows:
                yield from rows
            elif line.strip():
                self.unknown.add(self._lines, line)


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
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    micro = int((found.group(7) or "0").ljust(6, "0"))
    try:
        return datetime(year, month, day, hour, minute, second, micro).timestamp()
    except (ValueError, OverflowError):
        return None


def knows(head: bytes, read: Callable[[str], Sequence[Row]], mark: bytes) -> bool:
    """Whether a format can read any of these lines; only those with the mark are tried."""
    return any(
        read(last_drawn(line.decode("utf-8", "replace")))
        for line in (head.split(b"\n") if mark in head else ())
        if mark in line
    )
