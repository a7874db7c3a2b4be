"""The chart's rasteriser: envelopes in, cells out. No terminal, no store, no clock.

One dot column is one bin and shows everything between the bin's least and greatest value, so that
a single bad batch among a million is a lit dot in the right place. What cannot be a dot has a mark
of its own: a value outside the y range an arrow, NaN and infinity a sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vlamon.charts.bins import NAN, NEG_INF, POS_INF, Bins, Envelope
from vlamon.charts.braille import DOTS_HIGH, DOTS_WIDE, glyph_table, patterns
from vlamon.charts.scale import Scale


@dataclass(frozen=True, slots=True)
class Curve:
    """One series as it is drawn."""

    bins: Bins
    """Its envelope, one bin a dot column."""
    role: str
    """Role that colours it."""
    over: bool = False
    """Whether it is a line over the curves before it: in its cells these keep their extremes only,
    so that the line is seen without hiding how far the envelope reaches."""


@dataclass(frozen=True, slots=True)
class Guide:
    """A horizontal line behind the curves."""

    value: float
    """Where it lies."""
    role: str
    """Role that colours it."""
    label: str = ""
    """Text that stands in the line, where there is room."""
    reach: bool = True
    """Whether the y range reaches for it when it is near."""


@dataclass(frozen=True, slots=True)
class Signs:
    """Characters for what is no dot."""

    above: str = "↑"
    """The bin has a value above the range."""
    below: str = "↓"
    """The bin has a value below the range."""
    nan: str = "✕"
    """The bin has NaN."""
    infinite: str = "∞"
    """The bin has an infinity."""
    guide: str = "┈"
    """A horizontal line."""
    cursor: str = "│"
    """The cursor where no dot is lit."""
    ascii_only: bool = False
    """Whether dots become ASCII characters."""


UNICODE = Signs()
ASCII = Signs("^", "v", "x", "i", ".", "|", ascii_only=True)

CLIPPED: Final = "warn"
"""Role of an arrow that stands for values out of range."""
ABANDONED: Final = "abandoned"
"""Role of what was rolled back; its arrows are not a warning any more."""
MISSING: Final = "explode"
"""Role of the signs for NaN and infinity."""
MARKED: Final = 0x80
"""Bit of a role number: the cell is in the cursor's column."""


@dataclass(slots=True)
class Cells:
    """A grid of characters and what colours them."""

    glyphs: NDArray[np.uint32]
    """Code points, rows × columns."""
    roles: NDArray[np.uint8]
    """Index into `palette`; MARKED is added in the cursor's column."""
    palette: tuple[str, ...]
    """Role names; the first one is the empty role of a blank cell."""
    labelled: list[int] = field(default_factory=list)
    """Cells of a row in which a guide's label stands, whichever row it is."""

    def text(self, row: int) -> str:
        """Give a row's characters."""
        raw: bytes = self.glyphs[row].astype("<u4").tobytes()
        return raw.decode("utf-32-le")

    def role(self, row: int, column: int) -> str:
        """Give a cell's role name."""
        return self.palette[int(self.roles[row, column]) & ~MARKED]


def spans(bins: Envelope, scale: Scale, dots: int) -> NDArray[np.intp]:
    """Give the dots first..end-1 that each column lights, as two rows `[first, end]`.

    A bin lights its whole range. Neighbours whose ranges do not touch are connected half way each,
    and empty columns between two bins by a straight line; a bin of NaN alone breaks the line.
    """
    filled = ~np.isnan(bins.high)
    top = np.where(filled, scale.dots(bins.high, dots), 0)
    end = np.where(filled, scale.dots(bins.low, dots) + 1, 0)
    where = np.flatnonzero(filled)
    if len(where) < 2:
        return np.stack((top, end))
    broken = (~filled) & (bins.flags != 0)
    if len(where) < len(filled):
        _bridge(top, end, where, broken, scale.dots(bins.last, dots))
    drawn_top, drawn_end = top.copy(), end.copy()
    lit = end > top
    pair = lit[1:] & lit[:-1]
    falls = np.where(pair, top[1:] - end[:-1], 0)
    rises = np.where(pair, top[:-1] - end[1:], 0)
    falling, rising = np.maximum(falls, 0), np.maximum(rises, 0)
    drawn_end[:-1] += falling // 2
    drawn_top[1:] -= falling - falling // 2
    drawn_top[:-1] -= rising // 2
    drawn_end[1:] += rising - rising // 2
    return np.stack((np.minimum(drawn_top, top), np.maximum(drawn_end, end)))


