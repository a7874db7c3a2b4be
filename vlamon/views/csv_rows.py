"""Records as CSV: two passes, the first to know the columns.

Nothing is held but names, so that a journal of any size can be written.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from vlamon.errors import VlamonError
from vlamon.records import BatchBlock, EpochBlock, IntervalBlock, Record
from vlamon.views.json_lines import json_objects

PREFERRED = ("batch", "interval", "epoch")
AXES = {
    "batch": ("attempt", "epoch", "step", "time"),
    "interval": ("attempt", "epoch", "first", "last", "step", "time"),
    "epoch": ("attempt", "epoch", "split", "step", "time"),
    "event": ("id", "event", "step", "attempt", "time", "severity", "text"),
    "gpu": ("time",),
}


def csv_rows(
    records: Callable[[], Iterable[Record]], kind: str | None, path: str
) -> Iterator[bytes]:
    """The lines of a CSV with a header; `records` is called twice."""
    names, counts = _columns(records())
    chosen = kind or next((one for one in PREFERRED if counts[one]), "batch")
    if not counts[chosen]:
        there = ", ".join(f"{count} {one}" for one, count in counts.items()) or "nothing"
        raise VlamonError(f"{path} holds no {chosen} rows; there is {there}.")
    header = [*AXES[chosen], *names.get(chosen, ())]
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    writer.writerow(header)
    for row in _rows(records(), chosen):
        writer.writerow([_text(row.get(name)) for name in header])
        if line.tell() > 1 << 16:
            yield line.getvalue().encode()
            line.seek(0)
            line.truncate()
    yield line.getvalue().encode()


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
    """Metrics by column name: the meter `time` must not stand in the column of the time stamp."""
    axes = AXES[kind]
    return {f"metric_{name}" if name in axes else name: cell for name, cell in metrics.items()}


GPU_FIELDS = ("util", "memory_used", "memory_total", "temperature", "power", "clock_sm")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    return str(value)
