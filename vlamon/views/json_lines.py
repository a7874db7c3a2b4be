"""Records as JSON Lines, the schema of docs/json.md.

Values are written exactly as they were logged (float64, shortest form that reads back the same);
what is not finite, which JSON cannot say, becomes the strings "nan", "inf" and "-inf".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import orjson

from vlamon.hardware import GpuSample
from vlamon.records import (
    BatchBlock,
    Column,
    EpochBlock,
    EpochRow,
    Event,
    Gap,
    Interval,
    IntervalBlock,
    Record,
    RunInfo,
    Status,
)
from vlamon.safe_text import escaped_json


def json_lines(record: Record) -> Iterator[bytes]:
    """The lines of a record, each with its newline; none for what the schema leaves out."""
    for line in json_objects(record):
        yield json_bytes(line)


def json_bytes(value: Any, *, indent: bool = False) -> bytes:
    """A value as JSON and a newline: the one encoder behind everything that vlamon writes as JSON.

    It reads back exactly; characters that a terminal acts on are escaped, and the lone surrogates
    of a file name that is not UTF-8, which JSON cannot carry, become `?`.
    """
    option = orjson.OPT_APPEND_NEWLINE | (orjson.OPT_INDENT_2 if indent else 0)
    try:
        encoded = orjson.dumps(value, default=str, option=option)
    except TypeError:
        encoded = orjson.dumps(_without_surrogates(value), default=str, option=option)
    return escaped_json(encoded)


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_without_surrogates(str(name)): _without_surrogates(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(inner) for inner in value]
    return value


def json_objects(record: Record) -> Iterable[dict[str, Any]]:
    """The objects of a record before they are encoded."""
    match record:
        case BatchBlock():
            return _batches(record)
        case EpochBlock():
            return _epochs(record)
        case IntervalBlock():
            return _intervals(record)
        case EpochRow():
            return (_epoch(record),)
        case Interval():
            return (_interval(record),)
        case Event():
            return (_event(record),)
        case RunInfo() | GpuSample() | Status() | Gap():
            return ({"kind": KINDS[type(record)], **plain(asdict(record))},)
        case _:
            return ()


KINDS: dict[type, str] = {
    RunInfo: "run",
    GpuSample: "gpu",
    Status: "status",
    Gap: "gap",
}


def _event(event: Event) -> dict[str, Any]:
    fields = plain(asdict(event))
    fields["time"] = event.time or None
    if not fields.pop("counted"):
        fields["step"] = None
    return {"kind": "event", "event": fields.pop("kind"), **fields}


def _batches(block: BatchBlock) -> Iterator[dict[str, Any]]:
    rows = zip(
        block.step.tolist(),
        block.epoch.tolist(),
        block.time.tolist(),
        _cells(block.columns, block.rows),
        strict=True,
    )
    weights: Mapping[str, float] = block.weights
    for step, epoch, time, metrics in rows:
        line = {
            "kind": "batch",
            "attempt": block.attempt,
            "epoch": _known(epoch),
            "step": step,
            "time": _known(time),
            "metrics": metrics,
        }
        if weights:
            line["weights"] = plain(dict(weights))
            weights = {}
        yield line


def _epochs(block: EpochBlock) -> Iterator[dict[str, Any]]:
    for index, (epoch, metrics) in enumerate(
        zip(block.epoch.tolist(), _cells(block.columns, block.rows), strict=True)
    ):
        line = {
            "kind": "epoch",
            "epoch": _epoch_number(epoch),
            "split": block.split,
            "metrics": metrics,
            "attempt": block.attempt,
        }
        if block.step is not None:
            line["step"] = int(block.step[index])
        if block.time is not None:
            line["time"] = _known(float(block.time[index]))
        yield line


def _epoch(row: EpochRow) -> dict[str, Any]:
    line: dict[str, Any] = {
        "kind": "epoch",
        "epoch": _epoch_number(row.epoch),
        "split": row.split,
        "metrics": plain(dict(row.metrics)),
        "attempt": row.attempt,
    }
    if row.step is not None:
        line["step"] = row.step
    if row.time is not None:
        line["time"] = row.time
    return line


def _intervals(block: IntervalBlock) -> Iterator[dict[str, Any]]:
    from vlamon.store.lines import interval_row

    return (_interval(interval_row(block, index)) for index in range(block.rows))


def _interval(row: Interval) -> dict[str, Any]:
    line: dict[str, Any] = {
        "kind": "interval",
        "epoch": row.epoch,
        "first": row.first,
        "last": row.last,
        "metrics": plain(dict(row.metrics)),
        "bound": plain(dict(row.bound)),
        "printed": {name: plain(list(numbers)) for name, numbers in row.printed.items()},
        "attempt": row.attempt,
    }
    if row.step is not None:
        line["step"] = row.step
    if row.time is not None:
        line["time"] = row.time
    if row.not_inverted:
        line["not_inverted"] = list(row.not_inverted)
    return line


def _cells(columns: Mapping[str, Column], rows: int) -> Iterator[dict[str, float | str]]:
    """What each row logged; the common block, complete and finite, without a look at each cell."""
    import numpy as np

    simple = all(
        column.present is None and bool(np.isfinite(column.values).all())
        for column in columns.values()
    )
    names = list(columns)
    lists: list[list[Any]] = [column.values.tolist() for column in columns.values()]
    if simple and names:
        for cells in zip(*lists, strict=True):
            yield dict(zip(names, cells, strict=True))
        return
    present = [None if c.present is None else c.present.tolist() for c in columns.values()]
    for index in range(rows):
        yield {
            name: number(values[index])
            for name, values, there in zip(names, lists, present, strict=True)
            if there is None or there[index]
        }


def number(value: float) -> float | str:
    """A finite number as itself, any other as its name."""
    if math.isfinite(value):
        return value
    return "nan" if value != value else "inf" if value > 0 else "-inf"


def plain(value: Any) -> Any:
    """Nested data with non-finite numbers named and tuples as lists."""
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | bool | None) else str(value)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _epoch_number(value: float) -> float | int | None:
    return int(value) if value.is_integer() else _known(value)
