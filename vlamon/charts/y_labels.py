"""What stands in the gutter left of a plot: at least two numbers that tell its range, or the one
value of a constant.

The gutter is narrow. Round numbers are written as they are where all of them fit, else shorter
(2e-3 for 0.00200), else fewer of them. Where no two numbers of the range are short, one is written
and the others by how far they are from it: `0.9999`, above it `+2e-8`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

from vlamon.charts.scale import Scale
from vlamon.charts.ticks import Tick, linear_ticks, log_ticks, number_label

GUTTER = 6
"""Columns for the labels of y, the same in all charts so that their x axes are in line."""
_DIGITS = 12
"""Significant digits beyond which a tick is what binary fractions make of a round number."""

Placed = Sequence[tuple[int, Tick]]


def y_labels(scale: Scale, rows: int) -> list[str]:
    """Return the label of each plot row, right-aligned in the gutter; empty where no tick falls."""
    labels = [""] * rows
    for row, label in _chosen(scale, rows):
        labels[row] = label.rjust(GUTTER)
    return labels


@lru_cache(maxsize=64)
def _chosen(scale: Scale, rows: int) -> list[tuple[int, str]]:
    """Choose the ticks and how they are written."""
    if rows < 1:
        return []
    if scale.only is not None:
        # Single precision makes 9.9999998e-5 of 1e-4.
        row, tick = scale.row(scale.only, rows), Tick(float(f"{scale.only:.6g}"), "")
        return [] if row is None else [(row, shortest(tick) or _roughly(scale.only))]
    most = max(2, (rows + 1) // 2)
    if scale.tick:
        sets: list[Placed] = [_even(scale, rows)]
    else:
        sets = _round(scale, rows, most)
    for spellings in ((_as_it_is, _bare, _power), (_without_zero,)):
        for placed in sets:
            for spell in spellings:
                found = [(row, spell(tick)) for row, tick in placed]
                if all(0 < len(label) <= GUTTER for _, label in found):
                    return found
    if rows == 1:
        return []
    return _apart(sets[0])


def _even(scale: Scale, rows: int) -> Placed:
    """Return the ticks of a scale that was made for its rows: all of them."""
    first, last = (
        math.ceil(scale.low / scale.tick - 1e-6),
        math.floor(scale.high / scale.tick + 1e-6),
    )
    ticks = [
        Tick(value, number_label(value, scale.tick))
        for value in (n * scale.tick for n in range(first, last + 1))
    ]
    placed = [(scale.row(tick.value, rows), tick) for tick in ticks]
    return [(row, tick) for row, tick in placed if row is not None]


def _round(scale: Scale, rows: int, most: int) -> list[Placed]:
    """Return sets of ticks at round numbers, the fullest first."""
    sets = [_placed(scale, rows, count) for count in range(most, 1, -1)]
    sets = [placed for placed in sets if len({row for row, _ in placed}) > 1 or rows == 1]
    sets += [_ends(scale, rows)] * (rows > 1)
    return sets


def _placed(scale: Scale, rows: int, most: int) -> Placed:
    ticks = (log_ticks if scale.log else linear_ticks)(scale.low, scale.high, most)
    placed = [(scale.row(tick.value, rows), tick) for tick in ticks]
    return [(row, tick) for row, tick in placed if row is not None]


def _ends(scale: Scale, rows: int) -> Placed:
    """Return the limits, where fewer than two round numbers have a row of their own."""
    step = (scale.high - scale.low) / 10
    return [
        (row, Tick(value, number_label(value, step)))
        for row, value in ((rows - 1, scale.low), (0, scale.high))
    ]


def _apart(placed: Placed) -> list[tuple[int, str]]:
    """Write one tick, the others by their distance from it where that is short; a tick that cannot
    be short is told roughly, which leaves the distances true."""
    short = [(tick, label) for _, tick in placed if (label := shortest(tick))]
    base, label = short[0] if short else (placed[0][1], _roughly(placed[0][1].value))
    found = []
    for row, tick in placed:
        if tick is base:
            found.append((row, label))
            continue
        away = tick.value - base.value
        distances = (Tick(float(f"{abs(away):.{digits}g}"), "") for digits in (2, 1))
        written = next((text for one in distances if (text := shortest(one, GUTTER - 1))), "")
        spelled = ("+" if away > 0 else "-") + written
        if written and spelled not in {text for _, text in found}:
            found.append((row, spelled))
    return found


def shortest(tick: Tick, room: int = GUTTER) -> str:
    """Return the plainest spelling of a tick that fits, empty where none does."""
    spellings = (spell(tick) for spell in (_as_it_is, _bare, _power, _without_zero))
    return next((label for label in spellings if 0 < len(label) <= room), "")


def _as_it_is(tick: Tick) -> str:
    return tick.label


def _bare(tick: Tick) -> str:
    """Return the number without zeros that say nothing: 0.002 for 0.00200."""
    text = f"{tick.value:.{_DIGITS}g}"
    return text if "e" not in text else ""


def _power(tick: Tick) -> str:
    """Return the number as a power of ten: 1.9e-3."""
    if tick.value == 0:
        return "0"
    mantissa, power = f"{tick.value:.{_DIGITS - 1}e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(power)}"


def _without_zero(tick: Tick) -> str:
    """Return the number without the zero before its point: .99985."""
    return _bare(tick).replace("0.", ".", 1) if abs(tick.value) < 1 else _bare(tick)


def _roughly(value: float) -> str:
    """Return a number that is too long as well as the gutter allows: ~1.23M."""
    spellings: list[Callable[[float], str]] = [
        lambda one: number_label(one, 10.0 ** (len(f"{abs(one):.0f}") - 3)),
        lambda one: _power(Tick(float(f"{one:.2g}"), "")),
        lambda one: _power(Tick(float(f"{one:.1g}"), "")),
    ]
    if abs(value) < 1000:
        spellings[0] = lambda one: _bare(Tick(float(f"{one:.3g}"), ""))
    written = (f"~{spell(value)}" for spell in spellings)
    return next((label for label in written if 1 < len(label) <= GUTTER), "~")
