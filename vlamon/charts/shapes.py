"""Places the values of a curve in dots."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vlamon.charts.bins import Bins
from vlamon.charts.cells import Curve
from vlamon.charts.scale import Scale

Dots = NDArray[np.intp]


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

    def inside(self, dots: int) -> bool:
        """Say whether nothing of it lies beyond `dots` dot rows."""
        least = min(self.top.min(initial=0), self.first.min(initial=0))
        most = max(self.bottom.max(initial=0), self.end.max(initial=0) - 1)
        return bool(least >= 0 and most < dots)


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
