"""`metrics.csv` of Lightning's CSVLogger: a header, then rows with many empty cells.

Training and validation share the columns; a row of validation values alone is an evaluation.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable

from vlamon.records import Record
from vlamon.sources.formats import SURE, Format, UnknownLines
from vlamon.sources.formats.rows import Row, RowBlocks, counted, number

_SPLITS = ("val", "test", "valid", "validation")
_COUNTS = ("step", "epoch", "global_step")
_COUNTED = re.compile(rf"(?:^|,) *\"?(?:{'|'.join(_COUNTS)})\"? *(?:,|$)")
_NAME = re.compile(r"\w[\w /.()%-]*")


class MetricsCsvParser:
    """Rows of a CSV file under its own header; a header that comes again may name other columns."""

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
        if self._header and not self._rows.rows and not _counts(self._header):
            self.unknown.add(1, ",".join(self._header).encode())
        return []

    def _known(self, data: bytes) -> Iterable[Row]:
        for line in data.decode("utf-8", "replace").splitlines():
            self._lines += 1
            cells = _cells(line)
            rows = self._read(cells) if len(cells) == len(self._header) else ()
            if rows:
                yield from rows
            elif _names(cells) and (_counts(cells) or self._lines == 1):
                self._header = cells
            elif line.strip():
                self.unknown.add(self._lines, line.encode())

    def _read(self, cells: list[str]) -> tuple[Row, ...]:
        values = {
            name: value
            for name, cell in zip(self._header, cells, strict=True)
            if cell and (value := number(cell)) is not None
        }
        step = values.pop("step", values.pop("global_step", None))
        epoch = values.pop("epoch", None)
        if not values:
            return ()
        for split in _SPLITS:
            if all(name.startswith((split + "_", split + "/")) for name in values):
                inner = {name[len(split) + 1 :]: value for name, value in values.items()}
                return counted(inner, step, epoch, split=split)
        if all(name.endswith("_epoch") for name in values):
            inner = {
                name.removesuffix("_epoch").removeprefix("train_"): value
                for name, value in values.items()
            }
            return counted(inner, step, epoch, split="train")
        return counted(values, step, epoch)


def _cells(line: str) -> list[str]:
    """The cells of one line; none where it is no CSV at all."""
    if '"' not in line:
        return [cell.strip() for cell in line.split(",")]
    try:
        return [cell.strip() for cell in next(csv.reader([line]), [])]
    except csv.Error:
        return []


def _numeric(cells: list[str]) -> bool:
    return any(number(cell) is not None for cell in cells if cell)


def _names(cells: list[str]) -> bool:
    """Whether these cells can be a header: two names or more, none twice."""
    named = len(cells) > 1 and len(set(cells)) == len(cells) and not _numeric(cells)
    return named and all(_NAME.fullmatch(cell) for cell in cells)


def _counts(header: list[str]) -> bool:
    return any(name in header for name in _COUNTS)


def _is_header(cells: list[str]) -> bool:
    return _counts(cells) and _names(cells)


def recognises(head: bytes, path: str) -> int:
    """A header with step or epoch, and more rows of as many cells with numbers than others.

    A header alone is no more than a hint: its rows are still to come.
    """
    if not any(name.encode() in head for name in _COUNTS):
        return 0
    lines = [line for line in head.decode("utf-8", "replace").splitlines() if line.strip()]
    tables = (at for at, line in enumerate(lines) if _COUNTED.search(line))
    begin = next((at for at in tables if _is_header(_cells(lines[at]))), None)
    if begin is None:
        return 0
    fits, width = [], 0
    for cells in map(_cells, lines[begin:]):
        if _is_header(cells):
            width = len(cells)
        else:
            fits.append(_numeric(cells) and len(cells) == width)
    if not fits:
        return SURE - 1
    return 94 if 2 * sum(fits) > len(fits) else 0


FORMAT = Format(
    name="lightning",
    title="metrics.csv of Lightning's CSVLogger",
    example="epoch,step,train_loss,val_loss",
    recognises=recognises,
    open=MetricsCsvParser,
)
