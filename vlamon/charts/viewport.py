"""What part of a run the charts show: zoom, pan, hold, follow and cursor, one model for all.

Bins are powers of two in the units of the axis, counted from its origin, and a window starts where
a cell starts. So a bin that is full never changes again, and a point stays in its dot column until
the zoom itself changes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vlamon.charts.braille import DOTS_WIDE
from vlamon.charts.ticks import Axis

FINEST: dict[Axis, int] = {"step": -5, "epoch": -20, "since": -10, "time": -10}
"""Smallest bin of each axis, as a power of two: a few rows still fill a chart."""
LOADED_AFTER = 2.0
"""Seconds after the first rows in which further ones are the history still loading."""
HARDLY = 2 * DOTS_WIDE
"""Dot columns by which charts that share a row may differ."""
COARSEST = 50
"""Largest bin, as a power of two."""


@dataclass(frozen=True, slots=True)
class Extent:
    """The part of the axis that has data."""

    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Window:
    """What one chart shows: dot columns of one bin each."""

    first: int
    """Number of the first bin, counted from the axis's origin; even, so that cells stay whole."""
    exponent: int
    """A bin is two to this power wide."""
    columns: int
    """Dot columns; even."""
    eighths: int = 8
    """Eighths of that power that a bin is wide: more than 8 where a run that is over fills the
    width better so. While a run grows a bin is a power of two."""

    @property
    def bin(self) -> float:
        """Width of a bin in units of the axis."""
        return math.ldexp(self.eighths, self.exponent - 3)

    @property
    def start(self) -> float:
        """Left edge."""
        return self.first * self.bin

    @property
    def end(self) -> float:
        """Right edge."""
        return (self.first + self.columns) * self.bin

    def edges(self) -> NDArray[np.float64]:
        """Give the columns + 1 edges of the bins."""
        return np.arange(self.first, self.first + self.columns + 1, dtype=np.float64) * self.bin

    def column(self, x: float) -> int | None:
        """Give the dot column of a position, None where the window does not show it."""
        if not math.isfinite(x):
            return None
        column = math.floor(x / self.bin) - self.first
        return column if 0 <= column < self.columns else None


@dataclass(frozen=True, slots=True)
class View:
    """The whole state of a viewport."""

    axis: Axis = "step"
    """What x means."""
    exponent: int | None = None
    """Bin as a power of two; None fits the whole run."""
    left: float | None = None
    """Left edge of a held window; None follows the newest data."""
    eighths: int = 8
    """Eighths of that power, of a window that was held while it filled the width."""
    cursor: float | None = None
    """Position of the cursor on the axis."""
    fitted: bool = False
    """Whether a held window showed the whole run and does so again when it is let go."""


def window(view: View, extent: Extent, columns: int, final: bool = False) -> Window:
    """Resolve a view for a chart of `columns` dot columns over the data's extent.

    `final` says that nothing more comes: then the whole run may fill the width.
    """
    columns = max(DOTS_WIDE, columns - columns % DOTS_WIDE)
    exponent, eighths = view.exponent, view.eighths
    if exponent is None:
        exponent = _whole(view.axis, extent, columns)
        if final and exponent > FINEST[view.axis]:
            exponent, eighths = _filling(extent, exponent, columns)
        if view.left is None:
            first = _aligned(extent.first, math.ldexp(eighths, exponent - 3))
            return Window(first, exponent, columns, eighths)
    if view.left is not None:
        first = _aligned(view.left, math.ldexp(eighths, exponent - 3))
        return Window(first, exponent, columns, eighths)
    return Window(_following(extent, exponent, columns), exponent, columns)


def _aligned(x: float, width: float) -> int:
    """Give the number of the first bin of the cell that holds `x`, for bins so wide."""
    return math.floor(x / width / DOTS_WIDE) * DOTS_WIDE


def _fits(extent: Extent, width: float, columns: int) -> bool:
    return math.floor(extent.last / width) - _aligned(extent.first, width) < columns


def _whole(axis: Axis, extent: Extent, columns: int) -> int:
    """Give the smallest bin with which all data fits."""
    exponent = FINEST[axis]
    span = extent.last - extent.first
    if span > 0:
        exponent = max(exponent, math.floor(math.log2(span / columns)) - 1)
    while exponent < COARSEST and not _fits(extent, math.ldexp(1.0, exponent), columns):
        exponent += 1
    return exponent


def _filling(extent: Extent, exponent: int, columns: int) -> tuple[int, int]:
    """Give the power and the eighths of the smallest bin up to 2**exponent with which all fits."""
    for eighths in range(9, 16):
        if _fits(extent, math.ldexp(eighths, exponent - 4), columns):
            return exponent - 1, eighths
    return exponent, 8


