"""The report for a terminal: 80 columns, or as many as there are."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator

import numpy as np

from vlamon.analysis.series import Series
from vlamon.charts.bins import Bins
from vlamon.charts.cells import Curve as RasterCurve
from vlamon.charts.numbers import number
from vlamon.charts.raster import rasterise
from vlamon.charts.scale import fit
from vlamon.report.body import Bar, Block, Body, Curve, DiagnosisBlock, Items, Note, Table, compose
from vlamon.report.contents import Report
from vlamon.report.drawing import axis_label, columns_of

WIDTH = 80
_ROWS = 6
_LABEL = 9
_MARKS = {"error": "✖", "warn": "▲", "info": "·"}


def as_text(report: Report, width: int = WIDTH) -> str:
    """The whole report."""
    fits = compose(report, lambda table: sum(_widths(table)) + 2 * len(table.header) <= width)
    return text_of(fits, width)


def text_of(body: Body, width: int = WIDTH) -> str:
    """A body, set for a terminal."""
    return "\n".join(line.rstrip() for line in _lines(body, width)) + "\n"


def _lines(body: Body, width: int) -> Iterator[str]:
    yield from _wrapped(body.found, width)
    yield from _wrapped(f"{body.head} · {body.sentence}", width)
    for file in body.files:
        yield from _wrapped(file, width, "  ")
    for section in body.sections:
        yield ""
        yield f"── {section.title} " + "─" * max(0, width - 4 - columns(section.title))
        for block in section.blocks:
            yield from _block(block, width)


def _block(block: Block, width: int) -> Iterator[str]:
    match block:
        case Table():
            yield from _table(block)
        case Curve(title, series):
            yield from _chart(title, series, width)
        case Items(lines):
            for line in lines:
                yield from _wrapped(line, width, "  ")
        case Note(text):
            yield from _wrapped(text, width, "  ")
        case DiagnosisBlock():
            mark = _MARKS[block.severity]
            yield from _wrapped(f"{mark} {block.title}  [{block.id}]", width, "  ")
            yield from _wrapped(block.evidence, width, "    ")
            yield from _wrapped(f"→ {block.advice}", width, "    ")
        case Bar():
            return


def _table(table: Table) -> Iterator[str]:
    widths = _widths(table)
    for row in (table.header, *table.rows):
        cells = [
            _padded(cell, width, right)
            for cell, width, right in zip(row, widths, table.numeric, strict=True)
        ]
        yield "  " + "  ".join(cells)


def _widths(table: Table) -> list[int]:
    rows = (table.header, *table.rows)
    return [max(columns(row[at]) for row in rows) for at in range(len(table.header))]


def _chart(title: str, curve: Series, width: int) -> Iterator[str]:
    dots = 2 * (width - _LABEL - 3)
    drawn = columns_of(curve, dots)
    low, high = drawn.low.astype(np.float32), drawn.high.astype(np.float32)
    flags = np.where(np.isnan(low), 0, 1) | np.where(drawn.broken, 2, 0)
    several = np.where(low < high, 2, 1)
    bins = Bins(low, high, high, several * drawn.mean, several, flags.astype(np.uint8))
    scale = fit([(low, high)], log=drawn.log, robust=False)
    cells = rasterise([RasterCurve(bins, drawn.mean, "curve")], scale, dots, _ROWS, tinted=False)
    yield f"  {title}"
    labels = {0: scale.value_at(0.0), _ROWS // 2: scale.value_at(0.5), _ROWS - 1: scale.low}
    for row in range(_ROWS):
        label = number(labels[row], 3) if row in labels else ""
        yield f"{label:>{_LABEL}} ┤{cells.text(row)}"
    left, right = (axis_label(place) for place in (drawn.first, drawn.last))
    gap = width - _LABEL - 3 - len(left) - len(right)
    yield " " * (_LABEL + 2) + left + " " * max(1, gap) + right


def _wrapped(text: str, width: int, indent: str = "") -> Iterator[str]:
    hanging = indent + ("  " if text[:2] in ("✖ ", "▲ ", "· ", "→ ") else "")
    if all(columns(char) == 1 for char in text):
        yield from textwrap.wrap(
            text, width, initial_indent=indent, subsequent_indent=hanging, break_on_hyphens=False
        )
        return
    line = indent
    for piece in _pieces(text):
        if columns(line + piece.rstrip()) > width and line.strip():
            yield line
            line, piece = hanging, piece.lstrip()
        line += piece
    yield line


def _pieces(text: str) -> Iterator[str]:
    """Where a line with Chinese may break: behind every wide character, and behind spaces."""
    piece = ""
    for char in text:
        if piece and char not in "，。；：、））" and (piece[-1] == " " or columns(piece[-1]) == 2):
            yield piece
            piece = ""
        piece += char
    yield piece


def columns(text: str) -> int:
    """Terminal columns of a text; Chinese takes two a character."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _padded(cell: str, width: int, right: bool) -> str:
    fill = " " * (width - columns(cell))
    return fill + cell if right else cell + fill
