"""What stands around a plot: title with the newest values, labels of y, the time line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from vlamon.charts.chart_style import Look, border_role
from vlamon.charts.glyphs import Glyphs
from vlamon.charts.marks import MARKS, NAN, QUIETEST_OVER_LABELS
from vlamon.charts.raster import MARKED, Cells
from vlamon.charts.rows import Row, cells, crop, shorten_name
from vlamon.charts.ticks import Tick, x_ticks
from vlamon.charts.viewport import View, Window
from vlamon.charts.y_labels import GUTTER

LABEL_EVERY = 12
"""Cells of the time line that a tick label is given."""
AROUND = GUTTER + 2
"""Columns of a chart that are no plot."""


@dataclass(frozen=True, slots=True)
class Readout:
    """One value in the title row."""

    text: str
    """What it says."""
    role: str
    """Role that colours it."""
    label: str = ""
    """Which line of the chart it is of, where there are several: the first to go for room."""
    spare: bool = False
    """Whether it may be left out without a sign that something is missing."""


def title_row(
    title: str,
    readouts: Sequence[Readout],
    width: int,
    glyphs: Glyphs,
    look: Look,
    at: str = "",
) -> Row:
    """Give `╭ closs ───── 8.512 ▾0.3 % ─╮`, or `╭ closs at 39,210 ───── 95.2 ─╮` for a cursor.

    Where room is short the labels go first, then values from the right, with a sign that more
    would follow; a long name gives way to the first value.
    """
    border = border_role(look)
    where = f" at {at}" if at else ""
    least = cell_len(readouts[0].text) + 1 if readouts else 0
    head = shorten_name(title, max(8, width - 7 - len(where) - least), glyphs.ellipsis)
    room = width - cell_len(head) - len(where) - 7
    tail = _figures(readouts, room, glyphs)
    tags = " log" * look.log + " smooth" * (look.smooth is not None)
    start: Row = (
        (f"{glyphs.top_left} ", border),
        (head, "title bold" if look.focused else "title"),
        (where, "accent"),
        (tags if len(tags) <= room - cells(tail) else "", "muted"),
        (" ", ""),
    )
    tail = (*tail, (" ", "")) if tail else (("", border),)
    fill = width - cells(start) - cells(tail) - 2
    end = f"{glyphs.horizontal}{glyphs.top_right}"
    if fill < 0:
        return (*crop(start, width - 2), (end, border))
    return (*start, (glyphs.horizontal * fill, border), *tail, (end, border))


def _figures(readouts: Sequence[Readout], room: int, glyphs: Glyphs) -> Row:
    """Give the values that fit, with their labels where these fit too."""
    labelled: Row = tuple(
        span
        for item in readouts
        for span in (
            (f" {item.label}" if item.label else "", "muted"),
            (f" {item.text}", item.role),
        )
    )
    if cells(labelled) <= room:
        return labelled
    bare: Row = tuple((f" {item.text}", item.role) for item in readouts if not item.spare)
    if cells(bare) <= room:
        return bare
    more: Row = ((f" {glyphs.ellipsis}", "muted"),)
    while bare and cells(bare) + cells(more) > room:
        bare = bare[:-1]
    return (*bare, *more) if bare else ()


def plot_row(grid: Cells, row: int, label: str, glyphs: Glyphs, border: str) -> Row:
    """Give one row of the plot with its label and the frame."""
    return (
        (glyphs.vertical, border),
        (label.rjust(GUTTER), "muted"),
        *runs(grid, row),
        (glyphs.vertical, border),
    )


def runs(grid: Cells, row: int) -> Row:
    """Give a row's cells as spans of one role each."""
    text, roles = grid.text(row), grid.roles[row]
    stops = (np.flatnonzero(roles[1:] != roles[:-1]) + 1).tolist()
    found = []
    start = 0
    for stop in (*stops, len(text)):
        number = int(roles[start])
        role = grid.palette[number & 0x7F]
        if number & MARKED:
            role = f"{role or 'foreground'} on selection"
        found.append((text[start:stop], role))
        start = stop
    return tuple(found)


def _labels(
    shown: Window, view: View, marks: NDArray[np.uint8], utc_offset: float
) -> list[tuple[int, str]]:
    """Give the tick labels that find room, with their first cells: two at least where that can be.

    Loud marks push labels aside. Where they leave fewer than two, finer ticks are tried between
    them, then labels may hide marks that are not the loudest, then any.
    """
    most = max(2, len(marks) // LABEL_EVERY)
    found: list[tuple[int, str]] = []
    for may_hide in (QUIETEST_OVER_LABELS, NAN + 1, len(MARKS)):
        for finer in (1, 2, 4, 8, 16):
            ticks = x_ticks(view.axis, shown.start, shown.end, most * finer, utc_offset)
            apart = 0
            if finer > 1:
                apart = LABEL_EVERY
                ticks = [one for one in ticks if view.axis != "step" or one.value.is_integer()]
            placed = _placed(shown, ticks, marks, may_hide, apart)
            if len(placed) > len(found):
                found = placed
            if len(found) > 1:
                return found
        if not marks.any():
            break
    return found


def _placed(
    shown: Window, ticks: Sequence[Tick], marks: NDArray[np.uint8], may_hide: int, apart: int
) -> list[tuple[int, str]]:
    """Give the labels that hide no louder mark than they may and begin so many cells apart.

    A mark may be hidden that is seen right beside the label, too: where every batch is NaN the
    axis still says where one is.
    """
    found: list[tuple[int, str]] = []
    free = 0
    for tick in ticks:
        column = shown.column(tick.value)
        if column is None:
            continue
        label = f" {tick.label} " if column >= 2 else f"{tick.label} "
        start = column // 2 - (1 if column >= 2 else 0)
        end = start + len(label)
        if start < free or end > len(marks):
            continue
        beside = {*marks[max(0, start - 1) : start].tolist(), *marks[end : end + 1].tolist()}
        hidden = marks[start:end]
        if not {*hidden[hidden > may_hide].tolist()} <= beside:
            continue
        found.append((start, label))
        free = max(end, start + apart)
    return found


def axis_row(
    shown: Window,
    view: View,
    marks: NDArray[np.uint8],
    glyphs: Glyphs,
    *,
    utc_offset: float = 0.0,
    border: str = "border",
    plain: bool = False,
) -> Row:
    """Give the time line: tick labels in the frame, marks of events where they happened.

    `marks` holds a rank of MARKS plus one a cell. Loud marks push a label aside.
    """
    width = len(marks)
    text = [glyphs.horizontal] * width
    roles = [border] * width
    for start, label in _labels(shown, view, marks, utc_offset):
        text[start : start + len(label)] = label
        roles[start : start + len(label)] = ["muted"] * len(label)
    for column in np.flatnonzero(marks).tolist():
        if text[column] == glyphs.horizontal:
            mark = MARKS[int(marks[column]) - 1]
            text[column] = mark.plain if plain else mark.glyph
            roles[column] = mark.role
    lead = glyphs.horizontal * GUTTER
    spans: list[tuple[str, str]] = [(glyphs.bottom_left + lead, border)]
    for char, role in zip(text, roles, strict=True):
        if spans[-1][1] == role:
            spans[-1] = (spans[-1][0] + char, role)
        else:
            spans.append((char, role))
    if spans[-1][1] == border:
        spans[-1] = (spans[-1][0] + glyphs.bottom_right, border)
    else:
        spans.append((glyphs.bottom_right, border))
    return tuple(spans)
