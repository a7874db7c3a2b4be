"""The chart's rasteriser: curves in, cells out. No terminal, no store, no clock.

A curve is a line of means over the band between the least and the greatest value of each dot
column. Where the terminal has background colours the band is a tint, so that line and band never
compete for the one foreground of a cell; elsewhere it is its two edges in sparse dots. What is out
of range or no number has a mark of its own, and a judged batch is a bright dot at its height.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vlamon.charts.bins import NAN, NEG_INF, POS_INF, Bins
from vlamon.charts.braille import DOTS_HIGH, DOTS_WIDE, glyph_table, patterns
from vlamon.charts.numbers import number
from vlamon.charts.scale import Scale

Dots = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Curve:
    """One series as it is drawn."""

    bins: Bins
    """Its values, one bin per dot column."""
    line: NDArray[np.float64]
    """Value of its line in each column, NaN where it has none."""
    role: str
    """Role that colours it."""
    band: bool = True
    """Whether its least and greatest values are drawn."""
    raw: bool = False
    """Whether a column's only batch is a dim dot, because the line is smoothed."""
    points: bool = False
    """Whether it has so few values that each is a dot, joined to the next by level steps."""


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
class Spot:
    """A batch that was judged."""

    column: int
    """Its dot column."""
    value: float
    """Its value."""
    role: str
    """`warn` or `explode`."""


@dataclass(frozen=True, slots=True)
class Signs:
    """Characters for what is no dot."""

    above: str = "↑"
    """The column has a value above the range."""
    below: str = "↓"
    """The column has a value below the range."""
    nan: str = "✕"
    """The column has NaN."""
    infinite: str = "∞"
    """The column has an infinity."""
    guide: str = "┈"
    """A horizontal line."""
    cursor: str = "│"
    """The cursor where no dot is lit."""
    point: str = "●"
    """One of few values, or a judged batch."""
    edge: str = ""
    """An edge of the band; empty where it is Braille as well."""
    ascii_only: bool = False
    """Whether dots become ASCII characters."""


UNICODE = Signs()
ASCII = Signs("^", "v", "x", "i", "~", "|", "o", ".", ascii_only=True)

ABANDONED: Final = "abandoned"
"""Role of what was rolled back."""
MISSING: Final = "explode"
"""Role of the signs for NaN and infinity."""
OUTSIDE: Final = "muted"
"""Role of an arrow that stands for values out of range that nobody judged."""
MARKED: Final = 0x80
"""Bit of a role number: the cell is in the cursor's column."""


NEAR: Final = 6
"""Cells that the value of an arrow may stand away from it."""


def dim(role: str) -> str:
    """Return the role of a fainter shade."""
    return f"dim:{role}"


@dataclass(slots=True)
class Cells:
    """A grid of characters and what colours them."""

    glyphs: NDArray[np.uint32]
    """Code points, rows × columns."""
    roles: NDArray[np.uint8]
    """Index into `palette`; MARKED is added in the cursor's column."""
    grounds: NDArray[np.uint8]
    """Index into `palette` of the role whose tint lies behind the cell; 0 for none."""
    palette: tuple[str, ...]
    """Role names; the first one is the empty role of a blank cell."""
    lines: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    """Braille bits of the lines alone."""

    def text(self, row: int) -> str:
        """Return a row's characters."""
        raw: bytes = self.glyphs[row].astype("<u4").tobytes()
        return raw.decode("utf-32-le")

    def role(self, row: int, column: int) -> str:
        """Return a cell's role name."""
        return self.palette[int(self.roles[row, column]) & ~MARKED]

    def ground(self, row: int, column: int) -> str:
        """Return the role whose tint lies behind a cell, empty for none."""
        return self.palette[int(self.grounds[row, column])]


@dataclass(frozen=True, slots=True)
class Shape:
    """A curve in dots: what of it can be seen, so that an equal shape needs no new picture."""

    line: Dots
    """Dot of the line's value in each column."""
    first: Dots
    """First dot of the line in each column, counted from the top; may lie out of range."""
    end: Dots
    """One past its last dot; not above `first` where there is no line."""
    top: Dots
    """Dot of the greatest value."""
    bottom: Dots
    """Dot of the least value, above `top` where there is no band."""

    def key(self) -> bytes:
        """Return what tells it from another shape."""
        return b"".join(dots.tobytes() for dots in (self.first, self.end, self.top, self.bottom))

    def ends_as(self, since: int, other: Shape) -> bool:
        """Say whether another shape is this one's part from a column on."""
        return all(
            np.array_equal(own[since:], newer)
            for own, newer in (
                (self.line, other.line),
                (self.top, other.top),
                (self.bottom, other.bottom),
            )
        )


