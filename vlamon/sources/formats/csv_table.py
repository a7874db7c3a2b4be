"""Tables with a header, of commas, semicolons, tabs or bars: Lightning, SB3, Keras, ultralytics.

Training and validation share the columns of Lightning's `metrics.csv`; a row of validation values
alone is an evaluation. A row with an epoch and without a step stands for its epoch. A cell `0,5` or
`1,234` is left out: it may be two numbers. On a console, a table has bars
(`| Epoch | Train Loss |`), and other lines may stand between its rows.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vlamon.records import Record
from vlamon.sources.formats import SURE, Format, UnknownLines
from vlamon.sources.formats.json_lines import EPOCHS, STEPS, TIMES, YEAR_2000
from vlamon.sources.formats.rows import LogRow, RowBlocks, counted, number
from vlamon.sources.formats.settings import is_metric

_SPLITS = ("val", "test", "valid", "validation", "eval")
_STEPS = (
    *(name for name in STEPS if name != "steps"),
    *("time/total_timesteps", "total_timesteps", "num_timesteps", "timesteps", "total_steps"),
    *("env_steps", "env_step", "steps"),
)
_BAR = "|"
_DELIMITERS = (",", ";", "\t", _BAR)
_BORDER = re.compile(r"[\s|:+=-]{3,4000}")
"""The line below a header of bars, or around its table."""
_NAME = re.compile(r"[\w#<@][\w /.()%@<>#:+&|*-]{0,160}")
_SPREAD = ("__MIN", "__MAX")
"""Columns that W&B's export puts beside each metric."""


@dataclass(frozen=True, slots=True)
class _Header:
    """The names of a table's columns, and which of them count."""

    delimiter: str
    names: tuple[str, ...]
    step: int | None
    epoch: int | None

    @property
    def counts(self) -> bool:
        """Whether the rows say where they stand."""
        return self.step is not None or self.epoch is not None


def header_of(line: str) -> _Header | None:
    """The header that a line is: two names or more, none twice, none a number."""
    delimiter = max(_DELIMITERS, key=line.count)
    if delimiter not in line or len(line) > 1 << 16:
        return None
    names = _cells(line, delimiter)
    if len(names) > 2 and not names[-1]:
        names.pop()  # a delimiter behind the last name, as behind the last cell of each row
    # Pandas leaves the name of its index empty: rows of a history are epochs then.
    named = names[1:] if names and not names[0] else names
    if len(set(names)) < len(names) or len(names) < 2 or not all(map(_NAME.fullmatch, named)):
        return None
    if any(number(name) is not None for name in named):
        return None
    spelt = [name.lower() for name in names]
    step = next((spelt.index(name) for name in _STEPS if name in spelt), None)
    epoch = next((spelt.index(name) for name in EPOCHS if name in spelt), None)
    if step is None and epoch is None and len(named) < len(names):
        step, epoch = (None, 0) if any(n.startswith("val_") for n in names) else (0, None)
    header = _Header(delimiter, tuple(names), step, epoch)
    # Bars stand between anything on a console.
    if delimiter == _BAR and not (header.counts and any(map(is_metric, names))):
        return None
    return header


def _cells(line: str, delimiter: str) -> list[str]:
    """The cells of one line; none where it has no table cells."""
    if delimiter == _BAR:
        line = line.strip().strip(_BAR)
    if '"' not in line:
        return [cell.strip() for cell in line.split(delimiter)]
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


class TableParser:
    """Rows under their header; a header that comes again may name other columns."""

    def __init__(self, path: str = "") -> None:
        self.unknown = UnknownLines()
        self._header: _Header | None = None
        self._rows = RowBlocks()
        self._lines = 0

    def feed(self, data: bytes) -> list[Record]:
        """Records of these whole lines."""
        return self._rows.records(self._known(data))

    def finish(self) -> list[Record]:
        """Nothing waits for a further line."""
        header = self._header
        if header is not None and not self._rows.rows and not header.counts:
            self.unknown.add(1, header.delimiter.join(header.names).encode())
        return []

    def _known(self, data: bytes) -> Iterable[LogRow]:
        for line in data.decode("utf-8", "replace").splitlines():
            self._lines += 1
            rows = () if self._header is None else read(line, self._header)
            if rows:
                yield from rows
                continue
            header = header_of(line)
            first = self._header is None and self._lines == 1
            if header is not None and (header.counts or first):
                self._header = header
            elif line.strip() and not _BORDER.fullmatch(line):
                self.unknown.add(self._lines, line.encode())


def read(line: str, header: _Header) -> tuple[LogRow, ...]:
    """The row of one line under this header, nothing where they do not fit."""
    cells = _cells(line, header.delimiter)
    if len(cells) == len(header.names) + 1 and not cells[-1]:
        cells.pop()
    if len(cells) != len(header.names):
        return ()
    values = {
        name: value
        for name, cell in zip(header.names, cells, strict=True)
        if not name.endswith(_SPREAD) and (value := number(cell.removesuffix("%"))) is not None
    }
    step = None if header.step is None else values.pop(header.names[header.step], None)
    epoch = None if header.epoch is None else values.pop(header.names[header.epoch], None)
    time = next((values.pop(name) for name in TIMES if values.get(name, 0) > YEAR_2000), None)
    if not values:
        return ()
    for split in _SPLITS:
        if all(name.startswith((split + "_", split + "/")) for name in values):
            inner = {name[len(split) + 1 :]: value for name, value in values.items()}
            return counted(inner, step, epoch, time, split)
    if all(name.endswith("_epoch") for name in values):
        inner = {
            name.removesuffix("_epoch").removeprefix("train_"): value
            for name, value in values.items()
        }
        return counted(inner, step, epoch, time, "train")
    return counted(values, step, epoch, time, averaged=header.step is None and epoch is not None)


def _fits(lines: Sequence[str], header: _Header) -> float | None:
    """Share of the lines that hold a row, None where there is no line yet."""
    fits = []
    for line in lines:
        again = header_of(line)
        if again is not None and again.counts:
            header = again
        elif header.delimiter != _BAR or (_BAR in line and not _BORDER.fullmatch(line)):
            fits.append(bool(read(line, header)))
    return sum(fits) / len(fits) if fits else None


def recognises(head: bytes, path: str) -> int:
    """A header with a count or a metric, and more rows under it than other lines.

    A header alone is no more than a hint: its rows are still to come.
    """
    lines = [line for line in head.decode("utf-8", "replace").splitlines() if line.strip()]
    counts = (at for at, line in enumerate(lines) if _may_count(line))
    headers = ((at, header) for at in counts if (header := header_of(lines[at])) is not None)
    begin, header = next((h for h in headers if h[1].counts), (0, None))
    if header is None and lines:
        header = header_of(lines[0])
        if header is None or not (header.counts or any(map(is_metric, header.names))):
            return 0
    if header is None:
        return 0
    share = _fits(lines[begin + 1 :], header)
    if share is None:
        return SURE - 1 if header.counts else 0
    return 94 if share > 0.5 else 0


def _may_count(line: str) -> bool:
    """Whether a line may be a header with a count: a search that is cheap for all others."""
    lower = line.lower()
    return any(sign in lower for sign in ("step", "epoch", "iter", "batch")) and "{" not in line


FORMAT = Format(
    name="csv",
    title="tables with a header: metrics.csv of Lightning, progress.csv, results.csv",
    example="epoch,step,train_loss,val_loss",
    recognises=recognises,
    open=TableParser,
)