def _bridge(
    top: NDArray[np.intp],
    end: NDArray[np.intp],
    where: NDArray[np.intp],
    broken: NDArray[np.bool_],
    last: NDArray[np.intp],
) -> None:
    """Draw straight lines over the empty columns between bins that hold values."""
    inside = np.arange(where[0], where[-1] + 1)
    inside = inside[end[inside] <= top[inside]]
    if not len(inside):
        return
    if broken.any():
        stops = np.cumsum(broken)
        nearest = np.searchsorted(where, inside)
        inside = inside[stops[where[nearest - 1]] == stops[where[nearest]]]
    middle = np.rint(np.interp(inside, where, last[where])).astype(np.intp)
    top[inside], end[inside] = middle, middle + 1


def rasterise(
    curves: Sequence[Curve],
    scale: Scale,
    columns: int,
    rows: int,
    *,
    guides: Sequence[Guide] = (),
    cursor: int | None = None,
    signs: Signs = UNICODE,
    palette: tuple[str, ...] | None = None,
) -> Cells:
    """Draw curves, the first one lowest, into `rows` × `columns // 2` cells.

    Cost depends on the number of cells and curves alone. `cursor` is a dot column.
    """
    width = columns // DOTS_WIDE
    palette = palette or _palette(curves, guides)
    cells = Cells(
        np.full((rows, width), ord(" "), dtype=np.uint32),
        np.zeros((rows, width), dtype=np.uint8),
        palette,
    )
    lit = np.zeros((rows, width), dtype=np.uint8)
    tips = np.zeros_like(lit)
    for curve in curves:
        first, end = spans(curve.bins, scale, rows * DOTS_HIGH)
        found = patterns(first, end, rows)
        if curve.over:
            lit = np.where(found != 0, tips, lit)
        elif any(other.over for other in curves):
            tips |= patterns(first, np.minimum(first + 1, end), rows)
            tips |= patterns(np.maximum(end - 1, first), end, rows)
        lit |= found
        cells.roles[found != 0] = palette.index(curve.role)
    table = glyph_table(signs.ascii_only)
    cells.glyphs[:] = table[lit]
    dark = lit == 0
    for guide in guides:
        _draw_guide(cells, guide, scale, dark, signs)
    for guide in guides:
        _label_guide(cells, guide, scale, dark, signs)
    for curve in curves:
        _mark_outside(cells, curve, scale, signs)
        _mark_missing(cells, curve.bins, scale, dark, signs)
    if cursor is not None and 0 <= cursor < columns:
        column = cursor // DOTS_WIDE
        free = dark[:, column] & (cells.glyphs[:, column] == ord(" "))
        cells.glyphs[free, column] = ord(signs.cursor)
        cells.roles[free, column] = palette.index("cursor")
        cells.roles[:, column] |= MARKED
    return cells


