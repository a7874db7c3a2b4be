"""Records as lines for people, where there is no terminal to draw on.

A batch, an epoch line, an interval or an event is a line each; `Thinned` leaves batches of a fast
training out, but never one with a value that is not finite.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping

from vlamon.hardware import GpuSample
from vlamon.moments import local_time
from vlamon.records import (
    BatchBlock,
    EpochBlock,
    EpochRow,
    Event,
    Gap,
    Interval,
    IntervalBlock,
    Link,
    Record,
    RunInfo,
    Status,
)
from vlamon.safe_text import line

FIRST = ("closs", "loss", "loss_ct", "z_loss", "total")
"""Metrics that a line begins with; the rest follow as the run logs them."""
SLOT = re.compile(r"_\d+$")
FAMILY_FROM = 3
"""So many slots of one metric are one number on a line; `--json` has each."""


def plain_lines(record: Record) -> Iterable[str]:
    """The lines of a record, without newlines, as a terminal may show them."""
    return map(line, _lines(record))


def _lines(record: Record) -> Iterable[str]:
    match record:
        case BatchBlock():
            return _batches(record)
        case EpochBlock():
            from vlamon.store.lines import epoch_rows

            return (_epoch(row) for row in epoch_rows(record))
        case IntervalBlock():
            from vlamon.store.lines import interval_row

            return (_interval(interval_row(record, index)) for index in range(record.rows))
        case EpochRow():
            return (_epoch(record),)
        case Interval():
            return (_interval(record),)
        case RunInfo():
            return (_run(record),)
        case Event():
            return (_event(record),)
        case Gap():
            return (_gap(record),)
        case Link():
            return (f"# {record.text or record.state}",)
        case Status() | GpuSample():
            return ()
        case _:
            return ()


class Thinned:
    """Plain lines with at most one batch in so many seconds of the training's own time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = -math.inf

    def lines(self, record: Record) -> Iterable[str]:
        """The lines of a record that are due."""
        if not isinstance(record, BatchBlock) or self._seconds <= 0:
            return plain_lines(record)
        rows = zip(record.time.tolist(), _odd_rows(record), _batches(record), strict=True)
        return (line(row) for time, odd, row in rows if odd or self._due(time))

    def _due(self, time: float) -> bool:
        if time < self._next:
            return False
        self._next = time + self._seconds
        return True


def _odd_rows(block: BatchBlock) -> list[bool]:
    """Which batches logged a NaN or an infinity."""
    odd = [False] * block.rows
    for column in block.columns.values():
        there = [True] * block.rows if column.present is None else column.present.tolist()
        for row, value in enumerate(column.values.tolist()):
            odd[row] |= there[row] and not math.isfinite(value)
    return odd


def values_text(metrics: Mapping[str, float]) -> str:
    """`closs 8.512  loss_ct 0.129 …`: the losses first, a family of slots as its mean."""
    names = [name for name in FIRST if name in metrics]
    names += [name for name in metrics if name not in FIRST]
    parts: dict[str, str] = {}
    families = _families(names)
    for name in names:
        members = families.get(SLOT.sub("", name), [])
        if len(members) < FAMILY_FROM:
            parts[name] = f"{name} {number_text(metrics[name])}"
        else:
            mean = sum(metrics[member] for member in members) / len(members)
            last = members[-1].rpartition("_")[2]
            parts[members[0]] = f"{members[0]}..{last} mean {number_text(mean)}"
    return "  ".join(parts.values())


def _families(names: Iterable[str]) -> dict[str, list[str]]:
    """Names that differ only by the slot at their end, by what they share."""
    families: dict[str, list[str]] = {}
    for name in names:
        if SLOT.search(name):
            families.setdefault(SLOT.sub("", name), []).append(name)
    return families


def number_text(value: float) -> str:
    """Four significant digits or more, the shortest of plain and exponent form."""
    if not math.isfinite(value):
        return "nan" if value != value else "inf" if value > 0 else "-inf"
    size = abs(value)
    if value == 0 or 1e-3 <= size < 1e5:
        digits = 4 if size < 10 else 3 if size < 100 else 2
        return f"{value:.{digits}f}"
    return f"{value:.3e}"


def _batches(block: BatchBlock) -> Iterator[str]:
    from vlamon.store.lines import cells_of

    for index in range(block.rows):
        epoch, time = float(block.epoch[index]), float(block.time[index])
        where = f"step {int(block.step[index])}"
        if math.isfinite(epoch):
            where += f"  epoch {epoch:.6g}"
        if block.attempt:
            where += f"  attempt {block.attempt}"
        yield f"{_clock(time)}{where}  {values_text(cells_of(block.columns, index))}"


def _epoch(row: EpochRow) -> str:
    attempt = f"  attempt {row.attempt}" if row.attempt else ""
    return f"epoch {row.epoch:g}  {row.split}{attempt}  {values_text(row.metrics)}"


def _interval(row: Interval) -> str:
    first = "?" if row.first is None else row.first
    values = {name: numbers[0] for name, numbers in row.printed.items() if numbers}
    values.update(row.metrics)
    where = f"epoch {row.epoch}  batches {first}..{row.last}"
    attempt = f"  attempt {row.attempt}" if row.attempt else ""
    return f"{_clock(row.time)}{where}{attempt}  {values_text(values)}"


def _run(info: RunInfo) -> str:
    parts = [f"# run {info.name}"]
    if info.host:
        parts.append(f"on {info.host}")
    if info.pid:
        parts.append(f"pid {info.pid}")
    if info.total_steps:
        parts.append(f"{info.total_steps} steps")
    if info.source:
        parts.append(f"from {info.source}")
    return "  ".join(parts)


def _event(event: Event) -> str:
    text = event.text or ", ".join(f"{key} {value}" for key, value in event.data.items())
    where = f" at step {event.step}" if event.counted else ""
    return f"{_clock(event.time)}! {event.kind}{where}: {text}".rstrip(": ")


def _gap(gap: Gap) -> str:
    where = ""
    if gap.first_step is not None and gap.last_step is not None:
        where = f", steps {gap.first_step} to {gap.last_step}"
    return f"# {gap.rows} rows are missing{where}: {gap.reason}".rstrip(": ")


def _clock(time: float | None) -> str:
    return local_time(time, "%H:%M:%S  ") if time is not None and time > 0.0 else ""
