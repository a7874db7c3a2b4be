"""SwanLab's local run, `run-*.swanlab` or `backup.swanlab`, read without SwanLab.

The file is a LevelDB log; a scalar has a record of its own, with its name, its step and its value:
a protobuf message, or a JSON object in files of versions up to 0.7.
"""

from __future__ import annotations

import json
import math
import struct

from vlamon.records import Record
from vlamon.sources.formats import Format, UnknownLines
from vlamon.sources.formats.json_lines import rows_of
from vlamon.sources.formats.leveldb_log import Records
from vlamon.sources.formats.protobuf import fields
from vlamon.sources.formats.rows import LogRow, RowBlocks, number

MAGIC = b":SWL"
_SCALAR = 13


class RunParser:
    """Gathers the scalars of one step into a row."""

    def __init__(self, path: str = "") -> None:
        self.unknown = UnknownLines()
        self._records = Records()
        self._rows = RowBlocks()
        self._step = -1
        self._values: dict[str, float] = {}

    def feed(self, data: bytes) -> list[Record]:
        """Records of these bytes; unlike those of most formats they need not end with a line."""
        before = self._records.damaged
        rows: list[LogRow] = []
        for record in self._records.feed(data):
            try:
                scalars = _scalars(record)
            except (ValueError, IndexError, AttributeError, RecursionError, struct.error):
                self.unknown.add(0, b"a record that is neither a protobuf message nor JSON")
                continue
            for name, step, value in scalars:
                if step != self._step or name in self._values:
                    rows += self._row()
                    self._step = step
                self._values[name] = value
        for _ in range(self._records.damaged - before):
            self.unknown.add(0, b"a damaged block: reading goes on with the next")
        return self._rows.records(rows)

    def finish(self) -> list[Record]:
        """The last step, which waited for further scalars."""
        return self._rows.records(self._row())

    def _row(self) -> tuple[LogRow, ...]:
        values, self._values = self._values, {}
        return rows_of({"step": self._step, **values}) if values else ()


def _scalars(record: bytes) -> list[tuple[str, int, float]]:
    """Name, step and value of each scalar in a record; what SwanLab samples itself is left."""
    if record.startswith(b"{"):
        return [scalar for scalar in _json_scalars(record) if not scalar[0].startswith("__")]
    found: list[tuple[str, int, float]] = []
    for part, scalar in fields(memoryview(record)):
        if part != _SCALAR or not isinstance(scalar, memoryview):
            continue
        name, step, value = "", 0, math.nan
        for inner, content in fields(scalar):
            if inner == 1 and isinstance(content, memoryview):
                name = bytes(content).decode("utf-8", "replace")
            elif inner == 2 and isinstance(content, int):
                step = content
            elif inner == 5 and isinstance(content, memoryview):
                value = 0.0  # protobuf leaves a zero out
                for kind, bits in fields(content):
                    if kind == 1 and isinstance(bits, memoryview) and len(bits) == 8:
                        (value,) = struct.unpack("<d", bits)
        if name and not name.startswith("__"):
            found.append((name, step, value))
    return found


def _json_scalars(record: bytes) -> list[tuple[str, int, float]]:
    entry = json.loads(record)
    scalar = entry.get("data")
    if entry.get("model_type") != "Scalar" or not isinstance(scalar, dict):
        return []
    metric, name, step = (scalar.get(key) for key in ("metric", "key", "step"))
    value = number(metric.get("data")) if isinstance(metric, dict) else None
    if value is None or not isinstance(name, str) or not isinstance(step, int):
        return []
    return [(name, step, value)]


def recognises(head: bytes, path: str) -> int:
    """The file begins with its own name."""
    return 100 if head.startswith(MAGIC) else 0


FORMAT = Format(
    name="swanlab",
    title="SwanLab's local run",
    example="(binary) swanlog/run-20260101_120000-abcd1234/run-abcd1234.swanlab",
    recognises=recognises,
    open=RunParser,
    binary=True,
)
