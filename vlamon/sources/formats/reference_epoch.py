"""`log_train.txt` and `log_eval_*.txt` of the reference training: one JSON object an epoch.

Bare `NaN` and `Infinity` occur, keys differ in order (and, after a change of the run, in number)
from line to line. A million lines must load at the decoder's own speed, so whole blocks of lines
are decoded at once and only what that refuses is looked at line by line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import chain, pairwise
from operator import itemgetter
from pathlib import PurePath
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from vlamon.records import Column, EpochBlock, Record
from vlamon.sources.formats import Format, UnknownLines

TRAIN = "train_"
VALIDATION = "val_"
EVAL_FILE = re.compile(r"log_eval_(\w+?)(?:\.txt)?(?:[.-].*)?$")


def validation_split(path: str) -> str:
    """`val_ind` for `log_eval_ind.txt`, plain `val` where the name tells nothing."""
    found = EVAL_FILE.match(PurePath(path).name)
    return f"val_{found.group(1)}" if found else "val"


class EpochLines:
    """The parser: lines in, one `EpochBlock` for each split and attempt out."""

    def __init__(self, path: str) -> None:
        self.unknown = UnknownLines()
        self._validation = validation_split(path)
        self._line = 0
        self._attempt = 0
        self._epoch = float("-inf")

    def feed(self, data: bytes) -> list[Record]:
        """Records of these whole lines."""
        rows = self._decode(data)
        if not rows:
            return []
        table = _Table(rows)
        records: list[Record] = []
        epoch = table.columns.pop("epoch").values
        for first, end in self._attempts(epoch):
            records += self._blocks(table, epoch, first, end)
        return records

    def finish(self) -> list[Record]:
        """Nothing waits: every line stands for itself."""
        return []

    def _decode(self, data: bytes) -> list[dict[str, Any]]:
        lines = data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        start = self._line
        self._line += len(lines)
        try:
            rows = orjson.loads(b"[" + b",".join(lines) + b"]")
        except orjson.JSONDecodeError:
            rows = None
        # Lines that are not objects by themselves can still join into a list of another length.
        if rows is not None and len(rows) == len(lines) and all(map(_is_epoch_line, rows)):
            return list(rows)
        return [row for row in self._one_by_one(lines, start) if row is not None]

    def _one_by_one(self, lines: list[bytes], start: int) -> Iterable[dict[str, Any] | None]:
        for number, line in enumerate(lines, start + 1):
            if not line.strip():
                continue
            row = _decode_line(line)
            if row is None:
                self.unknown.add(number, line)
            yield row

    def _attempts(self, epoch: NDArray[np.float64]) -> Iterable[tuple[int, int]]:
        """Row ranges of one attempt each: an epoch that comes again starts a new one."""
        again = np.flatnonzero(epoch[1:] <= epoch[:-1]) + 1
        bounds = [0, *again.tolist(), len(epoch)]
        if epoch[0] <= self._epoch:
            self._attempt += 1
        for index, (first, end) in enumerate(pairwise(bounds)):
            if index:
                self._attempt += 1
            yield first, end
        self._epoch = float(epoch[-1])

    def _blocks(
        self, table: _Table, epoch: NDArray[np.float64], first: int, end: int
    ) -> Iterable[EpochBlock]:
        splits: dict[str, dict[str, Column]] = {}
        for name, column in table.columns.items():
            split, metric = self._split_of(name)
            cut = _cut(column, first, end)
            if cut is not None:
                splits.setdefault(split, {})[metric] = cut
        for split, columns in splits.items():
            yield EpochBlock(split, epoch[first:end], columns, attempt=self._attempt)

    def _split_of(self, name: str) -> tuple[str, str]:
        if name.startswith(VALIDATION):
            return self._validation, name[len(VALIDATION) :]
        return "train", name.removeprefix(TRAIN)


class _Table:
    """Decoded lines as columns, in one C loop where all have the same keys."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        names = tuple(rows[0])
        self.columns: dict[str, Column] = {}
        cells = len(rows) * len(names)
        if len(names) > 1 and sum(map(len, rows)) == cells:
            try:
                flat = np.fromiter(
                    chain.from_iterable(map(itemgetter(*names), rows)), np.float64, cells
                )
            except (KeyError, TypeError, ValueError):
                self._ragged(rows)
            else:
                square = flat.reshape(len(rows), len(names))
                self.columns = {name: Column(square[:, i]) for i, name in enumerate(names)}
        else:
            self._ragged(rows)

    def _ragged(self, rows: list[dict[str, Any]]) -> None:
        for name in dict.fromkeys(chain.from_iterable(rows)):
            cells = [_number(row.get(name)) for row in rows]
            present = np.array([cell is not None for cell in cells])
            if present.any():
                values = np.array([0.0 if cell is None else cell for cell in cells])
                self.columns[name] = Column(values, None if present.all() else present)


def _cut(column: Column, first: int, end: int) -> Column | None:
    present = None if column.present is None else column.present[first:end]
    if present is not None and not present.any():
        return None
    return Column(column.values[first:end], present)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _is_epoch_line(row: object) -> bool:
    return isinstance(row, dict) and type(row.get("epoch")) in (int, float)


def _decode_line(line: bytes) -> dict[str, Any] | None:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            row = json.loads(line)  # knows bare NaN, Infinity and -Infinity
        except (ValueError, RecursionError):
            return None
    return row if _is_epoch_line(row) else None


def recognises(head: bytes, path: str) -> int:
    """Sure where a line has `epoch` and only `train_` or `val_` keys of the reference training."""
    del path
    for line in head.split(b"\n"):
        if not line.startswith(b"{"):
            continue
        row = _decode_line(line)
        if row is None or len(row) < 2:
            continue
        ours = sum(name.startswith((TRAIN, VALIDATION)) for name in row)
        if ours == len(row) - 1:
            return 95 if "train_closs" in row or "val_closs" in row else 80
    return 0


FORMAT = Format(
    name="reference-epoch",
    title="log_train.txt or log_eval_*.txt: a JSON object an epoch",
    example='{"train_lr": 5e-06, "train_closs": 8.51, "train_loss_ct": 0.129, "epoch": 0}',
    recognises=recognises,
    open=EpochLines,
)