def shape(curve: Curve, scale: Scale, dots: int) -> Shape:
    """Place a curve on `dots` dot rows."""
    placed = placement(curve.bins, curve.line, scale, dots)
    first, end = spans(curve, placed.line)
    return replace(placed, first=first, end=end)


def placement(bins: Bins, line: NDArray[np.float64], scale: Scale, dots: int) -> Shape:
    """Place the values of columns, whose line is not drawn through yet."""
    some = bins.finite > 0
    middle, top, bottom = scale.dots(np.stack((line, bins.high, bins.low)), dots)
    bottom[~some] = -1
    return Shape(middle, middle, middle, top, bottom)


def spans(curve: Curve, dots: Dots) -> tuple[Dots, Dots]:
    """Return the first dot of the line in each column and one past its last.

    Neighbours that do not touch are connected half way each, and empty columns between two values
    by a straight line, or by level steps for a curve of points. A column of NaN alone breaks it.
    """
    filled = ~np.isnan(curve.line)
    where = np.flatnonzero(filled)
    top = np.where(filled, dots, 0)
    end = np.where(filled, top + 1, 0)
    if len(where) < 2:
        return top, end
    if len(where) < len(filled):
        broken = ~filled & (curve.bins.flags != 0)
        _bridge(top, end, where, broken, level=curve.points)
    lit = end > top
    pair = lit[1:] & lit[:-1]
    falls = np.maximum(np.where(pair, top[1:] - end[:-1], 0), 0)
    rises = np.maximum(np.where(pair, top[:-1] - end[1:], 0), 0)
    first = top.copy()
    end[:-1] += falls // 2
    first[1:] -= falls - falls // 2
    first[:-1] -= rises // 2
    end[1:] += rises - rises // 2
    return first, end


def _bridge(top: Dots, end: Dots, where: Dots, broken: NDArray[np.bool_], level: bool) -> None:
    """Draw lines over the empty columns between columns that hold values."""
    inside = np.arange(where[0], where[-1] + 1)
    inside = inside[end[inside] <= top[inside]]
    if len(inside) and broken.any():
        stops = np.cumsum(broken)
        nearest = np.searchsorted(where, inside)
        inside = inside[stops[where[nearest - 1]] == stops[where[nearest]]]
    if not len(inside):
        return
    if level:
        after = np.searchsorted(where, inside)
        before = where[after - 1]
        nearer = np.where(inside - before <= where[after] - inside, before, where[after])
        middle = top[nearer]
    else:
        middle = np.rint(np.interp(inside, where, top[where])).astype(np.intp)
    top[inside], end[inside] = middle, middle + 1


def rasterise(
    curves: Sequence[Curve],
    scale: Scale,
    columns: int,
    rows: int,
    *,
    guides: Sequence[Guide] = (),
    spots: Sequence[Spot] = (),
    cursor: int | None = None,
    signs: Signs = UNICODE,
    tinted: bool = True,
    shapes: Sequence[Shape] | None = None,
) -> Cells:
    """Draw curves, the first one lowest, into `rows` × `columns // 2` cells.

    `cursor` is a dot column; `tinted` says that the terminal has background colours; `shapes` are
    those of the curves where they are known already.
    """
    width = columns // DOTS_WIDE
    palette = _palette(curves, guides)
    grid = Cells(
        np.full((rows, width), ord(" "), dtype=np.uint32),
        np.zeros((rows, width), dtype=np.uint8),
        np.zeros((rows, width), dtype=np.uint8),
        palette,
        np.zeros((rows, width), dtype=np.uint8),
    )
    shapes = shapes or [shape(curve, scale, rows * DOTS_HIGH) for curve in curves]
    both = list(zip(curves, shapes, strict=True))
    if both:
        _draw_lines(grid, both)
    dots = grid.lines.copy()
    for curve, found in both:
        _draw_band(grid, curve, found, dots, signs, tinted)
    lit = dots != 0
    table = glyph_table(signs.ascii_only)
    grid.glyphs[lit] = table[dots[lit]]
    dark = grid.glyphs == ord(" ")
    for guide in guides:
        _draw_guide(grid, guide, scale, dark, signs)
    for guide in guides:
        _label_guide(grid, guide, scale, dark, signs)
    for curve, found in both:
        if curve.points:
            _draw_points(grid, curve, found, signs)
        _mark_outside(grid, curve, found, signs)
        _mark_missing(grid, curve.bins, scale, dark, signs)
    for spot in spots:
        _draw_spot(grid, spot, scale, signs)
    if cursor is not None and 0 <= cursor < columns:
        column = cursor // DOTS_WIDE
        free = grid.glyphs[:, column] == ord(" ")
        grid.glyphs[free, column] = ord(signs.cursor)
        grid.roles[free, column] = palette.index("cursor")
        grid.roles[:, column] |= MARKED
    return grid


