"""Records as a TensorBoard event file, without TensorBoard: a scalar a metric, a text an event.

The format is TFRecord (length, masked CRC-32C, data, masked CRC-32C) around `Event` messages of
protocol buffers, of which only the four fields that a scalar or a text takes are written.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Mapping

from vlamon.records import (
    BatchBlock,
    EpochBlock,
    EpochRow,
    Event,
    Interval,
    IntervalBlock,
    Record,
)

_POLYNOMIAL = 0x82F63B78
_MASK_DELTA = 0xA282EAD8
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types of protocol buffers."""


def event_file(records: Iterable[Record]) -> Iterator[bytes]:
    """The bytes of an event file: batches and intervals by step, epoch averages as `SPLIT/NAME`."""
    yield _record(_number(1, 0.0) + _text(3, b"brain.Event:2"))
    for record in records:
        for time, step, values in _scalars(record):
            if values:
                summary = b"".join(_text(1, _scalar(name, v)) for name, v in values.items())
                yield _event(time, step, summary)
        if isinstance(record, Event):
            said = _text(1, _note(f"events/{record.kind}", record.text or record.kind))
            yield _event(record.time, record.step, said)


def _scalars(record: Record) -> Iterator[tuple[float, int, Mapping[str, float]]]:
    from vlamon.store.lines import cells_of, epoch_rows, interval_row

    match record:
        case BatchBlock():
            for row in range(record.rows):
                values = cells_of(record.columns, row)
                yield float(record.time[row]), int(record.step[row]), values
        case IntervalBlock():
            for row in range(record.rows):
                yield from _scalars(interval_row(record, row))
        case Interval():
            step = record.last if record.step is None else record.step
            yield record.time or 0.0, step, record.metrics
        case EpochBlock():
            for epoch in epoch_rows(record):
                yield from _scalars(epoch)
        case EpochRow():
            step = int(record.epoch) if record.step is None else record.step
            named = {f"{record.split}/{name}": value for name, value in record.metrics.items()}
            yield record.time or 0.0, step, named


def _event(time: float, step: int, summary: bytes) -> bytes:
    known = time if math.isfinite(time) else 0.0
    return _record(_number(1, known) + _key(2, _VARINT) + _varint(step) + _text(5, summary))


def _scalar(tag: str, value: float) -> bytes:
    """A `Summary.Value` with `tag` and `simple_value`, which is a float32."""
    try:
        single = struct.pack("<f", value)
    except OverflowError:
        single = struct.pack("<f", math.copysign(math.inf, value))
    return _text(1, _utf8(tag)) + _key(2, _FIXED32) + single


def _note(tag: str, text: str) -> bytes:
    """A `Summary.Value` for the text dashboard: a tensor of one string, and the plugin's name."""
    tensor = _key(1, _VARINT) + _varint(7) + _text(2, b"") + _text(8, _utf8(text))
    metadata = _text(1, _text(1, b"text"))
    return _text(1, _utf8(tag)) + _text(8, tensor) + _text(9, metadata)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _number(field: int, value: float) -> bytes:
    return _key(field, _FIXED64) + struct.pack("<d", value)


def _text(field: int, data: bytes) -> bytes:
    return _key(field, _BYTES) + _varint(len(data)) + data


def _key(field: int, wire: int) -> bytes:
    return _varint(field << 3 | wire)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # a negative number is its two's complement
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def _masked(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF)


def _entry(index: int) -> int:
    for _ in range(8):
        index = index >> 1 ^ (_POLYNOMIAL if index & 1 else 0)
    return index


_TABLE = [_entry(index) for index in range(256)]
