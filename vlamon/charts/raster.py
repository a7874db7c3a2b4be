"""The chart's rasteriser: curves in, cells out. No terminal, no store, no clock.

A curve is a line of means over the band between the least and the greatest value of each dot
column. Where the terminal has background colours the band is a tint, so that line and band never
compete for the one foreground of a cell; elsewhere it is its two edges in sparse dots.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vlamon.charts.annotate import (
    draw_guide,
    draw_points,
    draw_spot,
    label_guide,
    mark_missing,
    mark_outside,
)
from vlamon.charts.braille import DOTS_HIGH, DOTS_WIDE, glyph_table, patterns
from vlamon.charts.cells import (
    ABANDONED,
    BASELINE,
    MARKED,
    MISSING,
    OUTSIDE,
    UNICODE,
    Cells,
    Curve,
    Guide,
    JudgedDot,
    Signs,
    dim,
)
from vlamon.charts.scale import Scale
from vlamon.charts.shapes import Shape, shape

_FAR: Final = 1 << 20
"""Beyond any dot."""


def rasterise(
    curves: Sequence[Curve],
    scale: Scale,
    columns: int,
    rows: int,
    *,
    guides: Sequence[Guide] = (),
    spots: Sequence[JudgedDot] = (),
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
    written = grid.glyphs  # the edges of a band, where these have a sign of their own
    grid.glyphs = np.where(dots != 0, glyph_table(signs.ascii_only)[dots], written)
    dark = grid.glyphs == ord(" ")
    for guide in guides:
        draw_guide(grid, guide, scale, dark, signs)
    for curve, found in both:
        if curve.points:
            draw_points(grid, curve, found, signs)
    for spot in spots:
        draw_spot(grid, spot, scale, signs)
    for curve, found in both:
        if curve.role != BASELINE:  # signs of trouble are of the run on screen
            mark_outside(grid, curve, found, signs)
            mark_missing(grid, curve.bins, scale, dark, signs)
    for guide in guides:
        label_guide(grid, guide, scale, dark, signs)
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
    cell to cell, so that each is seen in its own colour; one that lies under them gives way."""
    rows = len(grid.lines)
    if len(both) == 1:
        curve, found = both[0]
        grid.lines[:] = patterns(found.first, found.end, rows)
        grid.roles[grid.lines != 0] = grid.palette.index(curve.role)
        return
    bits = np.stack([patterns(found.first, found.end, rows) for _, found in both])
    lit = bits != 0
    live = np.array([not curve.under for curve, _ in both])
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
    single = curve.bins.finite == 1
    if curve.raw and single.any():
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
        upper, lower = top.min(axis=1), bottom.max(axis=1)
        first = np.arange(rows, dtype=np.intp)[:, None] * DOTS_HIGH
        last = first + DOTS_HIGH - 1
        out = (upper > last[-1]) | (lower < 0)
        first[0], last[-1] = -_FAR, _FAR  # what goes on beyond the range reaches its edge
        covered = np.minimum(lower, last) - np.maximum(upper, first) + 1
        covered[:, out] = 0
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
