"""From the tracks of a chart to its curves: one with its band, a few lines, or what many have in
common with the one that stands out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vlamon.charts.bins import FINITE, Bins
from vlamon.charts.cells import ABANDONED, BASELINE, Curve
from vlamon.charts.numbers import number
from vlamon.charts.panels import MOST_NAMED
from vlamon.charts.rows import Row, cells, shorten
from vlamon.charts.scale import Scale
from vlamon.charts.smoothing import Smoothing, line_of
from vlamon.charts.track import Track

MANY = MOST_NAMED
"""Most series that are lines of their own: more become their median and the one that stands out."""
FEW, FEW_OF_SEVERAL = 4, 8
"""Least dot columns per value of a series that is drawn as dots and level steps, alone in its chart
and beside others, which such dots would hide."""
END_WIDTH = 14
"""Most cells of the labels at the right ends of lines."""
NARROW, NARROWEST = 44, 34
"""Columns of a chart below which its lines have labels only where their names are short, and none
at all."""
SHORT_NAME = 3
"""`5`, `r5` or `ood`."""
_APART = 6.0
"""Times the usual distance from the median at which a series stands out."""
_NOTABLE = 0.05
"""Least such distance, as a share of the median."""


@dataclass(frozen=True, slots=True)
class End:
    """What stands at the right end of a line."""

    name: str
    value: float
    """Where the line ends."""
    role: str


@dataclass(frozen=True, slots=True)
class Outlier:
    """The series that stands out among many."""

    index: int
    ratio: float
    """Its level over the median of all."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a chart draws."""

    curves: tuple[Curve, ...]
    ends: tuple[End, ...] = ()
    outlier: Outlier | None = None

    @property
    def live(self) -> tuple[Curve, ...]:
        """Curves of the run, without what lies under them."""
        return tuple(curve for curve in self.curves if not curve.under)


def draw(
    tracks: Sequence[Track],
    roles: Sequence[str],
    names: Sequence[str],
    smoothing: Smoothing,
    baseline: Sequence[Bins] = (),
) -> Drawing:
    """Decide what is drawn of the tracks of one chart, over those of another run."""
    alone = len(tracks) == 1
    if len(tracks) > MANY:
        return _common(tracks, roles, smoothing, baseline)
    grey = [
        replace(_curve(bins, BASELINE, smoothing, alone=False), band=False, under=True)
        for bins in baseline
    ]
    grey += [
        Curve(
            track.abandoned,
            line_of(track.abandoned, smoothing),
            ABANDONED,
            band=alone,
            under=True,
        )
        for track in tracks
        if track.abandoned is not None
    ]
    curves = [
        _curve(track.live, role, smoothing, alone)
        for track, role in zip(tracks, roles, strict=True)
    ]
    if alone:
        return Drawing((*grey, *curves))
    ends = [
        End(name, last, curve.role)
        for name, curve in zip(names, curves, strict=True)
        if (last := last_value(curve.line)) is not None
    ]
    return Drawing((*grey, *curves), tuple(ends))


def _curve(bins: Bins, role: str, smoothing: Smoothing, alone: bool) -> Curve:
    held = int((bins.finite > 0).sum())
    few = FEW if alone else FEW_OF_SEVERAL
    points = 1 < held <= len(bins.low) // few and int(bins.finite.max(initial=0)) == 1
    line = line_of(bins, "off" if points else smoothing)
    raw = alone and not points and smoothing != "off"
    return Curve(bins, line, role, band=alone, raw=raw, points=points)


def last_value(line: NDArray[np.float64]) -> float | None:
    """Return where a line ends, None where it has no value."""
    held = np.flatnonzero(line == line)
    return float(line[held[-1]]) if len(held) else None


def _common(
    tracks: Sequence[Track],
    roles: Sequence[str],
    smoothing: Smoothing,
    baseline: Sequence[Bins],
) -> Drawing:
    """Draw the median of many series over the tint between their least and greatest, and the one
    that stands out as a line, which the tint leaves out: it would hide how close the others are."""
    lines = np.stack([line_of(track.live, smoothing) for track in tracks])
    _, middle, _ = _ranked(lines)
    found = outlier(lines, middle)
    usual = lines if found is None else np.delete(lines, found.index, axis=0)
    low, middle, high = _ranked(usual)
    some = middle == middle
    flags = np.bitwise_or.reduce([track.live.flags for track in tracks]) & ~np.uint8(FINITE)
    flags |= np.where(some, np.uint8(FINITE), np.uint8(0))
    total, finite = np.where(some, 2 * middle, 0.0), 2 * some.astype(np.int64)
    least, last, greatest = (values.astype(np.float32) for values in (low, middle, high))
    curves = [Curve(Bins(least, greatest, last, total, finite, flags), middle, roles[0])]
    if baseline:
        _, theirs, _ = _ranked(np.stack([line_of(bins, smoothing) for bins in baseline]))
        curves.insert(0, Curve(Bins.of_values(theirs), theirs, BASELINE, band=False, under=True))
    if found is not None:
        live = tracks[found.index].live
        curves.append(Curve(live, lines[found.index], "foreground", band=False))
    return Drawing(tuple(curves), outlier=found)


