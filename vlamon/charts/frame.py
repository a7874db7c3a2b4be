"""What stands around a plot: title with the newest values, labels of y, the time line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from vlamon.charts.cells import MARKED, Cells
from vlamon.charts.chart_style import ChartStyle, border_role
from vlamon.charts.glyphs import Glyphs
from vlamon.charts.marks import MARKS, NAN, QUIETEST_OVER_LABELS
from vlamon.charts.numbers import short_count
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
    spare: int = 0
    """When it is left out for room without a sign that something is missing: the highest first, 0
    never."""


def title_row(
    title: str,
    readouts: Sequence[Readout],
    width: int,
    glyphs: Glyphs,
    look: ChartStyle,
    at: str = "",
) -> Row:
    """Return `╭ closs  8.42 ▾0.6±0.2 %/1k  (batch 8.60) ──╮`, or `╭ closs at 39,210  95.2 ──╮`.

    Where room is short, spare values go first, then labels, then values from the right, with a sign
    that more would follow; a long name gives way to the first value.
    """
    border = border_role(look)
    where = f" at {at}" if at else ""
    least = cell_len(readouts[0].text) + 2 if readouts else 0
    head = shorten_name(title, max(8, width - 6 - len(where) - least), glyphs.ellipsis)
    room = width - cell_len(head) - len(where) - 6
    figures = _figures(readouts, room, glyphs)
    tags = " log" * look.log
    start: Row = (
        (f"{glyphs.top_left} ", border),
        (head, "title bold" if look.focused else "title"),
        (where, "accent"),
        (tags if len(tags) <= room - cells(figures) else "", "muted"),
        *figures,
        (" ", ""),
    )
    fill = width - cells(start) - 2
    end = f"{glyphs.horizontal}{glyphs.top_right}"
    if fill < 0:
        return (*crop(start, width - 2), (end, border))
    return (*start, (glyphs.horizontal * fill + end, border))


def _figures(readouts: Sequence[Readout], room: int, glyphs: Glyphs) -> Row:
    """Return the values that fit, with their labels where these fit too."""
    for most in (*range(max((item.spare for item in readouts), default=0), -1, -1), -1):
        kept = [item for item in readouts if item.spare <= max(most, 0)]
        found = _spaced(kept, labelled=most >= 0)
        if cells(found) <= room:
            return found
    more: Row = ((f" {glyphs.ellipsis}", "muted"),)
    while kept and cells(found) + cells(more) > room:
        kept = kept[:-1]
        found = _spaced(kept, labelled=False)
    return (*found, *more) if kept else ()


def _spaced(readouts: Sequence[Readout], labelled: bool) -> Row:
    """Return values one after another, the first one apart from the name before it."""
    row: list[tuple[str, str]] = [(" ", "")] if readouts else []
    for item in readouts:
        if labelled and item.label:
            row.append((f" {item.label}", "muted"))
        row.append((f" {item.text}", item.role))
    return tuple(row)


def plot_row(grid: Cells, row: int, label: str, glyphs: Glyphs, border: str, ends: Row = ()) -> Row:
    """Return one row of the plot with its label, the frame, and what stands at its right end."""
    return (
        (glyphs.vertical, border),
        (label.rjust(GUTTER), "muted"),
        *runs(grid, row),
        *ends,
        (glyphs.vertical, border),
    )


def runs(grid: Cells, row: int) -> Row:
    """Return a row's cells as spans of one role each.

    A blank takes the role of the cell before it where both have the same ground: it looks the same,
    and each span costs bytes on the way to the terminal.
    """
    # Cell by cell: of one row of a chart, NumPy takes twice the time.
    text, roles, grounds = grid.text(row), grid.roles[row].tolist(), grid.grounds[row].tolist()
    found = []
    start, role, ground = 0, roles[0], grounds[0]
    for at, (char, its_role, its_ground) in enumerate(zip(text, roles, grounds, strict=True)):
        if its_ground == ground and (
            its_role == role or (char == " " and its_role & MARKED == role & MARKED)
        ):
            continue
        found.append((text[start:at], _role(grid, role, ground)))
        start, role, ground = at, its_role, its_ground
    found.append((text[start:], _role(grid, role, ground)))
    return tuple(found)


def _role(grid: Cells, number: int, ground: int) -> str:
    """Return the role of a cell on its ground."""
    role = grid.palette[number & ~MARKED]
    if number & MARKED:
        return f"{role or 'foreground'} on selection"
    return f"{role or 'foreground'} on tint:{grid.palette[ground]}" if ground else role


def _labels(
    shown: Window, view: View, marks: NDArray[np.uint8], utc_offset: float, newest: float
) -> list[tuple[int, str]]:
    """Return the labels that find room, with their first cells: where the data ends, then ticks,
    two at least where that can be.

    Loud marks push labels aside. Where they leave fewer than two, finer ticks are tried between
    them, then labels may hide marks that are not the loudest, then any.
    """
    most = max(2, len(marks) // LABEL_EVERY)
    last = _newest_label(shown, view, marks, newest)
    taken = last[0] if last is not None else len(marks)
    found: list[tuple[int, str]] = []
    for may_hide in (QUIETEST_OVER_LABELS, NAN + 1, len(MARKS)):
        for finer in (1, 2, 4, 8, 16):
            ticks = x_ticks(view.axis, shown.start, shown.end, most * finer, utc_offset)
            apart = 0
            if finer > 1:
                apart = LABEL_EVERY
                ticks = [one for one in ticks if view.axis != "step" or one.value.is_integer()]
            placed = _placed(shown, ticks, marks[:taken], may_hide, apart)
            if len(placed) > len(found):
                found = placed
            if len(found) > (last is None):
                break
        if len(found) > (last is None) or not marks.any():
            break
    return found if last is None else [*found, last]


def _newest_label(
    shown: Window, view: View, marks: NDArray[np.uint8], newest: float
) -> tuple[int, str] | None:
    """Return where x ends and what stands there; None where it is out of sight or hides a mark."""
    column = shown.column(newest)
    if column is None or view.axis not in ("step", "epoch"):
        return None
    value = float(f"{newest:.3g}") if newest >= 1000 else newest
    label = f" {short_count(round(value, 2))} "
    start = min(column // 2 + 2, len(marks)) - len(label)
    if start < LABEL_EVERY // 2 or (marks[start : start + len(label)] > QUIETEST_OVER_LABELS).any():
        return None
    return start, label


def _placed(
    shown: Window, ticks: Sequence[Tick], marks: NDArray[np.uint8], may_hide: int, apart: int
) -> list[tuple[int, str]]:
    """Return the labels that hide no louder mark than they may and begin so many cells apart.

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
    newest: float = math.nan,
    points: Sequence[int] = (),
    tail: int = 0,
) -> Row:
    """Return the time line: tick labels in the frame, marks of events where they happened.

    `marks` holds a rank of MARKS plus one per cell. Loud marks push a label aside. `newest` is
    where the data ends; `points` are the cells of few values, each of which has a tick; `tail`
    cells follow on the right.
    """
    width = len(marks)
    text = [glyphs.horizontal] * width
    roles = [border] * width
    for cell in points:
        text[cell] = glyphs.tick
    for start, label in _labels(shown, view, marks, utc_offset, newest):
        text[start : start + len(label)] = label
        roles[start : start + len(label)] = ["muted"] * len(label)
    for column in np.flatnonzero(marks).tolist():
        if text[column] in (glyphs.horizontal, glyphs.tick):
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
    corner = glyphs.horizontal * tail + glyphs.bottom_right
    if spans[-1][1] == border:
        spans[-1] = (spans[-1][0] + corner, border)
    else:
        spans.append((corner, border))
    return tuple(spans)