def _palette(curves: Sequence[Curve], guides: Sequence[Guide]) -> tuple[str, ...]:
    roles = dict.fromkeys(("", OUTSIDE, ABANDONED, "warn", MISSING, "cursor"))
    roles.update(dict.fromkeys(guide.role for guide in guides))
    for curve in curves:
        roles.update({curve.role: None, dim(curve.role): None})
    return tuple(roles)


def _draw_lines(grid: Cells, both: Sequence[tuple[Curve, Shape]]) -> None:
    """Draw all lines. Where several go through a cell, which has one colour, they take turns from
    cell to cell, so that each is seen in its own colour; an abandoned one gives way."""
    rows = len(grid.lines)
    bits = np.stack([patterns(found.first, found.end, rows) for _, found in both])
    lit = bits != 0
    live = np.array([curve.role != ABANDONED for curve, _ in both])
    lit[~live] &= ~lit[live].any(axis=0)
    count = np.maximum(lit.sum(axis=0), 1)
    turn = np.arange(lit.shape[2]) % count
    for index, (curve, _) in enumerate(both):
        mine = lit[index] & (lit[:index].sum(axis=0) == turn)
        grid.lines[mine] = bits[index][mine]
        grid.roles[mine] = grid.palette.index(curve.role)


def _draw_band(
    grid: Cells,
    curve: Curve,
    found: Shape,
    dots: NDArray[np.uint8],
    signs: Signs,
    tinted: bool,
) -> None:
    """Draw the band behind a line, and a column's only batch as a dot of its own."""
    rows, free = len(dots), grid.lines == 0
    faint = grid.palette.index(dim(curve.role))
    if curve.raw:
        single = curve.bins.finite == 1
        end = np.where(single, found.top + 1, 0)
        bits = np.where(free, patterns(np.where(single, found.top, 0), end, rows), np.uint8(0))
        grid.roles[(bits != 0) & (dots == 0)] = faint
        dots |= bits
    if not curve.band:
        return
    wide = (curve.bins.finite > 1) & (found.bottom >= found.top)
    top = np.where(wide, found.top, _FAR).reshape(-1, DOTS_WIDE)
    bottom = np.where(wide, found.bottom, -_FAR).reshape(-1, DOTS_WIDE)
    if tinted:
        edge = np.arange(rows, dtype=np.intp)[:, None] * DOTS_HIGH
        covered = np.minimum(bottom.max(axis=1), edge + DOTS_HIGH - 1)
        covered = covered - np.maximum(top.min(axis=1), edge) + 1
        behind = covered >= np.where(grid.lines != 0, 1, DOTS_HIGH // 2)
        grid.grounds[behind] = grid.palette.index(curve.role)
        return
    # One dot a cell and edge, at the farther one of its two columns: no extreme is left out.
    bits = np.zeros_like(dots)
    for edges, chosen in ((top, top.argmin(axis=1)), (bottom, bottom.argmax(axis=1))):
        here = np.zeros(edges.shape, dtype=np.bool_)
        here[np.arange(len(edges)), chosen] = True
        here &= wide.reshape(-1, DOTS_WIDE)
        first = np.where(here, edges, 0).reshape(-1)
        bits |= patterns(first, np.where(here.reshape(-1), first + 1, first), rows)
    bits[~free] = 0
    where = (bits != 0) & (dots == 0)
    grid.roles[where] = faint
    if signs.edge:
        grid.glyphs[where] = ord(signs.edge)
    else:
        dots |= bits


_FAR: Final = 1 << 20


def _cells_with(columns: NDArray[np.bool_]) -> Dots:
    """Return the cells that one of these dot columns belongs to."""
    return np.flatnonzero(columns[::2] | columns[1::2])


def _put(grid: Cells, row: int, columns: Dots, sign: str, role: str) -> None:
    grid.glyphs[row, columns] = ord(sign)
    grid.roles[row, columns] = grid.palette.index(role)


def _write(grid: Cells, row: int, column: int, text: str, role: str) -> None:
    grid.glyphs[row, column : column + len(text)] = [ord(char) for char in text]
    grid.roles[row, column : column + len(text)] = grid.palette.index(role)


def _draw_guide(
    grid: Cells, guide: Guide, scale: Scale, dark: NDArray[np.bool_], signs: Signs
) -> None:
    """Draw a guide through the cells of its row that no curve lights."""
    row = scale.row(guide.value, len(grid.glyphs))
    if row is not None:
        _put(grid, row, np.flatnonzero(dark[row]), signs.guide, guide.role)


def _label_guide(
    grid: Cells, guide: Guide, scale: Scale, dark: NDArray[np.bool_], signs: Signs
) -> None:
    """Write a guide's label into its row, else beside it, else its value alone: a line that says
    nothing is a riddle."""
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
            _write(grid, at, start, text, guide.role)
            return


def _room_for(free: NDArray[np.bool_], length: int, wanted: int) -> int | None:
    """Return where `length` free cells begin, as near as they are to a wanted place."""
    if length > len(free):
        return None
    runs = np.convolve(free, np.ones(length, dtype=np.intp), mode="valid")
    starts = np.flatnonzero(runs == length)
    return int(starts[np.argmin(np.abs(starts - wanted))]) if len(starts) else None


def _draw_points(grid: Cells, curve: Curve, found: Shape, signs: Signs) -> None:
    """Put a round dot on each of few values."""
    rows = len(grid.glyphs)
    for column in np.flatnonzero(curve.bins.finite).tolist():
        dot = int(found.top[column])
        if 0 <= dot < rows * DOTS_HIGH:
            place = np.array([column // DOTS_WIDE])
            _put(grid, dot // DOTS_HIGH, place, signs.point, curve.role)


def _mark_outside(grid: Cells, curve: Curve, found: Shape, signs: Signs) -> None:
    """Mark where values leave the range: one arrow with the farthest value for neighbours."""
    bins, dots = curve.bins, len(grid.glyphs) * DOTS_HIGH
    role = ABANDONED if curve.role == ABANDONED else OUTSIDE
    drawn = curve.band or curve.raw
    lit = found.end > found.first
    above = np.where(drawn, found.top, found.first) < 0
    below = np.where(drawn, found.bottom, found.end - 1) >= dots
    some = (bins.finite > 0) if drawn else (bins.finite > 0) & lit
    for row, outside, sign, far in (
        (0, above & some, signs.above, np.nanargmax),
        (-1, below & some, signs.below, np.nanargmin),
    ):
        if not outside.any():
            continue
        cells = _cells_with(outside)
        for group in np.split(cells, np.flatnonzero(np.diff(cells) > 1) + 1):
            at = slice(int(group[0]) * DOTS_WIDE, (int(group[-1]) + 1) * DOTS_WIDE)
            values = bins.high[at] if row == 0 else bins.low[at]
            farthest = int(far(values))
            cell = (at.start + farthest) // DOTS_WIDE
            _arrow(grid, row, cell, sign, float(values[farthest]), role, NEAR)
    for row, flag in ((0, POS_INF), (-1, NEG_INF)):
        infinite = (bins.flags & flag) != 0
        if infinite.any():
            _put(grid, row, _cells_with(infinite), signs.infinite, MISSING)


def _arrow(
    grid: Cells, row: int, cell: int, sign: str, value: float, role: str, near: int = 0
) -> None:
    """Put an arrow into its cell and its value beside it, or up to `near` cells away."""
    _write(grid, row, cell, sign, role)
    label = number(value, 3)
    label = label if not sign.isascii() else label.replace("−", "-")
    free = grid.glyphs[row] == ord(" ")
    for start in (cell + 1, cell - len(label)):
        if start >= 0 and start + len(label) <= len(free) and free[start:][: len(label)].all():
            _write(grid, row, start, label, role)
            return
    away = _room_for(free, len(label), cell)
    if away is not None and abs(away - cell) <= near:
        _write(grid, row, away, label, role)


def _draw_spot(grid: Cells, spot: Spot, scale: Scale, signs: Signs) -> None:
    """Draw a judged batch at its height, or an arrow with its value where that is out of range."""
    rows, cell = len(grid.glyphs), spot.column // DOTS_WIDE
    row = scale.row(spot.value, rows)
    if row is not None:
        _put(grid, row, np.array([cell]), signs.point, spot.role)
        return
    above = spot.value > scale.high
    edge = 0 if above else rows - 1
    taken = grid.roles[edge] == grid.palette.index(OUTSIDE)
    start = cell + 1
    while start < grid.glyphs.shape[1] and taken[start]:  # the value of an unjudged arrow
        grid.glyphs[edge, start] = ord(" ")
        start += 1
    _arrow(grid, edge, cell, signs.above if above else signs.below, spot.value, spot.role)


def _mark_missing(
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
            _put(grid, nearest, np.array([cell]), signs.nan, MISSING)