def _ranked(
    lines: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the least value, the median and the greatest value of each column, NaN for none."""
    ranked = np.sort(lines, axis=0)  # NaN last
    count, column = (ranked == ranked).sum(axis=0), np.arange(lines.shape[1])
    lower, upper = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(lines) - 1)
    middle = (ranked[lower, column] + ranked[upper, column]) / 2
    high = ranked[np.maximum(count - 1, 0), column]
    return ranked[0], np.where(count > 0, middle, np.nan), high


def outlier(lines: NDArray[np.float64], middle: NDArray[np.float64]) -> Outlier | None:
    """Return the series that stood out over the newest tenth of a window, None where none did."""
    held = np.flatnonzero(middle == middle)
    if len(held) < 2:
        return None
    newest = held[-max(2, len(held) // 10) :]
    with np.errstate(invalid="ignore"):
        apart = np.nan_to_num(np.abs(lines[:, newest] - middle[newest]), nan=0.0)
    distance = np.median(apart, axis=1)
    usual = float(np.median(distance))
    level = float(np.median(middle[newest]))
    far = int(np.argmax(distance))
    if distance[far] <= max(_APART * usual, _NOTABLE * abs(level), 1e-30):
        return None
    own = lines[far, newest]
    own = own[own == own]
    if not level or not len(own):
        return None
    return Outlier(far, float(np.median(own)) / level)


def end_width(names: Sequence[str], width: int) -> int:
    """Return the cells that the labels at the ends of a chart's lines take of its width."""
    if not 1 < len(names) <= MANY or width < NARROWEST:
        return 0
    longest = max(map(len, names))
    if width >= NARROW:
        return min(END_WIDTH, longest + 7)
    return longest + 6 if longest <= SHORT_NAME else 0


def end_rows(ends: Sequence[End], scale: Scale, rows: int, width: int) -> list[Row]:
    """Return what stands right of each row of the plot: the lines that end there, in their order
    from the top, as near to their ends as there is room; with their values where each has a row."""
    if not width:
        return [()] * rows
    blank: Row = ((" " * width, ""),)
    found = [blank] * rows
    if not ends or not rows:
        return found
    dots = scale.dots(np.array([end.value for end in ends]), 4 * rows)
    order = sorted(range(len(ends)), key=lambda index: -ends[index].value)
    share = -(-len(ends) // rows)
    groups = [order[first : first + share] for first in range(0, len(ends), share)]
    wanted = [min(rows - 1, max(0, int(dots[group[len(group) // 2]]) // 4)) for group in groups]
    for at, group in zip(_spread(wanted, rows), groups, strict=True):
        found[at] = _end_row([ends[index] for index in group], width)
    return found


def _spread(wanted: Sequence[int], rows: int) -> list[int]:
    """Return a row of its own for each of several rising places, in order and as near as can be."""
    blocks: list[tuple[float, int]] = []  # mean of place minus number within, and how many
    for index, place in enumerate(wanted):
        blocks.append((place - index, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (one, many), (other, more) = blocks.pop(-2), blocks.pop()
            blocks.append(((one * many + other * more) / (many + more), many + more))
    spread = [mean for mean, many in blocks for _ in range(many)]
    room = rows - len(wanted)
    return [index + min(room, max(0, round(mean))) for index, mean in enumerate(spread)]


def _end_row(ends: Sequence[End], width: int) -> Row:
    room = width // len(ends) - 1
    row: Row = tuple((f" {shorten(end.name, room)}", end.role) for end in ends)
    for digits in (3, 2, 1) if len(ends) == 1 else ():
        value = f" {short_value(ends[0].value, digits)}"
        if cells(row) + len(value) <= width:
            row = (*row, (value, ends[0].role))
            break
    return (*row, (" " * (width - cells(row)), ""))


def short_value(value: float, digits: int = 3) -> str:
    """Write a value with a few digits and without the zero before its point."""
    text = number(value, digits)
    return text.replace("0.", ".", 1) if text.startswith(("0.", "−0.")) else text
