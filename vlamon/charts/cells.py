"""What a chart is made of before and after it is drawn: curves, guides and spots, and cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vlamon.charts.bins import Bins


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
    under: bool = False
    """Whether it lies under the run's own: what was abandoned, or another run. It gives way in a
    cell that both go through, and the range of y need not show all of it."""


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
class JudgedDot:
    """A batch that was judged."""

    column: int
    """Its dot column."""
    value: float
    """Its value."""
    role: str
    """`warn` or `explode`."""


@dataclass(frozen=True, slots=True)
class Signs:
    """Characters for what is not a dot."""

    above: str = "↑"
    """The column has a value above the range."""
    below: str = "↓"
    """The column has a value below the range."""
    nan: str = "∅"
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
ASCII = Signs("^", "v", "n", "i", "~", "|", "o", ".", ascii_only=True)

ABANDONED: Final = "abandoned"
"""Role of what was rolled back."""
BASELINE: Final = "note"
"""Role of the run that another one is compared with."""
MISSING: Final = "explode"
"""Role of the signs for NaN and infinity."""
OUTSIDE: Final = "muted"
"""Role of an arrow for values out of range without a verdict."""
MARKED: Final = 0x80
"""Bit of a role number: the cell is in the cursor's column."""


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
    lines: NDArray[np.uint8]
    """Braille bits of the lines alone."""

    def comparable(self, other: Cells) -> bool:
        """Say whether two grids are of one size, and their role numbers mean the same."""
        return self.glyphs.shape == other.glyphs.shape and self.palette == other.palette

    def rows_unlike(self, other: Cells) -> list[bool]:
        """Say of each row whether it looks different in another grid."""
        differs = (self.glyphs != other.glyphs) | (self.roles != other.roles)
        differs |= self.grounds != other.grounds
        found: list[bool] = differs.any(axis=1).tolist()
        return found

    def put(self, row: int, columns: NDArray[np.intp], sign: str, role: str) -> None:
        """Set cells of a row to one character."""
        self.glyphs[row, columns] = ord(sign)
        self.roles[row, columns] = self.palette.index(role)

    def write(self, row: int, column: int, text: str, role: str) -> None:
        """Write text into a row."""
        self.glyphs[row, column : column + len(text)] = [ord(char) for char in text]
        self.roles[row, column : column + len(text)] = self.palette.index(role)

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
