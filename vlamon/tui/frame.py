"""What stands around a plot: title with the newest values, labels of y, the time line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from vlamon.tui.glyphs import Glyphs
from vlamon.tui.look import Look, border_role
from vlamon.tui.marks import MARKS, QUIETEST_OVER_LABELS
from vlamon.tui.raster import MARKED, Cells
from vlamon.tui.rows import Row, cells, crop, shorten
from vlamon.tui.scale import Scale
from vlamon.tui.ticks import Tick, linear_ticks, log_ticks, number_label, x_ticks
from vlamon.tui.viewport import View, Window

GUTTER = 6
"""Columns for the labels of y, the same in all charts so that their x axes are in line."""
AROUND = GUTTER + 2
"""Columns of a chart that are no plot."""


@dataclass(frozen=True, slots=True)
class Readout:
    """One value in the title row."""

    text: str
    """What it says."""
    role: str
    """Role that colours it."""


def title_row(
    title: str, readouts: Sequence[Readout], width: int, glyphs: Glyphs, look: Look
) -> Row:
    """Give `╭ closs ───── 8.512 ▾0.3 % ─╮`; values that do not fit are left out from the left."""
    border = border_role(look)
    head = shorten(title, max(1, width - 6), glyphs.ellipsis)
    room = width - cell_len(head) - 7
    kept: list[Readout] = []
    for readout in reversed(readouts):
        room -= cell_len(readout.text) + 1
        if room < 0:
            break
        kept.insert(0, readout)
    tail: Row = (("", border),)
    if kept:
        tail = tuple(span for item in kept for span in ((" ", ""), (item.text, item.role)))
        tail = (*tail, (" ", ""))
    tags = " log" * look.log + " smooth" * (look.smooth is not None)
    start: Row = (
        (f"{glyphs.top_left} ", border),
        (head, "title bold" if look.focused else "title"),
        (tags if len(tags) <= room else "", "muted"),
        (" ", ""),
    )
    fill = width - cells(start) - cells(tail) - 2
    end = f"{glyphs.horizontal}{glyphs.top_right}"
    if fill < 0:
        return (*crop(start, width - 2), (end, border))
    return (*start, (glyphs.horizontal * fill, border), *tail, (end, border))


def y_labels(scale: Scale, rows: int) -> list[str]:
    """Give the label of each plot row, right-aligned in the gutter; empty where no tick falls."""
    labels = [""] * rows
    if rows < 1:
        return labels
    most = max(2, (rows + 1) // 2)
    ticks = (log_ticks if scale.log else linear_ticks)(scale.low, scale.high, most)
    placed = [(scale.row(tick.value, rows), tick) for tick in ticks]
    if len({row for row, _ in placed}) < 2 and rows > 1:
        step = (scale.high - scale.low) / 10
        ends = (
            (0, Tick(scale.high, number_label(scale.high, step))),
            (rows - 1, Tick(scale.low, number_label(scale.low, step))),
        )
        placed = list(ends)
    for row, tick in placed:
        if row is not None and len(tick.label) <= GUTTER:
            labels[row] = tick.label.rjust(GUTTER)
    return labels


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
    loud = marks > QUIETEST_OVER_LABELS
    for tick in x_ticks(view.axis, shown.start, shown.end, max(2, width // 12), utc_offset):
        column = shown.column(tick.value)
        if column is None:
            continue
        label = f" {tick.label} " if column >= 2 else f"{tick.label} "
        start = column // 2 - (1 if column >= 2 else 0)
        end = start + len(label)
        taken = any(char != glyphs.horizontal for char in text[start:end])
        if end > width or taken or loud[start:end].any():
            continue
        text[start:end] = label
        roles[start:end] = ["muted"] * len(label)
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
