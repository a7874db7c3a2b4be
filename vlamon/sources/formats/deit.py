"""`log.txt` of DeiT, MAE, ConvNeXt and their kin: one JSON object an epoch, train and test in one.

`{"train_lr": 1e-06, "train_loss": 6.91, "test_loss": 6.53, "test_acc1": 1.4, "epoch": 0, …}`.
"""

from __future__ import annotations

from collections.abc import Iterable

from vlamon.records import Record
from vlamon.sources.formats import Format, UnknownLines
from vlamon.sources.formats.json_lines import numbers_of, object_of
from vlamon.sources.formats.rows import LogRow, RowBlocks, counted

_SPLITS = ("train", "test", "val")


def rows_of(line: str) -> list[LogRow]:
    """One row for each split of a line."""
    entry = object_of(line)
    numbers = numbers_of(entry or {})
    if "epoch" not in numbers:
        return []
    rows: list[LogRow] = []
    for split in _SPLITS:
        cut = len(split) + 1
        metrics = {n[cut:]: v for n, v in numbers.items() if n.startswith(split + "_")}
        if metrics:
            rows += counted(metrics, None, numbers["epoch"], split=split)
    return rows


class EpochLogParser:
    """Lines of epochs; an epoch that falls back begins a new attempt."""

    def __init__(self, path: str = "") -> None:
        self.unknown = UnknownLines()
        self._rows = RowBlocks()
        self._epoch = float("-inf")
        self._lines = 0

    def feed(self, data: bytes) -> list[Record]:
        """Records of these whole lines."""
        records: list[Record] = []
        for line in data.rstrip(b"\n").split(b"\n"):
            self._lines += 1
            rows = rows_of(line.decode("utf-8", "replace"))
            if not rows and line.strip():
                self.unknown.add(self._lines, line)
            records += self._rows.records(self._attempt(rows))
        return records

    def finish(self) -> list[Record]:
        """Nothing waits for a further line."""
        return []

    def _attempt(self, rows: Iterable[LogRow]) -> list[LogRow]:
        kept = list(rows)
        if kept and kept[0].epoch is not None:
            self._rows.attempt += kept[0].epoch <= self._epoch
            self._epoch = kept[0].epoch
        return kept


def recognises(head: bytes, path: str) -> int:
    """Epoch objects with a test split or a parameter count; the reference's own come first."""
    known = any(
        rows_of(line.decode("utf-8", "replace"))
        for line in (head.split(b"\n") if b'"epoch"' in head else ())
        if b'"epoch"' in line and (b'"test_' in line or b'"n_parameters"' in line)
    )
    return 93 if known else 0


FORMAT = Format(
    name="deit",
    title="log.txt of DeiT, MAE and ConvNeXt",
    example='{"train_lr": 1e-06, "train_loss": 6.91, "test_loss": 6.53, "epoch": 0}',
    recognises=recognises,
    open=EpochLogParser,
)
