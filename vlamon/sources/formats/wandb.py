"""W&B's local history, `run-*.wandb`, read without W&B.

The file is a LevelDB log of protobuf messages. A history record holds a row as names with JSON
values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from vlamon.records import Record
from vlamon.sources.formats import Format, UnknownLines
from vlamon.sources.formats.json_lines import STEPS, rows_of
from vlamon.sources.formats.leveldb_log import Records
from vlamon.sources.formats.protobuf import fields
from vlamon.sources.formats.rows import LogRow, RowBlocks

MAGIC = b":W&B"
_PLACES = ("_step", "_timestamp")
_SPLITS = ("val", "eval", "test", "validation")


class HistoryParser:
    """Rows of the history; what else a run keeps (its system, its output, its files) is left."""

    def __init__(self, path: str = "") -> None:
        self.unknown = UnknownLines()
        self._records = Records()
        self._rows = RowBlocks()

    def feed(self, data: bytes) -> list[Record]:
        """Records of these bytes; unlike those of most formats they need not end with a line."""
        before = self._records.damaged
        rows: list[LogRow] = []
        for record in self._records.feed(data):
            try:
                rows += _rows(record)
            except (ValueError, IndexError):
                self.unknown.add(0, b"a record that is no protobuf message")
        for _ in range(self._records.damaged - before):
            self.unknown.add(0, b"a damaged block: reading goes on with the next")
        return self._rows.records(rows)

    def finish(self) -> list[Record]:
        """Nothing waits: a torn record is not a row."""
        return []


def _rows(record: bytes) -> Iterator[LogRow]:
    """The training row of a history record, and one for each split that it evaluates."""
    for number, history in fields(memoryview(record)):
        if number != 2 or not isinstance(history, memoryview):
            continue
        entry = _entry(history)
        place = {name: value for name, value in entry.items() if name in _PLACES}
        named = {name: value for name, value in entry.items() if not name.startswith("_")}
        counts = {name: value for name, value in named.items() if name.lower() in STEPS}
        if counts:
            place.pop("_step", None)  # counts the calls, where the training has a count of its own
        splits: dict[str, dict[str, Any]] = {}
        for name, value in named.items():
            split = next((s for s in _SPLITS if name.startswith((s + "/", s + "_"))), "")
            splits.setdefault(split, {})[name] = value
        for values in splits.values():
            yield from rows_of({**place, **counts, **values})


def _entry(history: memoryview) -> dict[str, Any]:
    """A history record as the object that was logged."""
    entry: dict[str, Any] = {}
    for number, content in fields(history):
        if number == 1 and isinstance(content, memoryview):
            names, value = [], ""
            for inner, text in fields(content):
                if isinstance(text, memoryview):
                    if inner in (1, 2):
                        names.append(bytes(text).decode("utf-8", "replace"))
                    elif inner == 16:
                        value = bytes(text).decode("utf-8", "replace")
            if names and value:
                entry["/".join(names)] = _value(value)
        elif number == 2 and isinstance(content, memoryview):
            for inner, step in fields(content):
                if inner == 1 and isinstance(step, int):
                    entry.setdefault("_step", step)
    return entry


def _value(text: str) -> Any:
    """A JSON value; an image or a table is not a number either."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def recognises(head: bytes, path: str) -> int:
    """The file begins with its own name."""
    return 100 if head.startswith(MAGIC) else 0


FORMAT = Format(
    name="wandb",
    title="W&B's local history",
    example="(binary) wandb/run-20260101_120000-abcd1234/run-abcd1234.wandb",
    recognises=recognises,
    open=HistoryParser,
    binary=True,
)