def _following(extent: Extent, exponent: int, columns: int) -> int:
    """Give the first bin of a window that holds the newest data.

    The window moves on by a quarter of its width at a time: in between a new point changes one
    column instead of every cell of the chart.
    """
    first = _aligned(extent.first, math.ldexp(1.0, exponent))
    last = math.floor(math.ldexp(extent.last, -exponent))
    page = max(DOTS_WIDE, columns // 4 - columns // 4 % DOTS_WIDE)
    over = last + 1 - columns - first
    return first if over <= 0 else first + math.ceil(over / page) * page


class Viewport:
    """The one viewport of a screen; `version` grows with every change."""

    def __init__(self, view: View | None = None) -> None:
        self.view = view or View()
        self.version = 0
        self.widths: tuple[int, ...] = ()
        """Dot columns of the charts on screen."""
        self.growing = False
        """Whether rows came after the history had loaded. Until then the whole run fills the
        width: a log of last week is not to be half a chart."""
        self._newest = -math.inf
        self._first_rows: float | None = None

    def _set(self, view: View) -> None:
        if view != self.view:
            self.view = view
            self.version += 1

    def observe(self, extent: Extent, now: float) -> None:
        """Note how far the data reaches; `now` is any clock in seconds."""
        if self._first_rows is None and extent.last > extent.first:
            self._first_rows = now
        elif self._first_rows is not None and extent.last > self._newest:
            late = now - self._first_rows > LOADED_AFTER
            if late and not self.growing:
                self.growing = True
                self.version += 1
        self._newest = extent.last

    def shared(self, columns: int) -> int:
        """Give the dot columns by which a chart chooses its bins: those of the narrowest one that
        is hardly narrower. Charts side by side differ by a cell, and have to have the same bins."""
        near = (width for width in self.widths if 0 <= columns - width <= HARDLY)
        return min(near, default=columns)

    def lay_out(self, widths: Iterable[int]) -> None:
        """Note how wide the charts on screen are."""
        found = tuple(sorted(set(widths)))
        if found != self.widths:
            self.widths = found
            self.version += 1

    @property
    def held(self) -> bool:
        """Whether the window stays where it is while data comes in."""
        return self.view.left is not None

    def show_all(self) -> None:
        """Show the whole run and keep it fitted."""
        self._set(View(axis=self.view.axis, cursor=self.view.cursor))

    def follow(self) -> None:
        """Let the window go with the newest data, at the zoom it had before it was held."""
        exponent = None if self.view.fitted else self.view.exponent
        self._set(View(axis=self.view.axis, exponent=exponent, cursor=self.view.cursor))

    def hold(self, shown: Window) -> None:
        """Pin the window that is shown."""
        fitted = self.view.exponent is None
        view = replace(self.view, left=shown.start, fitted=fitted)
        self._set(replace(view, exponent=shown.exponent, eighths=shown.eighths))

    def toggle_hold(self, shown: Window) -> None:
        """Pin the window, or let it go again."""
        if self.held:
            self.follow()
        else:
            self.hold(shown)

    def zoom(self, shown: Window, extent: Extent, by: int, about: float | None = None) -> None:
        """Make bins `by` powers of two wider (positive: zoom out) and keep `about` in its place.

        Without `about` the cursor stays in place, or the newest data while following.
        """
        between = shown.eighths > 8 and by < 0
        exponent = min(COARSEST, max(FINEST[self.view.axis], shown.exponent + by + between))
        if exponent == shown.exponent and not between:
            return
        if by > 0 and exponent >= _whole(self.view.axis, extent, shown.columns):
            self.show_all()
            return
        pivot = about
        if pivot is None and self.view.cursor is not None:
            pivot = self.view.cursor if shown.column(self.view.cursor) is not None else None
        if pivot is None and not self.held:
            self._set(View(axis=self.view.axis, exponent=exponent, cursor=self.view.cursor))
            return
        if pivot is None:
            pivot = (shown.start + shown.end) / 2
        share = (pivot - shown.start) / (shown.end - shown.start)
        width = math.ldexp(1.0, exponent)
        left = pivot - share * shown.columns * width
        # A window begins where a cell does, up to a cell farther left: at its end a cell too far.
        if _aligned(left, width) + shown.columns <= pivot / width:
            left += DOTS_WIDE * width
        self._place(left, exponent, extent, shown.columns)

    def pan(self, shown: Window, extent: Extent, cells: int) -> None:
        """Move the window by cells; past the newest data it follows again."""
        left = shown.start + cells * DOTS_WIDE * shown.bin
        exponent = shown.exponent + (shown.eighths > 8)
        self._place(left, exponent, extent, shown.columns)

    def pan_share(self, shown: Window, extent: Extent, share: float) -> None:
        """Move the window by a share of its width."""
        cells = round(share * shown.columns / DOTS_WIDE)
        self.pan(shown, extent, cells or (1 if share > 0 else -1))

    def to_start(self, shown: Window, extent: Extent) -> None:
        """Hold the window at the beginning of the run."""
        self._place(extent.first, shown.exponent, extent, shown.columns)

    def reveal(self, x: float, shown: Window, extent: Extent) -> None:
        """Move the window so far that it shows `x`, in its middle if it was outside."""
        if shown.column(x) is None:
            left = x - shown.columns * shown.bin / 2
            self._place(left, shown.exponent, extent, shown.columns)

    def set_axis(self, axis: Axis, cursor: float | None = None) -> None:
        """Choose what x means; the zoom starts again from the whole run."""
        if axis != self.view.axis:
            self._newest = math.inf
            self._set(View(axis=axis, cursor=cursor))

    def set_cursor(self, x: float | None) -> None:
        """Put the cursor somewhere, or take it away."""
        self._set(replace(self.view, cursor=x))

    def _place(self, left: float, exponent: int, extent: Extent, columns: int) -> None:
        """Hold the window at `left`, inside the data; at its end follow instead."""
        width = math.ldexp(1.0, exponent) * columns
        follow = View(axis=self.view.axis, exponent=exponent, cursor=self.view.cursor)
        newest = window(follow, extent, columns).start
        if left >= newest:
            self._set(follow)
            return
        step = math.ldexp(1.0, exponent)
        left = max(left, _aligned(extent.first, step) * step)
        if left + width > extent.last and left >= newest:
            self._set(follow)
            return
        self._set(replace(follow, left=_aligned(left, step) * step))
