"""From dot columns to characters: a cell of a chart is two dots wide and four dots high."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

DOTS_HIGH: Final = 4
"""Dot rows in a cell."""
DOTS_WIDE: Final = 2
"""Dot columns in a cell."""
BLANK: Final = 0x2800
"""The Braille character without a dot; the eight bits of a pattern are added to it."""

_LEFT = (0x01, 0x02, 0x04, 0x40)
_RIGHT = (0x08, 0x10, 0x20, 0x80)


def _runs(weights: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the pattern of the dots first..end-1 of one dot column as a table [first, end]."""
    table = np.zeros((DOTS_HIGH + 1, DOTS_HIGH + 1), dtype=np.uint8)
    for first in range(DOTS_HIGH + 1):
        for end in range(first, DOTS_HIGH + 1):
            table[first, end] = sum(weights[first:end])
    return table


_LEFT_RUNS = _runs(_LEFT)
_RIGHT_RUNS = _runs(_RIGHT)


@lru_cache(maxsize=64)
def _edges(rows: int) -> NDArray[np.intp]:
    """Return the first dot of each row, as a column."""
    return np.arange(rows, dtype=np.intp)[:, None] * DOTS_HIGH


def patterns(top: NDArray[np.intp], end: NDArray[np.intp], rows: int) -> NDArray[np.uint8]:
    """Light the dots top..end-1 of each dot column; gives one eight-bit pattern a cell.

    Dot rows count from the top. A column with `end <= top` stays dark. The number of dot columns
    is even.
    """
    edge = _edges(rows)
    first = np.minimum(np.maximum(top - edge, 0), DOTS_HIGH)
    last = np.maximum(np.minimum(end - edge, DOTS_HIGH), first)
    left = _LEFT_RUNS[first[:, ::2], last[:, ::2]]
    right = _RIGHT_RUNS[first[:, 1::2], last[:, 1::2]]
    found: NDArray[np.uint8] = left | right
    return found


def lit(pattern: int, column: int, dot: int) -> bool:
    """Say whether a dot of a cell is lit; `column` is 0 or 1, `dot` 0..3 from the top."""
    return bool(pattern & (_LEFT if column == 0 else _RIGHT)[dot])


def _ascii(pattern: int) -> str:
    """Return the ASCII character nearest to a pattern: how high it sits, how tall it is."""
    rows = [bool(pattern & (_LEFT[dot] | _RIGHT[dot])) for dot in range(DOTS_HIGH)]
    if not any(rows):
        return " "
    if sum(rows) >= 3:
        return "|"
    first, last = rows.index(True), DOTS_HIGH - 1 - rows[::-1].index(True)
    if last - first >= 2:
        return ":"
    if last <= 1:
        return "'" if first == 0 else "-"
    return "_" if last == DOTS_HIGH - 1 else "-"


@lru_cache(maxsize=2)
def glyph_table(ascii_only: bool) -> NDArray[np.uint32]:
    """Return the code point of each of the 256 patterns; the dark one is a space in both sets."""
    if ascii_only:
        return np.array([ord(_ascii(pattern)) for pattern in range(256)], dtype=np.uint32)
    table = np.arange(BLANK, BLANK + 256, dtype=np.uint32)
    table[0] = ord(" ")
    return table
