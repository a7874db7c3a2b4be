"""TensorBoard event files, read without TensorBoard.

A file is a row of TFRecords (length, checksum of the length, payload, checksum of the payload);
a payload is one protobuf `Event`. Only five of its fields matter here, so they are read directly:
the `tensorboard` package would cost a second of import and a tree of dependencies for that. Its
checksums (masked CRC-32C) are not verified: a torn tail shows by its length, and NumPy-free CRC-32C
would be slower than all the rest.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from vlamon.records import Record
from vlamon.sources.formats import Format, UnknownLines
from vlamon.sources.formats.protobuf import fields
from vlamon.sources.formats.rows import LogRow, RowBlocks, counted

_LENGTH = struct.Struct("<Q")
_OVERHEAD = 16
_MOST = 1 << 26
"""A record longer than this is damage, not an event with scalars."""


@dataclass(frozen=True, slots=True)
class Scalars:
    """The scalars of one event."""

    time: float
    step: int
    values: dict[str, float]


def events_in(data: bytes) -> tuple[list[Scalars], int, bool]:
    """Events of the whole records in `data`, the bytes they took, and whether damage was met."""
    events: list[Scalars] = []
    at = 0
    while at + 12 <= len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        if length > _MOST:
            return events, len(data), True
        if at + length + _OVERHEAD > len(data):
            break
        try:
            event = _event(memoryview(data)[at + 12 : at + 12 + length])
        except (ValueError, IndexError, struct.error):
            return events, len(data), True
        if event is not None:
            events.append(event)
        at += length + _OVERHEAD
    return events, at, False


def _event(payload: memoryview) -> Scalars | None:
    time, step = math.nan, 0
    values: dict[str, float] = {}
    for number, value in fields(payload):
        if number == 1 and isinstance(value, memoryview):
            (time,) = struct.unpack("<d", value)
        elif number == 2 and isinstance(value, int):
            step = value - (1 << 64) if value >> 63 else value
        elif number == 5 and isinstance(value, memoryview):
            for inner, summary in fields(value):
                if inner == 1 and isinstance(summary, memoryview):
                    tag, scalar = _value(summary)
                    if scalar is not None:
                        values[tag] = scalar
    return Scalars(time, step, values) if values else None


def _value(summary: memoryview) -> tuple[str, float | None]:
    tag, scalar = "", None
    for number, value in fields(summary):
        if number == 1 and isinstance(value, memoryview):
            tag = bytes(value).decode("utf-8", "replace")
        elif number == 2 and isinstance(value, memoryview):
            (scalar,) = struct.unpack("<f", value)
        elif number == 8 and isinstance(value, memoryview):
            scalar = _tensor(value)
    return tag, scalar


def _tensor(tensor: memoryview) -> float | None:
    """The number of a scalar tensor, as TensorFlow 2 writes it: float (1) or double (2)."""
    kind, content, listed = 0, b"", None
    for number, value in fields(tensor):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number == 4 and isinstance(value, memoryview):
            content = bytes(value)
        elif number in (5, 6) and isinstance(value, memoryview):
            listed = bytes(value)
    raw = content or listed or b""
    if kind == 1 and len(raw) == 4:
        return float(struct.unpack("<f", raw)[0])
    if kind == 2 and len(raw) == 8:
        return float(struct.unpack("<d", raw)[0])
    return None


class EventFileParser:
    """Gathers the scalars of one step, which a writer spreads over several records."""

    def __init__(self, path: str = "") -> None:
        self.unknown = UnknownLines()
        self._rest = b""
        self._rows = RowBlocks()
        self._step: int | None = None
        self._time = math.nan
        self._values: dict[str, float] = {}

    def feed(self, data: bytes) -> list[Record]:
        """Records of these bytes; unlike other formats they need not end with a line."""
        events, used, damaged = events_in(self._rest + data)
        self._rest = (self._rest + data)[used:]
        if damaged:
            self.unknown.add(0, b"a damaged record: what follows it in this file is lost")
        rows: list[LogRow] = []
        for event in events:
            if event.step != self._step or event.values.keys() & self._values.keys():
                rows += self._row()
                self._step, self._time = event.step, event.time
            self._values |= event.values
        return self._rows.records(rows)

    def finish(self) -> list[Record]:
        """The last step, which waited for further scalars; a torn record has no line to count."""
        return self._rows.records(self._row())

    def _row(self) -> list[LogRow]:
        values, self._values = self._values, {}
        if not values or self._step is None:
            return []
        time = None if math.isnan(self._time) else self._time
        names = _plain_names(values)
        splits: dict[str, dict[str, float]] = {}
        for tag, value in values.items():
            split, name = names[tag]
            splits.setdefault(split, {})[name] = value
        rows = [
            row
            for split, metrics in splits.items()
            for row in counted(metrics, self._step, None, time, split)
        ]
        if not rows:
            self.unknown.add(0, b"step %d cannot be a step" % self._step)
        return rows


def _plain_names(values: dict[str, float]) -> dict[str, tuple[str, str]]:
    """Tags to (split, name): the reference writes `train_closs`, others `train/loss`."""
    out = {}
    for tag in values:
        split, name = "", tag
        for prefix in ("train_", "train/"):
            name = name.removeprefix(prefix)
        for prefix in ("val_", "val/", "eval/", "test_", "test/"):
            if tag.startswith(prefix):
                split, name = prefix[:-1], tag.removeprefix(prefix)
        out[tag] = (split, name)
    return out


def recognises(head: bytes, path: str) -> int:
    """The first record of an event file is its version."""
    return 100 if b"brain.Event:" in head[:64] else 0


FORMAT = Format(
    name="tensorboard",
    title="TensorBoard event files",
    example="(binary) events.out.tfevents.…",
    recognises=recognises,
    open=EventFileParser,
    binary=True,
)
