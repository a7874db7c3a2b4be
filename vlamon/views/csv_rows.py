"""Records as CSV: two passes, the first to know the columns.

Nothing is held but names, so that a journal of any size can be written.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from vlamon.errors import VlamonError
from vlamon.records import BatchBlock, EpochBlock, IntervalBlock, Record
from vlamon.safe_text import csv_text
from vlamon.views.json_lines import json_objects

PREFERRED = ("batch", "interval", "epoch")
AXES = {
    "batch": ("attempt", "epoch", "step", "time"),
    "interval": ("attempt", "epoch", "first", "last", "step", "time"),
    "epoch": ("attempt", "epoch", "split", "step", "time"),
    "event": ("id", "event", "step", "attempt", "time", "severity", "text"),
    "gpu": ("time",),
}
GPU_FIELDS = ("util", "memory_used", "memory_total", "temperature", "power", "clock_sm")
_NON_FINITE = ("nan", "inf", "-inf")
_PIECE = 1 << 16


def csv_rows(
    records: Callable[[], Iterable[Record]], kind: str | None, path: str
) -> Iterator[bytes]:
    """The lines of a CSV with a header; `records` is called twice."""
    _, header, rows = table_of(records, kind, path)
    return csv_table(header, ([row.get(name) for name in header] for row in rows))


def table_of(
    records: Callable[[], Iterable[Record]], kind: str | None, path: str
) -> tuple[str, list[str], Iterator[Mapping[str, Any]]]:
    """Kind of the rows, their columns, and the rows by column; `records` is called twice."""
    names, counts = _columns(records())
    chosen = kind or next((one for one in PREFERRED if counts[one]), "batch")
    if not counts[chosen]:
        there = ", ".join(f"{count} {one}" for one, count in counts.items()) or "nothing"
        raise VlamonError(f"{path} holds no {chosen} rows; there is {there}.")
    return chosen, [*AXES[chosen], *names.get(chosen, ())], _rows(records(), chosen)


def csv_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """The one writer of CSV: a header and rows, in pieces of about 64 KiB.

    A number is written in the shortest form that reads back the same, a missing cell is empty; no
    text is a formula to a spreadsheet.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(csv_text, header))
    for row in rows:
        writer.writerow(map(_cell, row))
        if buffer.tell() > _PIECE:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


def metric_columns(kind: str, names: Iterable[str]) -> list[str]:
    """Column names of metrics: the meter `time` keeps out of the time stamp's column."""
    axes = AXES[kind]
    return [f"metric_{name}" if name in axes else name for name in names]


def _columns(records: Iterable[Record]) -> tuple[dict[str, dict[str, None]], Counter[str]]:
    """Metric names by kind in order of appearance, and how many rows of each kind there are."""
    names: dict[str, dict[str, None]] = {}
    counts: Counter[str] = Counter()
    for record in records:
        kind, found, rows = _summary(record)
        if rows:
            names.setdefault(kind, {}).update(dict.fromkeys(found))
            counts[kind] += rows
    return names, counts


def _summary(record: Record) -> tuple[str, Iterable[str], int]:
    """Kind, names and rows of a record, without a look at its cells where it is a block."""
    if isinstance(record, BatchBlock):
        return "batch", _apart("batch", record.columns), record.rows
    if isinstance(record, EpochBlock):
        return "epoch", _apart("epoch", record.columns), record.rows
    if isinstance(record, IntervalBlock):
        names = {**dict.fromkeys(record.printed), **dict.fromkeys(record.metrics)}
        return "interval", _apart("interval", names), record.rows
    first = next(iter(json_objects(record)), None)
    if first is None or first["kind"] not in AXES:
        return "", (), 0
    kind = str(first["kind"])
    return kind, [name for name in _flat(first) if name not in AXES[kind]], 1


def _rows(records: Iterable[Record], kind: str) -> Iterator[Mapping[str, Any]]:
    for record in records:
        for line in json_objects(record):
            if line["kind"] == kind:
                yield _flat(line)


def _flat(line: dict[str, Any]) -> dict[str, Any]:
    """A line's axes and its metrics side by side."""
    kind = line["kind"]
    flat: dict[str, Any] = {name: line.get(name) for name in AXES[kind]}
    if kind == "interval":
        printed = {name: numbers[0] for name, numbers in line["printed"].items() if numbers}
        flat |= _apart(kind, printed)
    if kind == "gpu":
        for device in line["devices"]:
            flat |= {f"gpu{device['index']}_{key}": device[key] for key in GPU_FIELDS}
        if line["process"] is not None:
            flat |= {f"process_{key}": value for key, value in line["process"].items()}
    return flat | _apart(kind, line.get("metrics", {}))


def _apart(kind: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    return dict(zip(metric_columns(kind, metrics), metrics.values(), strict=True))


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, (int, float)):
        return value
    return value if value in _NON_FINITE else csv_text(str(value))
