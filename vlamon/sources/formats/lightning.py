"""`metrics.csv` of Lightning's CSVLogger: a header, then rows with many empty cells.

Training and validation share the columns; a row of validation values alone is an evaluation.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable

from vlamon.records import Record
from vlamon.sources.formats import Format, UnknownLines
from vlamon.sources.formats.rows import Row, RowBlocks, number

_SPLITS = ("val", "test", "valid", "validation")
_COUNTS = ("step", "epoch", "global_step")


class MetricsCsvParser:
    """Rows of a CSV file under its own header."""

    def __init__(self, path: str = "") -> None:
        self.unknown = UnknownLines()
        self._header: list[str] = []
        self._rows = RowBlocks()
        self._lines = 0

    def feed(self, data: bytes) -> list[Record]:
        """Records of these whole lines."""
        return self._rows.records(self._known(data))

    def finish(self) -> list[Record]:
        """Nothing waits for a further line."""
        return []

    def _known(self, data: bytes) -> Iterable[Row]:
        text = data.decode("utf-8", "replace")
        for cells in csv.reader(text.splitlines()):
            self._lines += 1
            if not cells:
                continue
            if not self._header or (not _numeric(cells) and len(set(cells)) == len(cells)):
                self._header = [cell.strip() for cell in cells]
                continue
            row = self._row(cells) if len(cells) == len(self._header) else None
            if row is None:
                self.unknown.add(self._lines, ",".join(cells).encode())
            else:
                yield row

    def _row(self, cells: list[str]) -> Row | None:
        values = {
            name: value
            for name, cell in zip(self._header, cells, strict=True)
            if cell and (value := number(cell)) is not None
        }
        step = values.pop("step", values.pop("global_step", None))
        epoch = values.pop("epoch", None)
        if not values:
            return None
        count = None if step is None or step != step else int(step)
        for split in _SPLITS:
            if all(name.startswith((split + "_", split + "/")) for name in values):
                inner = {name[len(split) + 1 :]: value for name, value in values.items()}
                return Row(inner, count, epoch, split=split)
        if all(name.endswith("_epoch") for name in values):
            inner = {
                name.removesuffix("_epoch").removeprefix("train_"): value
                for name, value in values.items()
            }
            return Row(inner, count, epoch, split="train")
        return Row(values, count, epoch)


def _numeric(cells: list[str]) -> bool:
    return any(number(cell) is not None for cell in cells if cell)


def recognises(head: bytes, path: str) -> int:
    """A header with step or epoch, and rows of as many cells that are numbers or empty."""
    lines = head.decode("utf-8", "replace").splitlines()[:20]
    if not lines or "," not in lines[0]:
        return 0
    rows = list(csv.reader(lines))
    header = [cell.strip() for cell in rows[0]]
    if not any(name in header for name in _COUNTS) or _numeric(header):
        return 0
    fits = [len(row) == len(header) and _numeric(row) for row in rows[1:] if row]
    return 94 if all(fits) else 0


FORMAT = Format(
    name="lightning",
    title="metrics.csv of Lightning's CSVLogger",
    example="epoch,step,train_loss,val_loss",
    recognises=recognises,
    open=MetricsCsvParser,
)