def redraw(
    old: Cells,
    first: int,
    curves: Sequence[Curve],
    scale: Scale,
    *,
    guides: Sequence[Guide] = (),
    cursor: int | None = None,
    signs: Signs = UNICODE,
) -> Cells | None:
    """Draw again what changes when the bins from dot column `first` on have changed.

    Gives the picture that `rasterise` gives, from a few columns instead of all; None where a
    guide's label would have to move.
    """
    rows, width = old.glyphs.shape
    columns = width * DOTS_WIDE
    start, context = columns, columns
    for curve in curves:
        before = np.flatnonzero(~np.isnan(curve.bins.high[:first]))
        near = int(before[-1]) // DOTS_WIDE * DOTS_WIDE if len(before) else 0
        farther = before[before < near]
        start = min(start, near)
        context = min(context, int(farther[-1]) // DOTS_WIDE * DOTS_WIDE if len(farther) else 0)
    if any(cell * DOTS_WIDE >= start for cell in old.labelled):
        return None
    fresh = rasterise(
        [replace(curve, bins=curve.bins.part(context)) for curve in curves],
        scale,
        columns - context,
        rows,
        guides=[replace(guide, label="") for guide in guides],
        cursor=None if cursor is None else cursor - context,
        signs=signs,
        palette=old.palette,
    )
    cell, skip = start // DOTS_WIDE, (start - context) // DOTS_WIDE
    glyphs, roles = old.glyphs.copy(), old.roles.copy()
    glyphs[:, cell:], roles[:, cell:] = fresh.glyphs[:, skip:], fresh.roles[:, skip:]
    return Cells(glyphs, roles, old.palette, old.labelled)


def _palette(curves: Sequence[Curve], guides: Sequence[Guide]) -> tuple[str, ...]:
    roles = dict.fromkeys(("", CLIPPED, MISSING, "cursor"))
    roles.update(dict.fromkeys(guide.role for guide in guides))
    roles.update(dict.fromkeys(curve.role for curve in curves))
    return tuple(roles)


def _cells_with(columns: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Give the cells that one of these dot columns belongs to."""
    return np.flatnonzero(columns[::2] | columns[1::2])


def _put(cells: Cells, row: int, columns: NDArray[np.intp], sign: str, role: str) -> None:
    cells.glyphs[row, columns] = ord(sign)
    cells.roles[row, columns] = cells.palette.index(role)


def _draw_guide(
    cells: Cells, guide: Guide, scale: Scale, dark: NDArray[np.bool_], signs: Signs
) -> None:
    """Draw a guide through the cells of its row that no curve lights."""
    row = scale.row(guide.value, len(cells.glyphs))
    if row is not None:
        _put(cells, row, np.flatnonzero(dark[row]), signs.guide, guide.role)


def _label_guide(
    cells: Cells, guide: Guide, scale: Scale, dark: NDArray[np.bool_], signs: Signs
) -> None:
    """Write a guide's label into its row, else beside it, else its value alone: a line that says
    nothing is a riddle."""
    row = scale.row(guide.value, len(cells.glyphs))
    if row is None or not guide.label:
        return
    room = dark[row] & (cells.glyphs[row] == ord(signs.guide))
    whole, value = f" {guide.label} ", f" {guide.label.rsplit(' ', 1)[-1]} "
    places = [(row, room, whole)]
    for near in (row - 1, row + 1):
        if 0 < near < len(cells.glyphs) - 1:
            places.append((near, cells.glyphs[near] == ord(" "), whole))
    for at, free, text in (*places, (row, room, value)):
        if len(text) > len(free):
            continue
        runs = np.convolve(free, np.ones(len(text), dtype=np.intp), mode="valid")
        starts = np.flatnonzero(runs == len(text))
        if len(starts):
            wanted = int(0.6 * dark.shape[1])
            start = int(starts[np.argmin(np.abs(starts - wanted))])
            cells.glyphs[at, start : start + len(text)] = [ord(char) for char in text]
            cells.roles[at, start : start + len(text)] = cells.palette.index(guide.role)
            cells.labelled += range(start, start + len(text))
            return


def _mark_outside(cells: Cells, curve: Curve, scale: Scale, signs: Signs) -> None:
    bins, role = curve.bins, CLIPPED if curve.role != ABANDONED else ABANDONED
    with np.errstate(invalid="ignore"):
        above = (bins.high > scale.high) | ((bins.flags & POS_INF) != 0)
        below = (bins.low < scale.low) | ((bins.flags & NEG_INF) != 0)
    if below.any():
        _put(cells, -1, _cells_with(below), signs.below, role)
    if above.any():
        _put(cells, 0, _cells_with(above), signs.above, role)
    infinite = (bins.flags & POS_INF) != 0
    if infinite.any():
        _put(cells, 0, _cells_with(infinite), signs.infinite, MISSING)
    infinite = (bins.flags & NEG_INF) != 0
    if infinite.any():
        _put(cells, -1, _cells_with(infinite), signs.infinite, MISSING)


def _mark_missing(
    cells: Cells, bins: Envelope, scale: Scale, dark: NDArray[np.bool_], signs: Signs
) -> None:
    """Put the NaN sign as near as a dark cell is to the value before it.

    A column that is lit from top to bottom keeps its dots: the time line has the sign, too.
    """
    where = _cells_with((bins.flags & NAN) != 0)
    if not len(where):
        return
    rows = len(cells.glyphs)
    taken = (ord(signs.above), ord(signs.below), ord(signs.infinite))
    known = np.flatnonzero(~np.isnan(bins.last))
    for cell in where.tolist():
        before = np.searchsorted(known, cell * DOTS_WIDE + 1, side="right") - 1
        value = float(bins.last[known[max(before, 0)]]) if len(known) else None
        row = scale.row(value, rows) if value is not None else None
        row = rows // 2 if row is None else row
        free = np.flatnonzero(dark[:, cell] & ~np.isin(cells.glyphs[:, cell], taken))
        if len(free):
            nearest = int(free[np.argmin(np.abs(free - row))])
            _put(cells, nearest, np.array([cell]), signs.nan, MISSING)
