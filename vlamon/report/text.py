"""The report for a terminal: 80 columns, or as many as there are."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

from vlamon.analysis.evidence import Series
from vlamon.charts.bins import Bins
from vlamon.charts.numbers import number
from vlamon.charts.raster import Curve, rasterise
from vlamon.charts.scale import fit
from vlamon.report.contents import Report
from vlamon.report.drawing import axis_label, columns_of
from vlamon.report.sentences import (
    anomaly_table,
    convergence_sentence,
    curve_title,
    epoch_table,
    event_lines,
    files,
    left_out,
    reading_sentence,
    say,
    shares_table,
    verdict,
)

WIDTH = 80
_ROWS = 6
_LABEL = 9
_MARKS = {"error": "✖", "warn": "▲", "info": "·"}


def as_text(report: Report, width: int = WIDTH) -> str:
    """The whole report."""
    return "\n".join(line.rstrip() for line in _lines(report, width)) + "\n"


def _lines(report: Report, width: int) -> Iterator[str]:
    head = say(report, f"verdict-{report.verdict}")
    yield from _wrapped(f"{head} · {verdict(report)}", width)
    for line in files(report):
        yield from _wrapped(f"{say(report, 'files')}: {line}", width, "  ")
    if report.epochs:
        yield from _heading(say(report, "epochs"), width)
        yield from _table(*_fitting(report, width))
    if report.curves:
        yield from _heading(say(report, "curves"), width)
        for curve in report.curves:
            yield from _chart(report, curve, width)
    if report.shares is not None:
        yield from _heading(say(report, "shares"), width)
        yield from _table(*shares_table(report))
        if report.assumed_weights:
            yield from _wrapped(say(report, "assumed"), width, "  ")
        yield from _wrapped(say(report, "not-pull"), width, "  ")
    yield from _heading(say(report, "anomalies"), width)
    if report.anomalies:
        yield from _table(*anomaly_table(report))
    else:
        yield f"  {say(report, 'none')}"
    if left_out(report):
        yield from _wrapped(left_out(report), width, "  ")
    if report.events:
        yield from _heading(say(report, "events"), width)
        for line in event_lines(report):
            yield from _wrapped(line, width, "  ")
    if report.convergence:
        yield from _heading(say(report, "convergence"), width)
        for state in report.convergence:
            yield from _wrapped(convergence_sentence(report, state), width, "  ")
    if report.readings:
        yield from _heading(say(report, "readings"), width)
        for reading in report.readings:
            yield from _wrapped(reading_sentence(report, reading), width, "  ")
    yield from _diagnoses(report, width)


def _diagnoses(report: Report, width: int) -> Iterator[str]:
    yield from _heading(say(report, "diagnoses"), width)
    if not report.diagnoses:
        yield f"  {say(report, 'none')}"
    for diagnosis in report.diagnoses:
        mark = _MARKS[diagnosis.severity]
        yield from _wrapped(f"{mark} {diagnosis.title}  [{diagnosis.id}]", width, "  ")
        yield from _wrapped(diagnosis.evidence, width, "    ")
        yield from _wrapped(f"→ {diagnosis.advice}", width, "    ")
    if report.not_inverted:
        yield ""
        names = ", ".join(report.not_inverted)
        yield from _wrapped(say(report, "not-inverted", names=names), width)


def _fitting(report: Report, width: int) -> tuple[list[str], list[list[str]]]:
    """The epoch table with as many metrics as fit."""
    for columns in range(len(report.columns), 0, -1):
        header, rows = epoch_table(report, columns)
        if sum(_widths(header, rows)) + 2 * len(header) <= width:
            return header, rows
    return epoch_table(report, 1)


def _heading(title: str, width: int) -> Iterator[str]:
    yield ""
    yield f"── {title} " + "─" * max(0, width - 4 - columns(title))


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = _widths(header, rows)
    numeric = [
        all(row[i][:1] in "+−–0123456789.N" or not row[i] for row in rows)
        for i in range(len(header))
    ]
    for row in (header, *rows):
        cells = [
            _padded(cell, width, right)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        yield "  " + "  ".join(cells)


def _widths(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(columns(row[i]) for row in (header, *rows)) for i in range(len(header))]


def _chart(report: Report, curve: Series, width: int) -> Iterator[str]:
    dots = 2 * (width - _LABEL - 3)
    drawn = columns_of(curve, dots)
    low, high = drawn.low.astype(np.float32), drawn.high.astype(np.float32)
    flags = np.where(np.isnan(low), 0, 1) | np.where(drawn.broken, 2, 0)
    bins = Bins(low, high, high, np.ones(dots, np.int64), flags.astype(np.uint8))
    scale = fit(low, high, log=drawn.log, robust=False)
    cells = rasterise([Curve(bins, "curve")], scale, dots, _ROWS)
    yield f"  {curve_title(report, curve)}"
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
