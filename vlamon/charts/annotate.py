"""Writes over and beside the curves of a chart: guides, points, judged batches, and marks
for values that are out of range or no number.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vlamon.charts.bins import NAN, NEG_INF, POS_INF, Bins
from vlamon.charts.braille import DOTS_HIGH, DOTS_WIDE
from vlamon.charts.cells import MISSING, OUTSIDE, Cells, Curve, Guide, JudgedDot, Signs
from vlamon.charts.numbers import number
from vlamon.charts.scale import Scale
from vlamon.charts.shapes import Dots, Shape

NEAR: Final = 6
"""Cells that the value of an arrow may stand away from it."""


def _cells_with(columns: NDArray[np.bool_]) -> Dots:
    """Return the cells that one of these dot columns belongs to."""
    return np.flatnonzero(columns[::2] | columns[1::2])


def draw_guide(
    grid: Cells, guide: Guide, scale: Scale, dark: NDArray[np.bool_], signs: Signs
) -> None:
    """Draw a guide through the cells of its row that no curve lights."""
    row = scale.row(guide.value, len(grid.glyphs))
    if row is not None:
        grid.put(row, np.flatnonzero(dark[row]), signs.guide, guide.role)


def label_guide(
    grid: Cells, guide: Guide, scale: Scale, dark: NDArray[np.bool_], signs: Signs
) -> None:
    """Write a guide's label into its row, else beside it, else its value alone: no line is without
    its meaning."""
    row = scale.row(guide.value, len(grid.glyphs))
    if row is None or not guide.label:
        return
    room = dark[row] & (grid.glyphs[row] == ord(signs.guide))
    whole, value = f" {guide.label} ", f" {guide.label.rsplit(' ', 1)[-1]} "
    places = [(row, room, whole)]
    for near in (row - 1, row + 1):
        if 0 < near < len(grid.glyphs) - 1:
            places.append((near, grid.glyphs[near] == ord(" "), whole))
    for at, free, text in (*places, (row, room, value)):
        start = _room_for(free, len(text), int(0.6 * dark.shape[1]))
        if start is not None:
            grid.write(at, start, text, guide.role)
            return


def _room_for(free: NDArray[np.bool_], length: int, wanted: int) -> int | None:
    """Return where `length` free cells begin, as near as they are to a wanted place."""
    cells, room = free.tobytes(), b"\x01" * length
    before, behind = cells.rfind(room, 0, wanted + length), cells.find(room, wanted)
    if before < 0 or behind < 0:
        return max(before, behind) if max(before, behind) >= 0 else None
    return before if wanted - before <= behind - wanted else behind


def draw_points(grid: Cells, curve: Curve, found: Shape, signs: Signs) -> None:
    """Put a round dot on each of few values."""
    rows = len(grid.glyphs)
    for column in np.flatnonzero(curve.bins.finite).tolist():
        dot = int(found.top[column])
        if 0 <= dot < rows * DOTS_HIGH:
            place = np.array([column // DOTS_WIDE])
            grid.put(dot // DOTS_HIGH, place, signs.point, curve.role)


def mark_outside(grid: Cells, curve: Curve, found: Shape, signs: Signs) -> None:
    """Mark where values leave the range: one arrow with the farthest value for neighbours, none
    over what a judged batch has written."""
    bins, dots = curve.bins, len(grid.glyphs) * DOTS_HIGH
    infinite = (bins.flags & (POS_INF | NEG_INF)).any()
    if not infinite and found.inside(dots):
        return
    role = curve.role if curve.under else OUTSIDE
    drawn = curve.band or curve.raw
    lit = found.end > found.first
    above = np.where(drawn, found.top, found.first) < 0
    below = np.where(drawn, found.bottom, found.end - 1) >= dots
    some = (bins.finite > 0) if drawn else (bins.finite > 0) & lit
    arrows: list[tuple[int, int, float]] = []
    for row, outside, sign, far in (
        (0, above & some, signs.above, max),
        (-1, below & some, signs.below, min),
    ):
        for first, end in _groups(_cells_with(outside).tolist()):
            columns = range(first * DOTS_WIDE, end * DOTS_WIDE)
            values = (bins.high if row == 0 else bins.low)[columns.start : columns.stop].tolist()
            value, column = far(
                (value, -column if row == 0 else column)
                for value, column in zip(values, columns, strict=True)
                if value == value
            )
            cell = abs(column) // DOTS_WIDE
            written = grid.glyphs[row, cell] != ord(signs.guide)
            if not (written and grid.role(row, cell) in ("warn", "explode")):
                grid.write(row, cell, sign, role)
                arrows.append((row, cell, value))
    for row, cell, value in arrows:  # all arrows come first: none may stand in another's value
        _write_value(grid, row, cell, value, role, signs, NEAR)
    for row, flag in ((0, POS_INF), (-1, NEG_INF)):
        infinite = (bins.flags & flag) != 0
        if infinite.any():
            grid.put(row, _cells_with(infinite), signs.infinite, MISSING)


def _groups(cells: list[int]) -> Iterator[tuple[int, int]]:
    """Return the first cell of each group of neighbours, and one past its last."""
    starts = [at for at, cell in enumerate(cells) if not at or cell > cells[at - 1] + 1]
    for start, end in pairwise((*starts, len(cells))):
        yield cells[start], cells[end - 1] + 1


def _arrow(
    grid: Cells,
    row: int,
    cell: int,
    sign: str,
    value: float,
    role: str,
    signs: Signs,
) -> None:
    """Put an arrow into its cell and its value beside it."""
    grid.write(row, cell, sign, role)
    _write_value(grid, row, cell, value, role, signs, 0)


def _write_value(
    grid: Cells, row: int, cell: int, value: float, role: str, signs: Signs, near: int
) -> None:
    """Write the value of an arrow beside it, or up to `near` cells away."""
    label = number(value, 3)
    label = label.replace("−", "-") if signs.ascii_only else label
    free = (grid.glyphs[row] == ord(" ")) | (grid.glyphs[row] == ord(signs.guide))
    for start in (cell + 1, cell - len(label)):
        if _apart(grid, row, start, len(label), free):
            grid.write(row, start, label, role)
            return
    away = _room_for(free, len(label), cell)
    if away is None or abs(away - cell) > near:
        return
    between = grid.glyphs[row, min(away, cell + 1) : max(away, cell)]
    arrows = np.isin(between, (ord(signs.above), ord(signs.below))).any()
    if not arrows and _apart(grid, row, away, len(label), free):
        grid.write(row, away, label, role)


def _apart(grid: Cells, row: int, start: int, length: int, free: NDArray[np.bool_]) -> bool:
    """Say whether cells are free and no other value is right beside them."""
    end = start + length
    if start < 0 or end > len(free) or not free[start:end].all():
        return False
    beside = grid.glyphs[row, [max(0, start - 1), min(end, len(free) - 1)]].tolist()
    return not any(chr(char).isdigit() for char in beside)


def draw_spot(grid: Cells, spot: JudgedDot, scale: Scale, signs: Signs) -> None:
    """Draw a judged batch at its height, or an arrow with its value where that is out of range."""
    rows, cell = len(grid.glyphs), spot.column // DOTS_WIDE
    row = scale.row(spot.value, rows)
    if row is not None:
        grid.put(row, np.array([cell]), signs.point, spot.role)
        return
    above = spot.value > scale.high
    edge = 0 if above else rows - 1
    _arrow(grid, edge, cell, signs.above if above else signs.below, spot.value, spot.role, signs)


def mark_missing(
    grid: Cells, bins: Bins, scale: Scale, dark: NDArray[np.bool_], signs: Signs
) -> None:
    """Put the NaN sign as near as a dark cell is to the value before it.

    A column that is lit from top to bottom keeps its dots: the time line has the sign, too.
    """
    where = _cells_with((bins.flags & NAN) != 0)
    if not len(where):
        return
    rows = len(grid.glyphs)
    taken = (ord(signs.above), ord(signs.below), ord(signs.infinite))
    known = np.flatnonzero(~np.isnan(bins.last))
    for cell in where.tolist():
        before = np.searchsorted(known, cell * DOTS_WIDE + 1, side="right") - 1
        value = float(bins.last[known[max(before, 0)]]) if len(known) else None
        row = scale.row(value, rows) if value is not None else None
        row = rows // 2 if row is None else row
        free = np.flatnonzero(dark[:, cell] & ~np.isin(grid.glyphs[:, cell], taken))
        if len(free):
            nearest = int(free[np.argmin(np.abs(free - row))])
            grid.put(nearest, np.array([cell]), signs.nan, MISSING)
