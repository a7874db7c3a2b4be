"""Marks on the time line: explosions, checkpoints, rollbacks, NaN; the loudest wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlamon.charts.bins import FINITE, NEG_INF, POS_INF
from vlamon.charts.bins import NAN as NAN_FLAG

if TYPE_CHECKING:
    from vlamon.records import Event


@dataclass(frozen=True, slots=True)
class Mark:
    """How one kind of event looks on a time line."""

    glyph: str
    """Its character."""
    plain: str
    """Its character where there is ASCII alone."""
    role: str
    """Role that colours it."""


MARKS: tuple[Mark, ...] = (
    Mark("·", ",", "muted"),
    Mark("◆", "#", "checkpoint"),
    Mark("△", "'", "warn"),
    Mark("✎", "?", "note"),
    Mark("∞", "i", "explode"),
    Mark("∅", "n", "explode"),
    Mark("✗", "X", "explode"),
    Mark("↶", "<", "rollback"),
)
"""From the quietest to the loudest: where several fall into one cell, the last of them is shown."""

QUIETEST_OVER_LABELS = 4
"""Rank up to which a mark gives way to a tick label; a louder one pushes the label aside."""
INFINITE, NAN, EXPLOSION = 4, 5, 6

RANKS: Mapping[str, int] = {
    "checkpoint": 1,
    "warn": 2,
    "note": 3,
    "autopsy": 3,
    "explode": EXPLOSION,
    "trainer_error": EXPLOSION,
    "rollback": 7,
}
"""Rank of each event kind in MARKS; kinds that are not here leave no mark."""


def came_about(event: Event) -> bool:
    """Say whether what an event is about happened: a rollback or a checkpoint may have failed."""
    return event.data.get("ok") is not False


def rank_of(event: Event) -> int | None:
    """Return an event's rank in MARKS, None where it leaves no mark; what was tried and failed is a
    warning."""
    return RANKS.get(event.kind if came_about(event) else "warn")


def loudest(cells: NDArray[np.intp], ranks: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Return the rank of the loudest mark of each cell plus one, 0 where there is none.

    A rollback that falls into the cell of its explosion, as it does in all but the shortest runs,
    has its mark in the next one: both are seen.
    """
    found = np.zeros(width, dtype=np.uint8)
    inside = (cells >= 0) & (cells < width)
    np.maximum.at(found, cells[inside], ranks[inside] + np.uint8(1))
    broken = np.zeros(width, dtype=np.bool_)
    broken[cells[inside & (ranks == EXPLOSION)]] = True
    for cell in np.flatnonzero(broken & (found > EXPLOSION + 1))[::-1].tolist():
        rollback, found[cell] = found[cell], EXPLOSION + 1
        beside = cell + 1 if cell + 1 < width else cell - 1
        if beside >= 0 and found[beside] <= EXPLOSION:
            found[beside] = rollback
    return found


def mark_broken(marks: NDArray[np.uint8], flags: NDArray[np.uint8]) -> None:
    """Mark the cells whose two dot columns hold a NaN or an infinite value, by their flags."""
    if not (flags & ~np.uint8(FINITE)).any():
        return
    of_cells = flags[::2] | flags[1::2]
    np.maximum(marks, np.where(of_cells & NAN_FLAG, NAN + 1, 0), out=marks, casting="unsafe")
    infinite = of_cells & (POS_INF | NEG_INF)
    np.maximum(marks, np.where(infinite, INFINITE + 1, 0), out=marks, casting="unsafe")
