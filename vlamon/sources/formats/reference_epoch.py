"""`log_train.txt` and `log_eval_*.txt` of the reference training: one JSON object an epoch.

Bare `NaN` and `Infinity` occur, keys differ in order (and, after a change of the run, in number)
from line to line. A million lines must load at about the decoder's own speed, so lines with the
same keys go through C loops, and only pieces that these refuse are looked at line by line.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping
from itertools import chain, islice, pairwise
from operator import itemgetter
from pathlib import PurePath
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from vlamon.records import Column, EpochBlock, Record
from vlamon.sources.formats import Format, UnknownLines
from vlamon.sources.formats.rows import MOST_EPOCHS, MOST_NAMES, number

HELD = 64
"""Lines that are decoded at once."""
TRAIN = "train_"
VALIDATION = "val_"
EVAL_FILE = re.compile(r"log_eval_(\w+?)(?:\.txt)?(?:[.-].*)?$")


def validation_split(path: str) -> str:
    """`val_ind` for `log_eval_ind.txt`, plain `val` where the name tells nothing."""
    found = EVAL_FILE.match(PurePath(path).name)
    return f"val_{found.group(1)}" if found else "val"


class EpochLineParser:
    """The parser: lines in, one `EpochBlock` for each split and attempt out."""

    def __init__(self, path: str) -> None:
        self.unknown = UnknownLines()
        self._validation = validation_split(path)
        self._line = 0
        self._attempt = 0
        self._epoch = float("-inf")
        self._names: dict[str, None] = {}

    def feed(self, data: bytes) -> list[Record]:
        """Records of these whole lines."""
        columns = _alike(data)
        if columns is not None:
            self._line += len(columns["epoch"].values)
            return self._records(columns)
        records: list[Record] = []
        every_line = io.BytesIO(data)
        while lines := list(islice(every_line, HELD)):
            columns = _alike(b"".join(lines)) or self._one_by_one(lines)
            self._line += len(lines)
            if columns is not None:
                records += self._records(columns)
        return records

    def finish(self) -> list[Record]:
        """Nothing waits: every line stands for itself."""
        return []

    def _one_by_one(self, lines: list[bytes]) -> dict[str, Column] | None:
        """Columns of lines that differ in their keys, or are no epoch lines at all."""
        rows = []
        for at, line in enumerate(lines, self._line + 1):
            row = _decode_line(line)
            if row is not None:
                rows.append(row)
            elif line.strip():
                self.unknown.add(at, line)
        return _ragged(rows) if rows else None

    def _records(self, columns: dict[str, Column]) -> list[Record]:
        epoch = columns.pop("epoch").values
        return [
            block
            for first, end in self._attempts(epoch)
            for block in self._blocks(columns, epoch, first, end)
        ]

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
        self, columns: Mapping[str, Column], epoch: NDArray[np.float64], first: int, end: int
    ) -> Iterable[EpochBlock]:
        splits: dict[str, dict[str, Column]] = {}
        for name, column in columns.items():
            if len(self._names) < MOST_NAMES:
                self._names[name] = None
            elif name not in self._names:
                continue
            split, metric = self._split_of(name)
            cut = _cut(column, first, end)
            if cut is not None:
                splits.setdefault(split, {})[metric] = cut
        for split, metrics in splits.items():
            yield EpochBlock(split, epoch[first:end], metrics, attempt=self._attempt)

    def _split_of(self, name: str) -> tuple[str, str]:
        if name.startswith(VALIDATION):
            return self._validation, name[len(VALIDATION) :]
        return "train", name.removeprefix(TRAIN)


def _alike(data: bytes) -> dict[str, Column] | None:
    """Columns of lines that all have the first one's keys, in C loops; None where they do not.

    Lines are cut and decoded a few at a time: with more of them in memory at once, memory costs
    more than decoding.
    """
    lines = io.BytesIO(data)
    first = _decode_line(lines.readline())
    if first is None or len(first) < 2:
        return None
    lines.seek(0)
    names = tuple(first)
    pick, count = itemgetter(*names), len(names)
    parts = []
    while rows := _decode_few(lines):
        try:
            if sum(map(len, rows)) != len(rows) * count:
                return None
            flat = chain.from_iterable(map(pick, rows))
            parts.append(np.fromiter(flat, np.float64, len(rows) * count))
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
    by_name = np.concatenate([part.reshape(-1, count).T for part in parts], axis=1)
    epoch = by_name[names.index("epoch")]
    if not ((epoch >= 0) & (epoch < MOST_EPOCHS)).all():
        return None
    return {name: Column(by_name[index]) for index, name in enumerate(names)}


def _decode_few(lines: io.BytesIO) -> list[Any]:
    """The next decoded lines, None for what is no epoch line; no line outlives its decoding."""
    start = lines.tell()
    try:
        return list(map(orjson.loads, islice(lines, HELD)))
    except orjson.JSONDecodeError:
        lines.seek(start)
        return list(map(_decode_line, islice(lines, HELD)))


def _ragged(rows: list[dict[str, Any]]) -> dict[str, Column]:
    columns = {}
    for name in dict.fromkeys(chain.from_iterable(rows)):
        cells = [_cell(row.get(name)) for row in rows]
        present = np.array([cell is not None for cell in cells])
        if present.any():
            values = np.array([0.0 if cell is None else cell for cell in cells])
            columns[name] = Column(values, None if present.all() else present)
    return columns


def _cut(column: Column, first: int, end: int) -> Column | None:
    present = None if column.present is None else column.present[first:end]
    if present is not None and not present.any():
        return None
    return Column(column.values[first:end], present)


def _cell(value: object) -> float | None:
    return None if isinstance(value, str) else number(value)


def _is_epoch_line(row: object) -> bool:
    if not isinstance(row, dict) or type(row.get("epoch")) not in (int, float):
        return False
    return bool(0 <= row["epoch"] < MOST_EPOCHS)


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
    open=EpochLineParser,
)
